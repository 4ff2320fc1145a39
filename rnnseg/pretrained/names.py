"""The names that stand for pretrained models."""

import difflib
import os
import pathlib

from rnnseg.errors import UserError
from rnnseg.pretrained import hub
from rnnseg.pretrained.preset import METADATA, WEIGHTS, Preset, open_folder

HUB = "hf://"
"""The beginning of names of presets on Hugging Face's hub."""

DEFAULT = "mobilenet_v2_voc"
"""The preset that commands take where no model is named."""

# Where the presets are that come with the package.
_BUNDLED = pathlib.Path(__file__).parent / "bundled"


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
        raise UserError(f"no preset {text!r}: expected {expected(text)}")
    return open_folder(folder, text)


def expected(name: str) -> str:
    """Returns the end of a message on a name that no preset has: the presets, and the nearest."""
    nearest = difflib.get_close_matches(name, names(), 1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return (
        f"a preset ({', '.join(names())}), a folder that save_to_preset wrote, or hf://USER/REPO"
        f"{hint}"
    )
