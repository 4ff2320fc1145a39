"""Writing what was seen in a video: as a video again, or as a folder of images."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

import av
import cv2
import numpy as np
from PIL import Image

from rnnseg import files, visualize
from rnnseg.errors import UserError
from rnnseg.video.encoding import VideoFile
from rnnseg.video.sources import Frame, Source, reason

VIEWS = ("overlay", "side", "classes")


@contextlib.contextmanager
def open_output(
    path: str | os.PathLike, source: Source, view: str | None = None, overwrite: bool = False
) -> Iterator:
    """Opens a video file or a folder to write to, which is there when the block succeeds.

    Args:
      path: ends in .mp4, or is a folder, new or empty.
      source: where the frames come from, for their rate, their audio, and its problems.
      view: "overlay", "side" (the image and the classes side by side) or "classes", all in class
        colours; None: overlay in a video, classes in a folder. Classes in a folder are palette
        PNGs: the index of a pixel is its class.
      overwrite: whether a video that is there already is replaced.

    Yields:
      Something with `write(frame, classes, colors)`, and `complete()`, to be called where that was
      the last frame of the source.

    Raises:
      UserError: an output that cannot be written, is there already, or is what is read.
    """
    path = pathlib.Path(path)
    if source.origin is not None and path.exists() and path.samefile(source.origin):
        raise UserError(f"{path} is what is read: choose another output")
    if path.suffix.lower() == ".mp4" and not path.is_dir():
        if path.exists() and not overwrite:
            raise UserError(f"{path} is there already: choose another one, or give --overwrite")
        files.check_writable(path)
        with files.atomic_path(path) as temporary, _reported(path):
            with VideoFile(temporary, source) as video:
                yield _Video(video, view or "overlay")
        return
    if path.is_dir() and any(path.iterdir()):
        raise UserError(f"{path} holds files already: choose a new or an empty folder")
    if path.is_file() or (path.suffix and not path.is_dir()):
        raise UserError(f"{path}: expected a name that ends in .mp4, or a folder")
    with files.atomic_folder(path) as temporary:
        yield _Folder(temporary, view or "classes")


@contextlib.contextmanager
def _reported(path: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        raise UserError(f"{path} cannot be written: {reason(error)}") from error


def draw(view: str, image: np.ndarray, classes: np.ndarray, colors) -> np.ndarray:
    """What is shown of a frame.

    Args:
      view: one of `VIEWS`.
      image: RGB, uint8 `(height, width, 3)`.
      classes: class map, `(height, width)`.
      colors: (red, green, blue) of 0-255 a class.

    Returns:
      RGB, uint8 `(height, width, 3)`, of twice the width for "side".
    """
    colored = visualize.colorize(classes, colors)
    if view == "classes":
        return colored
    if view == "side":
        return np.concatenate([image, colored], 1)
    # As visualize.overlay, where no pixel is to be ignored, in a fraction of its time.
    return cv2.addWeighted(image, 0.5, colored, 0.5, 0)


class _Video:
    """Writes frames to a video file."""

    def __init__(self, video: VideoFile, view: str):
        self._video, self._view = video, view
        self.complete = video.complete

    def write(self, frame: Frame, classes: np.ndarray, colors) -> None:
        self._video.write(draw(self._view, frame.image, classes, colors), frame.time)


class _Folder:
    """Writes a PNG a frame."""

    def __init__(self, path: pathlib.Path, view: str):
        self._path, self._view = path, view

    def write(self, frame: Frame, classes: np.ndarray, colors) -> None:
        path = self._path / f"{frame.name}.png"
        if self._view == "classes":
            visualize.save_class_map(path, classes, colors)
        else:
            Image.fromarray(draw(self._view, frame.image, classes, colors)).save(path)

    def complete(self) -> None:
        pass
