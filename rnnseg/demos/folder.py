"""The folder that a demo writes to."""

import contextlib
import importlib.metadata
import json
import os
import pathlib
from collections.abc import Iterator

from rnnseg.errors import UserError
from rnnseg.files import atomic_path, remove_folder
from rnnseg.locks import hold_folder
from rnnseg.temporaries import remove_left_behind

_MARKER = "demo.json"
# What demos write, of all kinds, so that each replaces any other.
_WRITTEN = (
    "CREDITS.md",
    "astronaut_overlay.png",
    "astronaut_points.png",
    "cat_overlay.png",
    "cat_points.png",
    "clip_overlay.mp4",
    "curve.png",
    "dogs_overlay.png",
    "dogs_points.png",
    "image.png",
    "iterations.png",
    "run",
    "scores.json",
)


@contextlib.contextmanager
def demo_folder(out: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Opens the folder for a demo, which replaces an earlier one; other files in it stay.

    Args:
      out: the folder.

    Yields:
      The folder, marked as that of a demo. No other process writes to it.

    Raises:
      UserError: `out` holds other files and no demo, or another process writes to it.
    """
    out = pathlib.Path(out)
    with hold_folder(out):
        marker = out / _MARKER
        if not marker.is_file() and any(not path.name.startswith(".") for path in out.iterdir()):
            raise UserError(f"{out} is not empty and holds no earlier demo: choose another --out")
        remove_left_behind(out)
        for name in _WRITTEN:
            if (out / name).is_dir():
                remove_folder(out / name)
            else:
                (out / name).unlink(missing_ok=True)
        with atomic_path(marker) as path:
            path.write_text(json.dumps({"rnnseg": importlib.metadata.version("rnnseg")}) + "\n")
        yield out
