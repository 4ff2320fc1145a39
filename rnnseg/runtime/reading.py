"""Reading a class map from a canvas where it needs interpolating only: NumPy, no TensorFlow.

Bilinear interpolation gives weighted means. Where the four canvas cells around a pixel have the
same best class, it is the pixel's best class too, and nothing has to be interpolated. What is left
are the borders between classes, and there only the few classes count that no other one beats at all
four corners.
"""

import numpy as np

from rnnseg.errors import UserError

# What a class has to be ahead by, relative to the largest logit, for rounding not to turn it over.
# Nine operations of float32 make an error of at most 20 half units in the last place of the largest
# logit; two classes meet, so 40 * 2**-24, and this is 64.
_MARGIN = 2.0**-18

# Pixels that are interpolated at a time: a handful of arrays of half a megabyte, mostly cached.
_BLOCK = 2**17


def read_sparsely(canvas: np.ndarray, size: tuple[int, int], stride: int) -> np.ndarray:
    """The prediction of the moment, as `rnnseg.models.base.Segmenter.read` gives it.

    Equal to the argmax over the whole upsampled canvas at every pixel, ties included, where these
    operations are rounded one by one, as NumPy and TensorFlow do it on x86.

    Args:
      canvas: finite logits, float32, `(h, w, classes)`.
      size: the image's `(height, width)`, in pixels, at most `stride * (h - 1) + 1`.
      stride: output stride, in pixels, a power of two.

    Returns:
      Class map, int32, `(height, width)`.

    Raises:
      UserError: the canvas does not reach as far as the image, or is not finite.
    """
    height, width = size
    reach = tuple(stride * (cells - 1) + 1 for cells in canvas.shape[:2])
    if height > reach[0] or width > reach[1]:
        raise UserError(
            f"size {tuple(size)}: a canvas of {canvas.shape[0]}x{canvas.shape[1]} reaches "
            f"{reach[0]}x{reach[1]} pixels at most"
        )
    return read_at(canvas, np.arange(height) / stride, np.arange(width) / stride)


def read_at(canvas: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The best class at each crossing of some rows and columns, which lie between canvas pixels.

    Args:
      canvas: finite logits, float32, `(h, w, classes)`.
      rows: where they lie, rising from 0 to at most h - 1, without leaving out a whole cell; with
        0.5 a row is half way between the canvas' first two.
      columns: likewise, from 0 to at most w - 1.

    Returns:
      Class map, int32, `(rows, columns)`; of classes that are level, the first one.

    Raises:
      UserError: logits that are not finite.
    """
    row, column = _Places(rows), _Places(columns)
    # The last row and column of corners meet themselves in the cells behind them.
    corners = np.pad(canvas, ((0, 1), (0, 1), (0, 0)), mode="edge")
    corners = corners[: row.cells + 1, : column.cells + 1]
    margin = np.float32(_MARGIN) * np.abs(corners).max()
    if not np.isfinite(margin):
        raise UserError(
            "the canvas has logits that are no finite numbers: the model's weights are damaged, or "
            "its training has diverged (try a lower learning rate)"
        )
    best = _safely_best(corners, margin)
    first = best[:-1, :-1]
    agreeing = (
        (first >= 0) & (first == best[:-1, 1:]) & (first == best[1:, :-1]) & (first == best[1:, 1:])
    )
    # The fewer bytes a class takes, the faster; a -1 becomes nonsense here and is written over.
    pixels = first.astype(np.min_scalar_type(canvas.shape[2] - 1))
    pixels = pixels.take(column.cell, 1).take(row.cell, 0)
    tops, lefts = np.nonzero(~agreeing)
    at_once = max(1, _BLOCK // (len(row.of_cell) * len(column.of_cell)))
    for start in range(0, len(tops), at_once):
        part = slice(start, start + at_once)
        _read_cells(corners, margin, tops[part], lefts[part], row, column, pixels)
    return pixels.astype(np.int32)


class _Places:
    """Where pixels lie among the canvas' cells, along one side.

    Attributes:
      cells: the number of cells.
      cell: the cell that each pixel is in, `(pixels,)`.
      weight: how far it is through it, 0 to 1, float32 `(pixels,)`.
      of_cell: the pixels of each cell, `(most, cells)`; a cell with fewer than the others has its
        last one several times.
    """

    def __init__(self, places: np.ndarray):
        self.cell = places.astype(np.intp)
        self.cells = self.cell[-1] + 1
        self.weight = (places - self.cell).astype(np.float32)
        first = np.searchsorted(self.cell, np.arange(self.cells))
        last = np.append(first[1:], len(places)) - 1
        self.of_cell = np.minimum(first + np.arange((last - first).max() + 1)[:, np.newaxis], last)


def _safely_best(corners: np.ndarray, margin: np.float32) -> np.ndarray:
    """The best class of every corner, int `(h, w)`; -1 where another one comes too close."""
    best = corners.argmax(-1)
    others = corners.copy()
    np.put_along_axis(others, best[..., np.newaxis], -np.inf, -1)
    return np.where(corners.max(-1) - others.max(-1) > margin, best, -1)


def _read_cells(corners, margin, tops, lefts, row: _Places, column: _Places, pixels) -> None:
    """Fills in the pixels of some cells, by the same operations as TensorFlow's ResizeBilinear.

    Every cell has its own classes to compare. The cells with the most of them come first, so that
    all that still have another one to come are one slice; cells are the last axis, the longest.
    """
    around = np.stack([corners[tops + down, lefts + right] for down in (0, 1) for right in (0, 1)])
    possible = np.ones(around.shape[1:], bool)
    for leader in around.argmax(2):
        ahead = np.take_along_axis(around, leader[np.newaxis, :, np.newaxis], 2) - around
        possible &= (ahead <= margin).any(0)
    numbers = possible.sum(1)
    order = np.argsort(-numbers)
    numbers = numbers[order]
    # Rising, so that of classes that are level the first one stays.
    classes = np.argsort(~possible[order], 1, kind="stable")[:, : numbers[0]]
    logits = np.take_along_axis(around[:, order], classes[np.newaxis], 2)
    classes, logits = (np.ascontiguousarray(np.moveaxis(each, -1, 0)) for each in (classes, logits))
    classes = classes.astype(pixels.dtype)
    y, x = row.of_cell[:, np.newaxis, tops[order]], column.of_cell[:, lefts[order]]
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
        # As classes rise, the winner is the largest that came out on top: no masks, many at a time.
        so_far = winners[..., :count]
        np.maximum(so_far, (own > top) * classes[rank, :count], out=so_far)
        np.maximum(top, own, out=top)
    pixels[y, x] = winners
