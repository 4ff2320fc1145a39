"""What changed from one frame to the next, and how a canvas follows it.

All of it is seen on frames scaled down to a fraction of their pixels, in little time beside that of
an encoder.
"""

import cv2
import numpy as np

# The longer side of what is looked at, in pixels: enough for several to lie on a canvas pixel of a
# usual frame, and few enough to take next to no time.
_SIDE = 160

# On the coarsest of its scales, a quarter of that, optical flow compares patches of 8 pixels; with
# less OpenCV crashes.
_SHORTEST_SIDE = 32

# Colours are counted in as many steps of red, of green and of blue, on every fourth pixel of
# every fourth row.
_STEPS = 8

# Grey levels by which two pixels differ when they hardly show the same thing any more; chosen on
# CamVid's and DAVIS' videos.
_MISMATCH = 10.0

# A grey level that no pixel has: what was outside the frame matches nothing.
_NOWHERE = 1e4


class Glance:
    """A frame as small as it takes to see what changes from one to the next.

    Args:
      frame: RGB, uint8 `(height, width, 3)`.

    Attributes:
      size: the frame's (height, width), in pixels.
      grey: what is left of it, uint8 `(rows, columns)`.
      colors: the share of pixels that have each colour, in coarse steps, float `(512,)`.
    """

    def __init__(self, frame: np.ndarray):
        self.size = frame.shape[:2]
        scale = _SIDE / max(self.size)
        height, width = (max(_SHORTEST_SIDE, round(scale * side)) for side in self.size)
        small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        self.grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        self.colors = _histogram(small[::4, ::4].reshape(-1, 3))


def _histogram(pixels: np.ndarray) -> np.ndarray:
    """Counts colours; each pixel is shared out among the eight steps around its colour.

    With a step of its own for every pixel, a grey sky that gets a little lighter would be another
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


def color_change(before: Glance, after: Glance) -> float:
    """The share of pixels, 0-1, that would have to change colour to make one frame of the other.

    One minus the intersection of the colour histograms (Swain and Ballard, 1991, "Color Indexing").
    Motion moves pixels and keeps most of their colours; a cut does not.
    """
    return float(np.abs(before.colors - after.colors).sum() / 2)


class Follower:
    """Moves a canvas along with what is seen, and says how far it can be relied on.

    It follows dense optical flow (Kroeger et al., 2016, "Fast Optical Flow using Dense Inverse
    Search"). Where a frame does not look like what it should have come from, something was
    uncovered, came in, or moved in another way, and the old canvas says little; so it is weighted
    by a Gaussian of the difference (Lai et al., 2018, "Learning Blind Video Temporal Consistency").
    """

    def __init__(self):
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def follow(
        self,
        canvas: np.ndarray,
        before: Glance,
        after: Glance,
        spacing: tuple[float, float],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Brings a canvas from one frame to the next.

        Args:
          canvas: of the frame before, `(h, w, classes)`.
          before: that frame.
          after: the next one, of the same size.
          spacing: how many of the frames' pixels lie between canvas pixels, down and across.

        Returns:
          The canvas as it should be now, `(h, w, classes)`, and its weight, 0-1, `(h, w, 1)`.
        """
        flow = self._flow.calc(after.grey, before.grey, None)  # from each pixel to where it was
        rows, columns = np.indices(after.grey.shape, np.float32)
        moved = cv2.remap(
            before.grey.astype(np.float32), columns + flow[..., 0], rows + flow[..., 1],
            cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=_NOWHERE,
        )  # fmt: skip
        # Of the small frame, between canvas pixels.
        step_down, step_right = np.multiply(spacing, after.grey.shape) / after.size
        cell = max(1, round(step_right)), max(1, round(step_down))
        difference = cv2.blur(np.abs(after.grey - moved), cell)
        # Where canvas pixels lie on the small frame, by the centres of pixels.
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
    """Bilinear interpolation at any places.

    Args:
      values: float32 `(h, w, channels)`, of any number of channels, which `cv2.remap` has not.
      rows: places down, `(...)`; what lies outside is taken from the edge.
      columns: places across, `(...)`.

    Returns:
      float32 `(..., channels)`.
    """
    (top, bottom, down), (left, right, across) = (
        _neighbours(places, length)
        for places, length in zip((rows, columns), values.shape[:2], strict=True)
    )
    above = values[top, left] * (1 - across) + values[top, right] * across
    below = values[bottom, left] * (1 - across) + values[bottom, right] * across
    return above * (1 - down) + below * down


def _neighbours(places, length):
    """The pixels before and after each place, and how far it is from one to the other."""
    places = np.clip(places, 0, length - 1)
    before = places.astype(np.intp)
    weight = (places - before).astype(np.float32)
    return before, np.minimum(before + 1, length - 1), weight[..., np.newaxis]
