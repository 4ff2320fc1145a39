"""Images of any size for files of one size, and where their pixels lie on the canvas then.

NumPy alone. The geometry is that of `rnnseg.models.geometry`: an image's first and last pixels keep
their places when it is scaled, and canvas pixel `i` lies on pixel `output_stride * i`.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from rnnseg.errors import UserError
from rnnseg.runtime.model_info import ModelInfo


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """An image as a file takes it.

    Attributes:
      image: RGB, uint8 `(1, H, W, 3)`.
      size: the (height, width) of the image it was made of, in pixels.
      rows: where the image's rows of pixels lie on the canvas, in canvas pixels, `(height,)`.
      columns: likewise, `(width,)`.
    """

    image: np.ndarray
    size: tuple[int, int]
    rows: np.ndarray
    columns: np.ndarray

    @property
    def cells(self) -> tuple[slice, slice]:
        """The canvas pixels that see the image, without those in the padding alone."""
        rows, columns = (slice(math.ceil(each[-1]) + 1) for each in (self.rows, self.columns))
        return rows, columns


def frame(image, info: ModelInfo) -> Frame:
    """Fits an image to a file.

    What is larger than the file's size is scaled down, aspect kept; what is smaller keeps its size,
    which is that of the images in training. Padding goes to the right and the bottom.

    Args:
      image: RGB, uint8 `(height, width, 3)`.
      info: of the file.

    Raises:
      UserError: not such an image.
    """
    image = check_image(image)
    size = shown = image.shape[:2]
    if info.size is None:
        if min(size) < info.output_stride:
            raise UserError(
                f"an image of {size[0]}x{size[1]} pixels is smaller than one output stride "
                f"({info.output_stride}): expected at least that on each side"
            )
    else:
        image, shown = fit(image, info.size, info.padding)
    rows, columns = (
        np.linspace(0, (part - 1) / info.output_stride, side)
        for part, side in zip(shown, size, strict=True)
    )
    return Frame(image[np.newaxis], size, rows, columns)


def fit(
    image: np.ndarray, size: tuple[int, int], padding: Sequence[int]
) -> tuple[np.ndarray, tuple[int, int]]:
    """Scales an image down to a size where it is larger, aspect kept, and pads what is missing.

    Args:
      image: RGB, uint8 `(height, width, 3)`.
      size: the (height, width) that is wanted, in pixels.
      padding: the (red, green, blue) of 0-255 to the right and at the bottom.

    Returns:
      The image of that size, and the (height, width) of its part that is not padding.
    """
    sides = image.shape[:2]
    if sides == tuple(size):
        return image, sides
    shown = fitted_size(sides, size)
    full = np.empty((size[0], 3 * size[1]), np.uint8)
    full[:] = np.tile(np.uint8(padding), size[1])
    full = full.reshape(*size, 3)
    full[: shown[0], : shown[1]] = image if shown == sides else _shrink(image, shown)
    return full, shown


def fitted_size(sides: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The (height, width) that `fit` gives an image of some `sides` in a file of some `size`."""
    # A side of one pixel is never too long.
    ratios = [(most - 1) / (side - 1) for most, side in zip(size, sides, strict=True) if side > 1]
    scale = min([1, *ratios])
    return tuple(round((side - 1) * scale) + 1 for side in sides)


def nearest(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scales a map of classes by taking the nearest pixel; first and last keep their places.

    Args:
      values: `(height, width)`.
      size: the (height, width) that is wanted, in pixels.
    """
    rows, columns = (
        np.rint(np.linspace(0, side - 1, wanted)).astype(np.intp)
        for side, wanted in zip(values.shape, size, strict=True)
    )
    return values[rows[:, np.newaxis], columns]


def check_image(image) -> np.ndarray:
    """An image as an array, once it is sure to be one.

    Raises:
      UserError: not uint8 RGB, `(height, width, 3)`.
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
        hint = "has the wrong type: bring it to 0-255 and convert it by .astype(np.uint8)"
    else:
        return image
    raise UserError(
        f"image of shape {image.shape} and {image.dtype}: expected RGB, uint8 of 0-255, (height, "
        f"width, 3); this {hint}"
    )


def check_canvas(canvas, frame: Frame, info: ModelInfo) -> np.ndarray:
    """A canvas to start from as float32, once it is sure to be one.

    Args:
      canvas: logits, real numbers, `(h, w, classes)`.
      frame: the image that it is for.
      info: of the file.

    Raises:
      UserError: of another shape than the image's, or not of finite numbers.
    """
    canvas = np.asarray(canvas)
    stride = info.output_stride
    sides = ((side + stride - 2) // stride + 1 for side in frame.image.shape[1:3])
    expected = (*sides, len(info.classes))
    if canvas.shape != expected:
        raise UserError(
            f"canvas of shape {canvas.shape}: expected {expected} for this image, (h, w, "
            "classes), as in a result for one of its size"
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
    """How one side of an image is scaled down.

    First a whole number of times by means of neighbours, so that no pixel is passed over, then by
    linear interpolation between two of them.

    Attributes:
      first: of the means, which one comes before each pixel that is wanted, `(wanted,)`.
      second: which one comes after it.
      weights: what their sums of neighbours are multiplied with, float32, two of `(wanted,)`.
    """

    def __init__(self, length: int, wanted: int):
        self._step = length // wanted
        self._number = length // self._step
        place = np.linspace(0, length - 1, wanted)
        # The mean of pixels 0 to step - 1 stands in their middle.
        place = np.clip((place - (self._step - 1) / 2) / self._step, 0, self._number - 1)
        self.first = place.astype(np.intp)
        self.second = np.minimum(self.first + 1, self._number - 1)
        weight = place - self.first
        self.weights = [np.float32(each / self._step) for each in (1 - weight, weight)]

    def sums(self, image: np.ndarray, axis: int) -> np.ndarray:
        """The sums of neighbours along an axis; what is left over at its end is not seen."""
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
