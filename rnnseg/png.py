"""Writing PNG files in bands, so that large images need not be in memory as a whole."""

import os
import struct
import zlib
from collections.abc import Iterable

import numpy as np

from rnnseg.files import atomic_path

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB = 2  # the type of colours
_CHANNELS = 3
# The filters that are tried for every row: none, the pixel at the left, the pixel above. The other
# two of the format gain little on overlays, whose borders are sharp, and take much longer.
_NONE, _SUB, _UP = 0, 1, 2


def write_png(path: str | os.PathLike, size: tuple[int, int], bands: Iterable[np.ndarray]) -> None:
    """Writes an RGB image as a PNG file (W3C, Portable Network Graphics, third edition).

    Args:
      path: the file to write.
      size: the (height, width), in pixels.
      bands: the rows from top to bottom, a few at a time, uint8 `(rows, width, 3)`.
    """
    height, width = size
    compressor = zlib.compressobj(strategy=zlib.Z_FILTERED)
    before = np.zeros((1, _CHANNELS * width), np.uint8)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(_SIGNATURE)
        file.write(_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _RGB, 0, 0, 0)))
        for band in bands:
            rows = band.reshape(len(band), -1)
            filtered = _filter(rows, np.concatenate([before, rows[:-1]]))
            before = rows[-1:].copy()
            if data := compressor.compress(filtered.tobytes()):
                file.write(_chunk(b"IDAT", data))
        file.write(_chunk(b"IDAT", compressor.flush()))
        file.write(_chunk(b"IEND", b""))


def _filter(rows: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Returns rows, uint8 `(h, values)`, as differences, each with the number of its filter first.

    Every row gets the filter with the smallest sum of differences, as the specification advises.
    """
    left = np.zeros_like(rows)
    left[:, _CHANNELS:] = rows[:, :-_CHANNELS]
    best = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    least = None
    for number, other in ((_NONE, None), (_SUB, left), (_UP, above)):
        values = rows if other is None else rows - other
        # Differences are signed: 255 is -1.
        total = np.minimum(values, 0 - values).sum(1, dtype=np.int64)
        better = np.ones(len(rows), bool) if least is None else total < least
        best[better, 0] = number
        best[better, 1:] = values[better]
        least = np.where(better, total, 0 if least is None else least)
    return best


def _chunk(kind: bytes, data: bytes) -> bytes:
    """Returns a chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
