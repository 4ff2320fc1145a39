"""Motion and cuts from one frame to the next, and canvases that follow the motion.

Everything is computed on frames scaled down to a fraction of their pixels, which takes little time
compared with an encoder.
"""

import cv2
import numpy as np

# The longer side of a small frame, in pixels: enough for several pixels per canvas pixel of a usual
# frame, and few enough to take hardly any time.
_SIDE = 160

# Optical flow compares patches of 8 pixels on its coarsest scale, a quarter of this; OpenCV crashes
# with less.
_SHORTEST_SIDE = 32

# The number of steps of red, of green and of blue in which colours are counted, on every fourth
# pixel of every fourth row.
_STEPS = 8

# The difference of two pixels, in grey levels, at which they hardly show the same object any more;
# chosen on videos of CamVid and DAVIS.
_MISMATCH = 10.0

# A grey level that no pixel has, for places outside the frame, which match nothing.
_NOWHERE = 1e4


class SmallFrame:
    """A small version of a frame, to compare with the next one.

    Args:
      frame: RGB, uint8 `(height, width, 3)`.

    Attributes:
      size: the `(height, width)` of the frame, in pixels.
      grey: the small frame in grey, uint8 `(rows, columns)`.
      colors: the share of pixels of each colour, in coarse steps, float `(512,)`.
    """

    def __init__(self, frame: np.ndarray):
        self.size = frame.shape[:2]
        scale = _SIDE / max(self.size)
        height, width = (max(_SHORTEST_SIDE, round(scale * side)) for side in self.size)
        small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        self.grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        self.colors = _histogram(small[::4, ::4].reshape(-1, 3))


def _histogram(pixels: np.ndarray) -> np.ndarray:
    """Returns the shares of colours; each pixel counts for the eight steps around its colour.

    If each pixel counted for a single step, a grey sky that gets a little lighter would change its
    colour from one frame to the next.
    """
    place = np.clip(pixels * np.float32(_STEPS / 256) - np.float32(0.5), 0, _STEPS - 1)
    lower = place.astype(np.intp)
    share = place - lower
    counts = np.zeros(_STEPS**3)
    for corner in np.ndindex(2, 2, 2):
        step = np.minimum(lower + corner, _STEPS - 1)
        weight = np.where(corner, share, 1 - share).prod(1)
        counts += np.bincount(step @ (_STEPS**2, _STEPS, 1), weight, minlength=len(counts))
    return counts / len(pixels)


def color_change(before: SmallFrame, after: SmallFrame) -> float:
    """Returns the share of pixels, 0-1, that change colour from one frame to the other.

    It is one minus the intersection of the colour histograms (Swain and Ballard, 1991, "Color
    Indexing"). Motion moves pixels and keeps most of their colours; a cut does not.
    """
    return float(np.abs(before.colors - after.colors).sum() / 2)


class Follower:
    """Moves a canvas by optical flow and tells where it is reliable.

    The flow is dense (Kroeger et al., 2016, "Fast Optical Flow using Dense Inverse Search"). Where
    the moved frame differs from the next one, something was uncovered, came in, or moved in another
    way, and the old canvas is of little use. Its weight is a Gaussian of the difference (Lai et
    al., 2018, "Learning Blind Video Temporal Consistency").
    """

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def follow(
        self,
        canvas: np.ndarray,
        before: SmallFrame,
        after: SmallFrame,
        spacing: tuple[float, float],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Moves a canvas from one frame to the next.

        Args:
          canvas: the canvas of the frame before, `(h, w, classes)`.
          before: the frame before.
          after: the next frame, of the same size.
          spacing: the distance of canvas pixels in pixels of the frames, down and across.

        Returns:
          The moved canvas, `(h, w, classes)`, and its weight, 0-1, `(h, w, 1)`.
        """
        # The flow leads from each pixel to its place in the frame before.
        flow = self._flow.calc(after.grey, before.grey, None)
        rows, columns = np.indices(after.grey.shape, np.float32)
        moved = cv2.remap(
            before.grey.astype(np.float32), columns + flow[..., 0], rows + flow[..., 1],
            cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=_NOWHERE,
        )  # fmt: skip
        # The distance of canvas pixels on the small frame.
        step_down, step_right = np.multiply(spacing, after.grey.shape) / after.size
        patch = max(1, round(step_right)), max(1, round(step_down))
        difference = cv2.blur(np.abs(after.grey - moved), patch)
        # The places of canvas pixels on the small frame, relative to the centres of its pixels.
        rows, columns = np.indices(canvas.shape[:2], np.float32)
        scale_down, scale_right = np.divide(after.grey.shape, after.size)
        place = (
            step_down * rows + (scale_down - 1) / 2,
            step_right * columns + (scale_right - 1) / 2,
        )
        right, down = np.moveaxis(interpolate(flow, *place), -1, 0)
        canvas = interpolate(canvas, rows + down / step_down, columns + right / step_right)
        difference = interpolate(difference[..., np.newaxis], *place)
        return canvas, np.exp(-np.square(difference / _MISMATCH))


def interpolate(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Interpolates values bilinearly at any places.

    Args:
      values: float32 `(h, w, channels)`, with any number of channels, unlike `cv2.remap`.
      rows: the places down, `(...)`; places outside take the value at the edge.
      columns: the places across, `(...)`.

    Returns:
      Float32 `(..., channels)`.
    """
    (top, bottom, down), (left, right, across) = (
        _neighbours(places, length)
        for places, length in zip((rows, columns), values.shape[:2], strict=True)
    )
    above = values[top, left] * (1 - across) + values[top, right] * across
    below = values[bottom, left] * (1 - across) + values[bottom, right] * across
    return above * (1 - down) + below * down


def _neighbours(places, length):
    """Returns the pixels before and after each place, and the weight of the latter, 0-1."""
    places = np.clip(places, 0, length - 1)
    before = places.astype(np.intp)
    weight = (places - before).astype(np.float32)
    return before, np.minimum(before + 1, length - 1), weight[..., np.newaxis]
