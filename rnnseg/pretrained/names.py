"""The names that stand for pretrained models."""

import difflib
import os
import pathlib

from rnnseg.errors import UserError
from rnnseg.pretrained import hub
from rnnseg.pretrained.preset import METADATA, WEIGHTS, Metadata, Preset, open_folder

HUB = "hf://"
"""The beginning of names of presets on Hugging Face's hub."""

# Where the presets are that come with the package.
_BUNDLED = pathlib.Path(__file__).parent / "bundled"


def presets() -> dict[str, Metadata]:
    """Returns the presets that come with the package, by name."""
    return {name: open_preset(name).metadata for name in names()}


def names() -> list[str]:
    """Returns the names of the presets that come with the package."""
    return sorted(each.parent.name for each in _BUNDLED.glob(f"*/{METADATA}"))


def is_preset(name: str | os.PathLike) -> bool:
    """Returns True for a name that comes with the package, a folder of a preset, or the hub's."""
    text = os.fspath(name)
    if text.startswith(HUB) or text in names():
        return True
    return pathlib.Path(text, METADATA).is_file() and pathlib.Path(text, WEIGHTS).is_file()


def open_preset(name: str | os.PathLike) -> Preset:
    """Finds a preset, and downloads it if it is on Hugging Face's hub.

    Args:
      name: a name of `presets`, the folder of a preset, or `hf://USER/REPO`.

    Raises:
      UserError: no such preset, a damaged one, one of a later version of this package, or one that
        cannot be downloaded.
    """
    text = os.fspath(name)
    if text.startswith(HUB):
        folder = hub.download(text)
    elif text in names():
        folder = _BUNDLED / text
    elif pathlib.Path(text).is_dir():
        folder = pathlib.Path(text)
    else:
        raise UserError(_unknown(text))
    return open_folder(folder, text)


def _unknown(name: str) -> str:
    known = names()
    nearest = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    listed = ", ".join(known) or "none comes with this version"
    return (
        f"no preset {name!r}: expected one of {listed}; a folder that save_to_preset wrote; or "
        f"hf://USER/REPO{hint}"
    )
