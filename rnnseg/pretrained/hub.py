"""Presets on Hugging Face's hub, through `huggingface_hub`."""

import os
import pathlib
import re
from types import ModuleType

from rnnseg.errors import UserError, first_line
from rnnseg.pretrained import preset

_NAME = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


def download(uri: str) -> pathlib.Path:
    """Downloads a preset, unless it is in the cache of `huggingface_hub`.

    Args:
      uri: `hf://USER/REPO`, or `hf://USER/REPO@REVISION`.

    Returns:
      The folder with its files.

    Raises:
      UserError: a wrong name, `huggingface_hub` is not installed, or the download failed.
    """
    repo, revision = _parse(uri)
    hub = _library()
    wanted = [preset.CONFIG, preset.WEIGHTS, preset.METADATA]
    wanted += [preset.SCORES, preset.LITERT, preset.CARD]
    try:
        folder = hub.snapshot_download(repo, revision=revision, allow_patterns=wanted)
    except Exception as error:  # of requests, of httpx, or of the hub: no network, no such repo
        raise UserError(
            f"{uri} cannot be downloaded ({type(error).__name__}: {first_line(error)}); check the "
            "name and the network, or give a folder"
        ) from error
    return pathlib.Path(folder)


def upload_to_hub(folder: str | os.PathLike, uri: str, private: bool = False) -> str:
    """Publishes a preset.

    Args:
      folder: the folder of the preset.
      uri: `hf://USER/REPO`; the repository is made if it does not exist.
      private: True to make a new repository that others cannot see.

    Returns:
      The address of the commit.

    Raises:
      UserError: no preset, a wrong name, `huggingface_hub` is not installed, or the upload failed.
    """
    repo, revision = _parse(uri)
    found = preset.open_folder(pathlib.Path(folder), os.fspath(folder))
    files = [*found.metadata.files, preset.METADATA, preset.SCORES, preset.CARD]
    for name in found.metadata.files:
        found.file(name)
    hub = _library()
    try:
        hub.create_repo(repo, private=private, exist_ok=True)
        done = hub.upload_folder(
            repo_id=repo, folder_path=os.fspath(folder), revision=revision, allow_patterns=files
        )
    except Exception as error:  # as in download
        raise UserError(
            f"{uri} cannot be published ({type(error).__name__}: {first_line(error)}); log in by "
            "`hf auth login`, and check the name and the network"
        ) from error
    return str(done)


def _parse(uri: str) -> tuple[str, str | None]:
    match = _NAME.fullmatch(uri)
    if match is None:
        raise UserError(f"{uri!r}: expected hf://USER/REPO or hf://USER/REPO@REVISION")
    return match[1], match[2]


def _library() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError(
            "presets of Hugging Face need huggingface_hub: pip install 'rnnseg[hub]'"
        ) from error
    return huggingface_hub
