"""Reading a class map from a canvas where it needs interpolating only: NumPy, no TensorFlow.

Bilinear interpolation gives weighted means. Where the four canvas cells around a pixel have the
same best class, it is the pixel's best class too, and nothing has to be interpolated. What is left
are the borders between classes.
"""

import numpy as np

from rnnseg.errors import UserError

# What a class has to be ahead by, relative to the largest logit, for rounding not to turn it over.
# Nine operations of float32 make an error of at most 20 half units in the last place of the largest
# logit; two classes meet, so 40 * 2**-24, and this is 64.
_MARGIN = 2.0**-18

# Logits that are interpolated at a time: about half a megabyte, which stays in a core's cache.
_BLOCK = 2**17


def read_sparsely(canvas: np.ndarray, size: tuple[int, int], stride: int) -> np.ndarray:
    """The prediction of the moment, as `rnnseg.base.Segmenter.read` gives it.

    Equal to the argmax over the whole upsampled canvas at every pixel, ties included, where these
    operations are rounded one by one, as NumPy and TensorFlow do it on x86.

    Args:
      canvas: finite logits, float32, `(h, w, classes)`.
      size: the picture's `(height, width)`, in pixels, at most `stride * (h - 1) + 1`.
      stride: output stride, in pixels, a power of two.

    Returns:
      Class map, int32, `(height, width)`.

    Raises:
      UserError: the canvas does not reach as far as the picture.
    """
    height, width = size
    reach = tuple(stride * (cells - 1) + 1 for cells in canvas.shape[:2])
    if height > reach[0] or width > reach[1]:
        raise UserError(
            f"size {tuple(size)}: a canvas of {canvas.shape[0]}x{canvas.shape[1]} reaches "
            f"{reach[0]}x{reach[1]} pixels at most"
        )
    rows, columns = -(-height // stride), -(-width // stride)
    # The last row and column of corners meet themselves in the cells behind them.
    corners = np.pad(canvas, ((0, 1), (0, 1), (0, 0)), mode="edge")[: rows + 1, : columns + 1]
    best = _safely_best(corners)
    first = best[:-1, :-1]
    agreeing = (
        (first >= 0) & (first == best[:-1, 1:]) & (first == best[1:, :-1]) & (first == best[1:, 1:])
    )
    pixels = np.empty((rows, stride, columns, stride), np.int32)
    pixels[:] = first[:, np.newaxis, :, np.newaxis]
    row, column = np.nonzero(~agreeing)
    at_once = max(1, _BLOCK // (stride**2 * canvas.shape[2]))
    for start in range(0, len(row), at_once):
        part = slice(start, start + at_once)
        pixels[row[part], :, column[part]] = _read_cells(corners, row[part], column[part], stride)
    return pixels.reshape(rows * stride, columns * stride)[:height, :width]


def _safely_best(corners: np.ndarray) -> np.ndarray:
    """The best class of every corner, int32 `(h, w)`; -1 where another one comes too close."""
    best = corners.argmax(-1)
    others = corners.copy()
    np.put_along_axis(others, best[..., np.newaxis], -np.inf, -1)
    lead = corners.max(-1) - others.max(-1)
    return np.where(lead > _MARGIN * np.abs(corners).max(), best, -1).astype(np.int32)


def _read_cells(corners, row, column, stride) -> np.ndarray:
    """The classes in some cells, `(cells, stride, stride)`, by TensorFlow's ResizeBilinear."""
    weight = (np.arange(stride, dtype=np.float32) / np.float32(stride))[:, np.newaxis]

    def along_row(row):
        left, right = (corners[row, each][:, np.newaxis] for each in (column, column + 1))
        return left + (right - left) * weight

    top, bottom = (along_row(each)[:, np.newaxis] for each in (row, row + 1))
    return (top + (bottom - top) * weight[:, np.newaxis]).argmax(-1)
