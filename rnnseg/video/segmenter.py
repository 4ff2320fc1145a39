"""Segmenting a video, where every frame starts from what was seen in the one before."""

import dataclasses
import time

import numpy as np

from rnnseg.checks import check_fraction, check_positive
from rnnseg.runtime import framing
from rnnseg.video import libraries
from rnnseg.video.engines import open_engine


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """What is known of a frame.

    Attributes:
      classes: class map, int32 `(height, width)`.
      iterations: how many there were.
      cut: whether another scene begins here: the video was going on, and this frame is unlike it.
      milliseconds: from the call to the class map.
      canvas: the logits, float32 `(h, w, classes)`.
    """

    classes: np.ndarray
    iterations: int
    cut: bool
    milliseconds: float
    canvas: np.ndarray


class VideoSegmenter:
    """Segments the frames of a video one after the other, for a few iterations each.

    A frame's canvas starts from the one of the frame before (McIntosh et al., 2017, section 4.3),
    but not from all of it: an iteration only adds to the canvas, so that logits which are kept as
    they are grow with every frame, and soon no iteration can turn them any more. So a part of it is
    forgotten, and it is moved along with what is seen. h and c start anew with every frame: carried
    on, they cost accuracy.

        video = rnnseg.VideoSegmenter(rnnseg.load_model("runs/camvid"))
        for frame in frames:
            classes = video(frame).classes

    Args:
      model: a segmenter from `rnnseg.load_model`, a `rnnseg.runtime.Segmenter`, which runs without
        TensorFlow, or a `rnnseg.video.engines.Engine`. A feed-forward one segments every frame by
        itself.
      iterations: how many for a frame that goes on from another.
      first_iterations: how many for the first frame and after a cut; None: as many as in training.
      cut_threshold: the share of pixels, 0-1, that have to change colour for a cut. From frame to
        frame of CamVid's, DAVIS' and dash cameras' clips less than 0.1 do, with two of three frames
        left out less than 0.15; from a frame of one clip to one of another, more than 0.38.
      decay: the share of the old canvas, 0-1, that is forgotten from one frame to the next: 0 keeps
        all of it, as in the paper; with 1 every frame starts anew.
      motion: whether the canvas is moved by optical flow, and counts less where the frame does not
        look like what it should have come from.

    Raises:
      UserError: an argument out of its range, or no such model.
    """

    def __init__(
        self,
        model,
        iterations: int = 2,
        first_iterations: int | None = None,
        cut_threshold: float = 0.3,
        decay: float = 0.5,
        motion: bool = True,
    ):
        with libraries():
            from rnnseg.video import motion as motions

        self._engine = open_engine(model)
        if first_iterations is None:
            first_iterations = self._engine.iterations
        for option, value in (("iterations", iterations), ("first_iterations", first_iterations)):
            check_positive(option, value)
        for option, value in (("cut_threshold", cut_threshold), ("decay", decay)):
            check_fraction(option, value)
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
        """One (red, green, blue) of 0-255 a class."""
        return self._engine.colors

    def reset(self) -> None:
        """Forgets the video: the next frame is a first one, as after a cut that is known."""
        self._glance = None
        self._canvas = None

    def __call__(self, frame) -> Result:
        """Segments the next frame.

        Args:
          frame: RGB, uint8 `(height, width, 3)`; another size than the last one's starts anew.

        Raises:
          UserError: not such a frame, or one that is smaller than an output stride.
        """
        start = time.perf_counter()
        frame = framing.check_image(frame)
        glance = self._motions.Glance(frame)
        goes_on = self._glance is not None and self._glance.size == glance.size
        cut = goes_on and self._is_cut(glance)
        goes_on &= not cut
        iterations = self._iterations if goes_on else self._first_iterations
        seed = self._seed(frame, glance) if goes_on else None
        canvas, classes = self._engine.run(frame, iterations, seed)
        self._glance, self._canvas = glance, canvas
        milliseconds = 1000 * (time.perf_counter() - start)
        return Result(classes, iterations, cut, milliseconds, canvas)

    def _is_cut(self, glance) -> bool:
        return self._motions.color_change(self._glance, glance) > self._cut_threshold

    def _seed(self, frame, glance) -> np.ndarray | None:
        """What a frame that goes on from the last one starts from; None: the start of training."""
        if not self._keep or not self._engine.recurrent:
            return None
        canvas, weight = self._canvas, self._keep
        if self._follower is not None:
            spacing = self._engine.spacing(frame)
            canvas, reliance = self._follower.follow(canvas, self._glance, glance, spacing)
            weight = weight * reliance
        return self._engine.start + weight * (canvas - self._engine.start)
