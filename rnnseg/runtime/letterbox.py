"""Letterboxing: images of any size for files of one size, and their places on the canvas.

An image that is larger than the file's size is scaled down with its aspect ratio kept. Its first
and last pixels keep their places, as everywhere in the project (`rnnseg.grid`). A smaller image
keeps its size, which is the size of the images in training. The rest is padded, at the right and
the bottom. NumPy alone.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from rnnseg import grid
from rnnseg._renamed import RenamedAttribute, renamed_attributes
from rnnseg.errors import UserError
from rnnseg.runtime.model_info import ModelInfo

__getattr__ = renamed_attributes(
    __name__,
    {
        "Frame": "LetterboxedImage",
        "fit": "scale_and_pad",
        "fitted_size": "content_size",
        "frame": "letterbox",
        "nearest": "resize_nearest",
    },
)


@dataclasses.dataclass(frozen=True, eq=False)
class LetterboxedImage:
    """An image in the size of a file, and the places of its original pixels on the canvas.

    Attributes:
      image: RGB, uint8 `(1, H, W, 3)`.
      size: the `(height, width)` of the original image, in pixels.
      rows: the position of each row of the original image on the canvas, in canvas pixels,
        `(height,)`.
      columns: the position of each column, likewise, `(width,)`.
    """

    image: np.ndarray
    size: tuple[int, int]
    rows: np.ndarray
    columns: np.ndarray

    cells = RenamedAttribute("canvas_region")

    @property
    def canvas_region(self) -> tuple[slice, slice]:
        """The canvas pixels that see the image; outside it they see nothing but padding."""
        rows, columns = (slice(math.ceil(each[-1]) + 1) for each in (self.rows, self.columns))
        return rows, columns


def letterbox(image: np.ndarray, info: ModelInfo) -> LetterboxedImage:
    """Letterboxes an image for a file; a file for any size takes it as it is.

    Args:
      image: RGB, uint8 `(height, width, 3)`.
      info: the metadata of the file.

    Raises:
      UserError: anything else than such an image, or one that is smaller than an output stride.
    """
    image = check_image(image)
    size = content = image.shape[:2]
    if info.size is None:
        if min(size) < info.output_stride:
            raise UserError(
                f"an image of {size[0]}x{size[1]} pixels is smaller than one output stride "
                f"({info.output_stride}): expected at least that on each side"
            )
    else:
        image, content = scale_and_pad(image, info.size, info.padding)
    rows, columns = (
        np.linspace(0, (shown - 1) / info.canvas_stride, side)
        for shown, side in zip(content, size, strict=True)
    )
    return LetterboxedImage(image[np.newaxis], size, rows, columns)


def scale_and_pad(
    image: np.ndarray, size: tuple[int, int], padding: Sequence[int]
) -> tuple[np.ndarray, tuple[int, int]]:
    """Scales an image down if it is larger than a size, aspect ratio kept, and pads the rest.

    Args:
      image: RGB, uint8 `(height, width, 3)`.
      size: the `(height, width)` of the result, in pixels.
      padding: the (red, green, blue) of 0-255 at the right and the bottom.

    Returns:
      The image of that size, and the `(height, width)` of its part that is not padding.
    """
    sides = image.shape[:2]
    if sides == tuple(size):
        return image, sides
    content = content_size(sides, size)
    full = np.empty((size[0], 3 * size[1]), np.uint8)
    full[:] = np.tile(np.asarray(padding, np.uint8), size[1])
    padded = full.reshape(*size, 3)
    padded[: content[0], : content[1]] = image if content == sides else _shrink(image, content)
    return padded, content


def content_size(sides: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Returns the `(height, width)` of an image once it is letterboxed, without the padding.

    Args:
      sides: the `(height, width)` of the original image, in pixels.
      size: the `(height, width)` of the file, in pixels.
    """
    # A side of one pixel is never too long.
    ratios = [(most - 1) / (side - 1) for most, side in zip(size, sides, strict=True) if side > 1]
    scale = min([1, *ratios])
    return grid.scaled_size(sides[0], scale), grid.scaled_size(sides[1], scale)


def resize_nearest(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a class map by taking the nearest pixel; the first and the last keep their places.

    Args:
      values: `(h, w)`.
      size: the `(height, width)` of the result, in pixels.

    Returns:
      `(height, width)`, of the same type.
    """
    rows, columns = (
        np.rint(np.linspace(0, side - 1, wanted)).astype(np.intp)
        for side, wanted in zip(values.shape, size, strict=True)
    )
    return values[rows[:, np.newaxis], columns]


def check_image(image: np.ndarray) -> np.ndarray:
    """Returns an image as an array.

    Raises:
      UserError: anything else than uint8 RGB, `(height, width, 3)`.
    """
    image = np.asarray(image)
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        hint = "is grey: repeat it by np.stack([grey] * 3, -1)"
    elif image.ndim == 3 and image.shape[2] == 4:
        hint = "has a fourth channel: leave it out by image[..., :3]"
    elif image.ndim == 4:
        hint = "is a batch: give its images one at a time"
    elif image.ndim != 3 or image.shape[2] != 3 or not image.size:
        hint = "is no image"
    elif image.dtype != np.uint8:
        hint = "has the wrong type: scale it to 0-255 and convert it by .astype(np.uint8)"
    else:
        return image
    raise UserError(
        f"image of shape {image.shape} and {image.dtype}: expected RGB, uint8 of 0-255, (height, "
        f"width, 3); this {hint}"
    )


def check_canvas(canvas: np.ndarray, image: LetterboxedImage, info: ModelInfo) -> np.ndarray:
    """Returns a canvas to start from as float32.

    Args:
      canvas: logits, real numbers, `(h, w, classes)`.
      image: the image that the canvas is for.
      info: the metadata of the file.

    Raises:
      UserError: a canvas of another shape than the image's, or with values that are not finite.
    """
    canvas = np.asarray(canvas)
    strides = info.output_stride, info.canvas_stride
    sides = (grid.canvas_size(side, *strides) for side in image.image.shape[1:3])
    expected = (*sides, len(info.classes))
    if canvas.shape != expected:
        raise UserError(
            f"canvas of shape {canvas.shape}: expected {expected} for this image, (h, w, "
            "classes), as in a result for an image of its size"
        )
    if canvas.dtype.kind not in "iuf":
        raise UserError(f"canvas of {canvas.dtype}: expected logits, float32")
    canvas = canvas.astype(np.float32, copy=False)
    if not np.isfinite(canvas).all():
        raise UserError("canvas with infinite values or NaN: expected finite logits")
    return canvas


def _shrink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scales an image down, uint8 `(height, width, 3)`."""
    down, right = (_Shrinking(*sides) for sides in zip(image.shape[:2], size, strict=True))
    rows = down.sums(image, 0)
    first, second = (weight[:, np.newaxis, np.newaxis] for weight in down.weights)
    rows = first * rows.take(down.first, 0) + second * rows.take(down.second, 0)
    pixels = right.sums(rows, 1).reshape(size[0], -1)
    # As one long row, the three channels of all pixels are multiplied at once.
    before, after = (
        (3 * each[:, np.newaxis] + np.arange(3)).ravel() for each in (right.first, right.second)
    )
    first, second = (weight.repeat(3) for weight in right.weights)
    pixels = first * pixels.take(before, 1) + second * pixels.take(after, 1)
    return np.rint(pixels).astype(np.uint8).reshape(*size, 3)


class _Shrinking:
    """The scaling of one side of an image.

    The side is divided by a whole number first, by averaging neighbours, so that every pixel
    counts. Linear interpolation between two averages does the rest.

    Args:
      length: the number of pixels of the side.
      wanted: the number of pixels of the result, at most `length`.

    Attributes:
      first: for each pixel of the result, the index of the average before it, `(wanted,)`.
      second: the index of the average after it, `(wanted,)`.
      weights: the factors of the two sums of neighbours, two of float32 `(wanted,)`.
    """

    def __init__(self, length: int, wanted: int):
        self._step = length // wanted
        self._number = length // self._step
        place = np.linspace(0, length - 1, wanted)
        # The average of pixels 0 to step - 1 lies in their middle.
        place = np.clip((place - (self._step - 1) / 2) / self._step, 0, self._number - 1)
        self.first = place.astype(np.intp)
        self.second = np.minimum(self.first + 1, self._number - 1)
        weight = place - self.first
        self.weights = [np.float32(each / self._step) for each in (1 - weight, weight)]

    def sums(self, image: np.ndarray, axis: int) -> np.ndarray:
        """Returns the sums of neighbours along an axis, without the remainder at its end."""
        if self._step == 1:
            return image
        end = self._step * self._number
        parts = [
            image[(slice(None),) * axis + (slice(first, end, self._step),)]
            for first in range(self._step)
        ]
        integer = image.dtype == np.uint8
        total = parts[0].astype(np.min_scalar_type(255 * self._step) if integer else image.dtype)
        for part in parts[1:]:
            total += part
        return total
