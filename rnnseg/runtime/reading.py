"""Reading a class map from a canvas, interpolating only at the borders between classes.

Bilinear interpolation computes weighted means. If the four canvas pixels around an image pixel have
the same best class, it is the best class of the image pixel, too, and nothing has to be
interpolated. The rest are the borders between classes; there only the few classes count that no
other class beats at all four corners. NumPy alone.

The square between four neighbouring canvas pixels, its *corners*, is called a *patch*. The last row
and column of canvas pixels begin patches as well, whose far corners are the near ones again.
"""

import numpy as np

from rnnseg import grid
from rnnseg.errors import UserError

# The lead that a class needs, relative to the largest logit, so that rounding cannot overturn it.
# Nine operations in float32 have an error of at most 20 half units in the last place of the largest
# logit. Two classes are compared, so the bound is 40 * 2**-24; this is 64 * 2**-24.
_MARGIN = 2.0**-18

# The number of pixels that are interpolated at a time: a handful of arrays of half a megabyte each,
# which mostly stay in the cache.
_BLOCK = 2**17


def read_sparsely(canvas: np.ndarray, size: tuple[int, int], stride: int) -> np.ndarray:
    """Returns the prediction, as `rnnseg.models.base.SegmentationModel.read` does.

    It equals the argmax of the densely upsampled canvas at every pixel, ties included, if the
    operations are rounded one by one, as NumPy and TensorFlow do on x86.

    Args:
      canvas: finite logits, float32, `(h, w, classes)`.
      size: the `(height, width)` of the image, in pixels, at most `stride * (h - 1) + 1`.
      stride: image pixels per canvas pixel, a power of two.

    Returns:
      Class map, int32, `(height, width)`.

    Raises:
      UserError: the canvas does not cover the image, or is not finite.
    """
    grid.check_covered(size, canvas.shape[:2], stride)
    height, width = size
    return read_at(canvas, np.arange(height) / stride, np.arange(width) / stride)


def read_at(canvas: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Returns the best class at every intersection of some rows and columns.

    Args:
      canvas: finite logits, float32, `(h, w, classes)`.
      rows: their positions, in canvas pixels: rising from 0 to at most h - 1, with at least one in
        every patch. A row at 0.5 is half way between the first two of the canvas.
      columns: their positions, likewise, from 0 to at most w - 1.

    Returns:
      Class map, int32, `(rows, columns)`; the first class in a tie.

    Raises:
      UserError: logits that are not finite, or positions beyond the canvas.
    """
    if rows[-1] > canvas.shape[0] - 1 or columns[-1] > canvas.shape[1] - 1:
        raise UserError(
            f"a canvas of {canvas.shape[0]}x{canvas.shape[1]} does not cover the image: the "
            "strides in the metadata of the file are not those of its model; export it again"
        )
    row, column = _Positions(rows), _Positions(columns)
    corners = np.pad(canvas, ((0, 1), (0, 1), (0, 0)), mode="edge")
    corners = corners[: row.patches + 1, : column.patches + 1]
    margin = np.float32(_MARGIN) * np.abs(corners).max()
    if not np.isfinite(margin):
        raise UserError(
            "the canvas has logits that are not finite numbers: the model's weights are damaged, "
            "or its training has diverged (try a lower learning rate)"
        )
    best = _safely_best(corners, margin)
    first = best[:-1, :-1]
    agreeing = (
        (first >= 0) & (first == best[:-1, 1:]) & (first == best[1:, :-1]) & (first == best[1:, 1:])
    )
    # The fewer bytes per class, the faster. A -1 becomes another number here and is overwritten.
    pixels = first.astype(np.min_scalar_type(canvas.shape[2] - 1))
    pixels = pixels.take(column.patch, 1).take(row.patch, 0)
    tops, lefts = np.nonzero(~agreeing)
    at_once = max(1, _BLOCK // (len(row.of_patch) * len(column.of_patch)))
    for start in range(0, len(tops), at_once):
        part = slice(start, start + at_once)
        _read_patches(corners, margin, tops[part], lefts[part], row, column, pixels)
    return pixels.astype(np.int32)


class _Positions:
    """The positions of pixels in the patches, along one side.

    Args:
      positions: in canvas pixels, rising from 0, `(pixels,)`.

    Attributes:
      patches: the number of patches.
      patch: the patch of each pixel, `(pixels,)`.
      weight: the position of each pixel within its patch, 0 to 1, float32 `(pixels,)`.
      of_patch: the pixels of each patch, `(most, patches)`; a patch with fewer pixels than others
        repeats its last one.
    """

    def __init__(self, positions: np.ndarray):
        self.patch = positions.astype(np.intp)
        self.patches = self.patch[-1] + 1
        self.weight = (positions - self.patch).astype(np.float32)
        first = np.searchsorted(self.patch, np.arange(self.patches))
        last = np.append(first[1:], len(positions)) - 1
        offsets = np.arange((last - first).max() + 1)[:, np.newaxis]
        self.of_patch = np.minimum(first + offsets, last)


def _safely_best(corners: np.ndarray, margin: np.float32) -> np.ndarray:
    """Returns the best class of every corner, int `(h, w)`; -1 if another one comes too close."""
    best = corners.argmax(-1)
    others = corners.copy()
    np.put_along_axis(others, best[..., np.newaxis], -np.inf, -1)
    return np.where(corners.max(-1) - others.max(-1) > margin, best, -1)


def _read_patches(
    corners: np.ndarray,
    margin: float,
    tops: np.ndarray,
    lefts: np.ndarray,
    row: _Positions,
    column: _Positions,
    pixels: np.ndarray,
) -> None:
    """Fills in the pixels of some patches by the same operations as TensorFlow's ResizeBilinear.

    Every patch has its own classes to compare. Patches are sorted by the number of their classes,
    largest first, so that those with a next class to compare are one slice. They are the last axis,
    which is the longest.
    """
    around = np.stack([corners[tops + down, lefts + right] for down in (0, 1) for right in (0, 1)])
    possible = np.ones(around.shape[1:], bool)
    for leader in around.argmax(2):
        ahead = np.take_along_axis(around, leader[np.newaxis, :, np.newaxis], 2) - around
        possible &= (ahead <= margin).any(0)
    numbers = possible.sum(1)
    order = np.argsort(-numbers)
    numbers = numbers[order]
    # Rising, so that the first class wins a tie.
    classes = np.argsort(~possible[order], 1, kind="stable")[:, : numbers[0]]
    logits = np.take_along_axis(around[:, order], classes[np.newaxis], 2)
    classes, logits = (np.ascontiguousarray(np.moveaxis(each, -1, 0)) for each in (classes, logits))
    classes = classes.astype(pixels.dtype)
    y, x = row.of_patch[:, np.newaxis, tops[order]], column.of_patch[:, lefts[order]]
    down, right = row.weight[y], column.weight[x]

    def interpolate(corners):
        count = corners.shape[1]
        top_left, top_right, bottom_left, bottom_right = corners
        top = top_left + (top_right - top_left) * right[:, :count]
        bottom = bottom_left + (bottom_right - bottom_left) * right[:, :count]
        return top + (bottom - top) * down[:, :, :count]

    highest = interpolate(logits[0])
    winners = np.broadcast_to(classes[0], highest.shape).copy()
    for rank in range(1, numbers[0]):
        count = np.count_nonzero(numbers > rank)
        own, top = interpolate(logits[rank, :, :count]), highest[..., :count]
        # As classes rise, the winner is the largest class that took the lead: products and maxima
        # of whole arrays, without masks.
        so_far = winners[..., :count]
        np.maximum(so_far, (own > top) * classes[rank, :count], out=so_far)
        np.maximum(top, own, out=top)
    pixels[y, x] = winners
