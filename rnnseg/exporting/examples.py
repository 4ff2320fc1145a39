"""Real images to calibrate on and to check files with, letterboxed as the runtime does it."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from rnnseg.data import IGNORE_LABEL, Source, pipeline
from rnnseg.data.images import read_image
from rnnseg.data.reading import read_arrays
from rnnseg.errors import UserError
from rnnseg.runtime.letterbox import resize_nearest, scale_and_pad


@dataclasses.dataclass(frozen=True)
class LetterboxedExample:
    """An image in the size of a file, with its label.

    Attributes:
      image: RGB, uint8 `(H, W, 3)`.
      label: class indices, uint8 `(H, W)`, or None.
      content_size: the `(height, width)` of the part of the image that is not padding; the padding
        is below it and to its right.
    """

    image: np.ndarray
    label: np.ndarray | None
    content_size: tuple[int, int]


def letterbox(
    image: np.ndarray, label: np.ndarray | None, size: tuple[int, int] | None
) -> LetterboxedExample:
    """Letterboxes an image and its label.

    Args:
      image: RGB, uint8 `(h, w, 3)`.
      label: class indices, uint8 `(h, w)`, or None.
      size: the `(height, width)` of the file, in pixels; None leaves both as they are.
    """
    if size is None:
        return LetterboxedExample(image, label, image.shape[:2])
    image, content = scale_and_pad(image, size, pipeline.MEAN_COLOR)
    if label is not None:
        full = np.full(size, IGNORE_LABEL, np.uint8)
        full[: content[0], : content[1]] = resize_nearest(label, content)
        label = full
    return LetterboxedExample(image, label, content)


def from_files(
    paths: Sequence[pathlib.Path], size: tuple[int, int] | None, limit: int
) -> list[LetterboxedExample]:
    """Reads some of the images in files, evenly spread over them.

    Args:
      paths: the files.
      size: as in `letterbox`.
      limit: the largest number of images.
    """
    return [letterbox(read_image(path), None, size) for path in paths[:: _step(len(paths), limit)]]


def from_source(
    source: Source, split: str, size: tuple[int, int] | None, limit: int
) -> list[LetterboxedExample]:
    """Reads some of the images of a data set with their labels, evenly spread over a split.

    Args:
      source: the data set.
      split: the split.
      size: as in `letterbox`.
      limit: the largest number of images.

    Raises:
      UserError: no such split, an empty one, a damaged record, or a label of another size than its
        image.
    """
    examples = source.read(split).shard(_step(source.require_split(split), limit), 0)
    decoded = examples.map(lambda example: (*pipeline.decode(example), example["name"]))
    found = []
    for image, label, name in read_arrays(decoded, source, split):
        if image.shape[:2] != label.shape:
            raise UserError(
                f"{name.decode()}: image of {image.shape[:2]} and label of {label.shape} pixels"
            )
        found.append(letterbox(image, label, size))
    return found


def _step(total: int, limit: int) -> int:
    """Returns the step that keeps at most `limit` of `total` items."""
    return -(-total // limit)
