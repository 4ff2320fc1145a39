"""Writing a segmented video, as a video or as a folder of images."""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import av
import cv2
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rnnseg import files, visualize
from rnnseg.errors import UserError
from rnnseg.locks import hold_beside
from rnnseg.video.encoding import VideoFile
from rnnseg.video.sources import Frame, FrameSource, reason

# In the PNGs of a folder, by which `overwrite` knows that they are no one else's.
_SOFTWARE = "rnnseg video"

VIEWS = ("overlay", "side", "classes")


class Output(Protocol):
    """What segmented frames are written to."""

    def write(self, frame: Frame, classes: np.ndarray, colors: Sequence[Sequence[int]]) -> None:
        """Writes a frame.

        Args:
          frame: the frame.
          classes: its class map, `(height, width)`.
          colors: one (red, green, blue) of 0-255 per class.
        """

    def complete(self) -> None:
        """Ends the output, after the last frame of the source."""


@contextlib.contextmanager
def open_output(
    path: str | os.PathLike, source: FrameSource, view: str | None = None, overwrite: bool = False
) -> Iterator[Output]:
    """Opens a video file or a folder to write to, which appears when the block succeeds.

    Args:
      path: a name that ends in .mp4, or a folder, new or empty.
      source: the source of the frames, for their rate and their audio.
      view: "overlay", "side" (the image and the classes side by side) or "classes", in the colours
        of the classes; None for overlay in a video and classes in a folder. In a folder, classes
        are palette PNGs: the index of a pixel is its class.
      overwrite: True to replace a video, or a folder with all frames that an earlier call wrote.

    Yields:
      The output; `complete()` is to be called after the last frame of the source.

    Raises:
      UserError: an output that cannot be written, that already exists, that another process writes,
        or that is the source.
    """
    path = pathlib.Path(path)
    if source.origin is not None and path.exists() and path.samefile(source.origin):
        raise UserError(f"{path} is the input: choose another output")
    if path.suffix.lower() == ".mp4" and not path.is_dir():
        if path.exists() and not overwrite:
            raise UserError(f"{path} already exists: choose another output, or add --overwrite")
        files.check_writable(path)
        with hold_beside(path), files.atomic_path(path) as temporary, _reported(path):
            with VideoFile(temporary, source) as video:
                yield _Video(video, view or "overlay")
        return
    if path.is_dir():
        _check_folder(path, overwrite)
    if path.is_file() or (path.suffix and not path.is_dir()):
        raise UserError(f"{path}: expected a name that ends in .mp4, or a folder")
    with files.atomic_folder(path, replace=overwrite) as temporary:
        yield _Folder(temporary, view or "classes")


def _check_folder(path: pathlib.Path, overwrite: bool) -> None:
    """Raises a UserError for a folder that is not to be replaced, or that holds other files."""
    for each in sorted(path.iterdir()):
        if not overwrite:
            raise UserError(
                f"{path} is not empty: choose another folder, or replace the frames of an earlier "
                "call in it by --overwrite"
            )
        if not _is_frame(each):
            raise UserError(
                f"{each} is no frame of an earlier call, and would be lost: move it elsewhere, or "
                "choose another folder"
            )


def _is_frame(path: pathlib.Path) -> bool:
    """Returns True for a file that `_Folder` wrote."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return image.info.get("Software") == _SOFTWARE
    except (OSError, SyntaxError, ValueError):
        return False


@contextlib.contextmanager
def _reported(path: pathlib.Path) -> Iterator[None]:
    """Turns an error of FFmpeg into a UserError that names the output."""
    try:
        yield
    except av.FFmpegError as error:
        raise UserError(f"{path} cannot be written: {reason(error)}") from error


def draw(
    view: str, image: np.ndarray, classes: np.ndarray, colors: Sequence[Sequence[int]]
) -> np.ndarray:
    """Draws a segmented frame.

    Args:
      view: one of `VIEWS`.
      image: RGB, uint8 `(height, width, 3)`.
      classes: class map, `(height, width)`.
      colors: one (red, green, blue) of 0-255 per class.

    Returns:
      RGB, uint8 `(height, width, 3)`; twice as wide for "side".
    """
    colored = visualize.colorize(classes, colors)
    if view == "classes":
        return colored
    if view == "side":
        return np.concatenate([image, colored], 1)
    # The same as visualize.overlay without ignored pixels, in a fraction of the time.
    blended = cv2.addWeighted(image, 0.5, colored, 0.5, 0)
    as_it_is = ~visualize.is_blended(colors)[: len(colors)]
    if as_it_is.any():
        kept = as_it_is[classes]
        blended[kept] = image[kept]
    return blended


class _Video:
    """Writes frames to a video file."""

    def __init__(self, video: VideoFile, view: str):
        self._video, self._view = video, view
        self.complete = video.complete

    def write(self, frame: Frame, classes: np.ndarray, colors: Sequence[Sequence[int]]) -> None:
        self._video.write(draw(self._view, frame.image, classes, colors), frame.time)


class _Folder:
    """Writes one PNG per frame."""

    def __init__(self, path: pathlib.Path, view: str):
        self._path, self._view = path, view

    def write(self, frame: Frame, classes: np.ndarray, colors: Sequence[Sequence[int]]) -> None:
        path = self._path / f"{frame.name}.png"
        if self._view == "classes":
            image = visualize.class_map_image(classes, colors)
        else:
            image = Image.fromarray(draw(self._view, frame.image, classes, colors))
        mark = PngInfo()
        mark.add_text("Software", _SOFTWARE)
        image.save(path, pnginfo=mark)

    def complete(self) -> None:
        pass
