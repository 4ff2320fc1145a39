"""Real images, to calibrate on and to check files with."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from rnnseg.data import IGNORE_LABEL, Source, pipeline
from rnnseg.data.images import read_image
from rnnseg.errors import UserError
from rnnseg.runtime import framing


@dataclasses.dataclass(frozen=True)
class FittedImage:
    """An image as a file takes it.

    Attributes:
      image: RGB, uint8 `(H, W, 3)`.
      label: class indices, uint8 `(H, W)`, or None.
      shown: the (height, width) of the image in it; below and to the right there is padding.
    """

    image: np.ndarray
    label: np.ndarray | None
    shown: tuple[int, int]


def fit(image: np.ndarray, label: np.ndarray | None, size: tuple[int, int] | None) -> FittedImage:
    """Fits an image to a file's size as the runtime does, and its label with it.

    Args:
      image: RGB, uint8 `(h, w, 3)`.
      label: class indices, uint8 `(h, w)`, or None.
      size: (height, width), in pixels; None leaves it as it is.
    """
    if size is None:
        return FittedImage(image, label, image.shape[:2])
    image, shown = framing.fit(image, size, pipeline.MEAN_COLOR)
    if label is not None:
        full = np.full(size, IGNORE_LABEL, np.uint8)
        full[: shown[0], : shown[1]] = framing.nearest(label, shown)
        label = full
    return FittedImage(image, label, shown)


def from_files(
    paths: Sequence[pathlib.Path], size: tuple[int, int] | None, limit: int
) -> list[FittedImage]:
    """Some of the images in files, evenly spread over them.

    Args:
      paths: of the files.
      size: as in `fit`.
      limit: how many at most.
    """
    return [fit(read_image(path), None, size) for path in paths[:: _step(len(paths), limit)]]


def from_source(
    source: Source, split: str, size: tuple[int, int] | None, limit: int
) -> list[FittedImage]:
    """Some of the images of a data set with their labels, evenly spread over a split.

    Args:
      source: the data set.
      split: of it.
      size: as in `fit`.
      limit: how many at most.

    Raises:
      UserError: no such split, an empty one, or a label of another size than its image.
    """
    examples = source.read(split).shard(_step(source.require_split(split), limit), 0)
    found = []
    for image, label, name in examples.map(
        lambda example: (*pipeline.decode(example), example["name"])
    ).as_numpy_iterator():
        if image.shape[:2] != label.shape:
            raise UserError(
                f"{name.decode()}: image of {image.shape[:2]} and label of {label.shape} pixels"
            )
        found.append(fit(image, label, size))
    return found


def _step(total: int, limit: int) -> int:
    """Every how manieth is taken."""
    return -(-total // limit)
