"""Segmentation of a video, in which every frame continues from the frame before."""

import dataclasses
import time
from typing import TYPE_CHECKING

import numpy as np

from rnnseg._renamed import renamed_attributes
from rnnseg.checks import check_fraction, check_positive
from rnnseg.runtime.letterbox import check_image
from rnnseg.video import libraries
from rnnseg.video.engines import Engine, open_engine

if TYPE_CHECKING:  # what loads TensorFlow or OpenCV is loaded when it is needed
    from rnnseg.models.base import SegmentationModel
    from rnnseg.runtime.segmenter import Segmenter
    from rnnseg.video.motion import SmallFrame

__getattr__ = renamed_attributes(__name__, {"Result": "VideoResult"})


@dataclasses.dataclass(frozen=True, eq=False)
class VideoResult:
    """The segmentation of a frame.

    Attributes:
      classes: class map, int32 `(height, width)`.
      iterations: the number of iterations that were run.
      cut: True if another scene begins with this frame.
      milliseconds: the time from the call to the class map.
      canvas: the logits, float32 `(h, w, classes)`.
    """

    classes: np.ndarray
    iterations: int
    cut: bool
    milliseconds: float
    canvas: np.ndarray


class VideoSegmenter:
    """Segments the frames of a video one after the other, with a few iterations each.

    The canvas of a frame starts from the canvas of the frame before (McIntosh et al., 2017, section
    4.3), but not from all of it. An iteration only adds to the canvas: logits that are kept as they
    are grow with every frame, and soon no iteration can overrule them. Therefore the canvas is
    scaled down, and moved along by optical flow. The LSTM state starts from its initial values in
    every frame; carried on, it costs accuracy.

        video = rnnseg.VideoSegmenter(rnnseg.load_model("runs/camvid"))
        for frame in frames:
            classes = video(frame).classes

    Args:
      model: a model from `rnnseg.load_model`, a `rnnseg.runtime.Segmenter`, which runs without
        TensorFlow, or a `rnnseg.video.engines.Engine`. A feed-forward model segments every frame
        independently.
      iterations: the number of iterations for a frame that continues from another one.
      first_iterations: the number of iterations for the first frame and after a cut; None for as
        many as in training.
      cut_threshold: the share of pixels, 0-1, that change colour at a cut. From frame to frame in
        the clips of CamVid, DAVIS and dash cameras less than 0.1 do, and less than 0.15 if two of
        three frames are skipped; from a frame of one clip to a frame of another, more than 0.38.
      decay: the share of the old canvas, 0-1, that is forgotten from one frame to the next. With 0
        all of it is kept, as in the paper; with 1 every frame is segmented independently.
      motion: True to move the canvas by optical flow, with less weight where the moved frame does
        not look like the next one.

    Raises:
      UserError: an argument out of its range, or anything else than such a model.
    """

    def __init__(
        self,
        model: "SegmentationModel | Segmenter | Engine",
        iterations: int = 2,
        first_iterations: int | None = None,
        cut_threshold: float = 0.3,
        decay: float = 0.5,
        motion: bool = True,
    ) -> None:
        with libraries():
            from rnnseg.video import motion as motions

        self._engine = open_engine(model)
        if first_iterations is None:
            first_iterations = self._engine.iterations
        for option, value in (("iterations", iterations), ("first_iterations", first_iterations)):
            check_positive(option, value)
        for option, share in (("cut_threshold", cut_threshold), ("decay", decay)):
            check_fraction(option, share)
        recurrent = self._engine.recurrent
        self._iterations = int(iterations) if recurrent else 1
        self._first_iterations = int(first_iterations) if recurrent else 1
        self._cut_threshold = cut_threshold
        self._keep = np.float32(1 - decay)
        self._motions = motions
        self._follower = motions.Follower() if motion else None
        self.reset()

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """One (red, green, blue) of 0-255 per class."""
        return self._engine.colors

    def reset(self) -> None:
        """Forgets the video: the next frame is a first one."""
        self._last: tuple[SmallFrame, np.ndarray] | None = None

    def __call__(self, frame: np.ndarray) -> VideoResult:
        """Segments the next frame.

        Args:
          frame: RGB, uint8 `(height, width, 3)`; a frame of another size starts a new video.

        Raises:
          UserError: anything else than such a frame, or one that is smaller than an output stride.
        """
        start = time.perf_counter()
        frame = check_image(frame)
        small = self._motions.SmallFrame(frame)
        last = self._last
        if last is not None and last[0].size != small.size:
            last = None
        cut = last is not None and self._is_cut(last[0], small)
        if last is None or cut:
            iterations, seed = self._first_iterations, None
        else:
            iterations, seed = self._iterations, self._seed(frame, *last, small)
        canvas, classes = self._engine.run(frame, iterations, seed)
        self._last = small, canvas
        milliseconds = 1000 * (time.perf_counter() - start)
        return VideoResult(classes, iterations, cut, milliseconds, canvas)

    def _is_cut(self, before: "SmallFrame", after: "SmallFrame") -> bool:
        return self._motions.color_change(before, after) > self._cut_threshold

    def _seed(
        self, frame: np.ndarray, before: "SmallFrame", canvas: np.ndarray, after: "SmallFrame"
    ) -> np.ndarray | None:
        """Returns the canvas for a frame to start from; None for the initial canvas."""
        if not self._keep or not self._engine.recurrent:
            return None
        weight = self._keep
        if self._follower is not None:
            spacing = self._engine.spacing(frame)
            canvas, reliance = self._follower.follow(canvas, before, after, spacing)
            weight = weight * reliance
        initial = self._engine.initial_canvas
        return initial + weight * (canvas - initial)
