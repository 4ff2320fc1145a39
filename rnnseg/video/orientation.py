"""Frames as players show them: turned and mirrored by the display matrix of a file.

A display matrix (ISO/IEC 14496-12, "matrix" of a track) maps stored pixels to shown ones:
`x' = a x + c y`, `y' = b x + d y`. Cameras write the eight that swap or reverse the axes.
"""

import dataclasses

import av
import numpy as np

# The largest part of an axis that may lie off its direction: one degree, as FFmpeg allows.
_TOLERANCE = 0.0175


@dataclasses.dataclass(frozen=True)
class Orientation:
    """How a stored frame becomes a shown one: transposed first, then reversed.

    Attributes:
      transposed: True if rows become columns.
      reversed_rows: True if the rows are shown from the last to the first.
      reversed_columns: True if the columns are shown from the last to the first.
      problem: why the frame is taken as stored although it has a display matrix; None otherwise.
    """

    transposed: bool = False
    reversed_rows: bool = False
    reversed_columns: bool = False
    problem: str | None = None

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Returns a stored image `(height, width, channels)` as it is shown."""
        if self.transposed:
            image = image.swapaxes(0, 1)
        image = image[:: -1 if self.reversed_rows else 1, :: -1 if self.reversed_columns else 1]
        return np.ascontiguousarray(image)


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """Returns the orientation of a decoded frame.

    Args:
      frame: a frame of PyAV.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    return Orientation() if matrix is None else from_matrix(np.frombuffer(matrix, np.int32))


def from_matrix(matrix: np.ndarray) -> Orientation:
    """Returns the orientation that a display matrix describes.

    Its scale and its offset have no effect, as in players.

    Args:
      matrix: int `(9,)`: a, b, u, c, d, v, x, y, w.
    """
    a, b, _, c, d = (float(each) for each in matrix[:5])
    first, second = np.hypot(a, b), np.hypot(c, d)  # the lengths of the two axes when shown
    if first and second:
        a, b, c, d = a / first, b / first, c / second, d / second
        if max(abs(b), abs(c)) < _TOLERANCE:
            return Orientation(reversed_rows=d < 0, reversed_columns=a < 0)
        if max(abs(a), abs(d)) < _TOLERANCE:
            return Orientation(transposed=True, reversed_rows=b < 0, reversed_columns=c < 0)
        # Signs as people say it: the y axis of an image points down.
        what = f"turns by {np.degrees(np.arctan2(b, a)):.0f} degrees clockwise"
        if abs(a * c + b * d) > _TOLERANCE:
            what = "shears"
    else:
        what = "shows nothing"
    return Orientation(
        problem=f"its display matrix {what}; only quarter turns and mirror images are applied, so "
        "that frames are taken as stored"
    )
