"""Segmenting images and video with a LiteRT file, in time for a deadline; no TensorFlow.

    segmenter = rnnseg.runtime.Segmenter("exported/anytime.tflite", threads=4)
    result = segmenter(image, deadline_ms=40)
    print(result.iterations, result.milliseconds, result.settled)

Needs numpy and ai-edge-litert alone, and a file that `rnnseg export` wrote.
"""

import contextlib
import dataclasses
import math
import os
import threading
import time
import warnings
from collections.abc import Iterator, Mapping

import numpy as np

from rnnseg.checks import check_fraction, check_milliseconds, check_positive
from rnnseg.errors import UserError
from rnnseg.runtime import framing, reading
from rnnseg.runtime.framing import Frame
from rnnseg.runtime.interpreters import Interpreters
from rnnseg.runtime.model_info import ModelInfo
from rnnseg.runtime.pacing import Costs, most_iterations


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """What is known of an image.

    Attributes:
      classes: class map, int32 `(height, width)` at the image's size.
      iterations: how many there were.
      milliseconds: from the call to this result; of `steps` without what the caller did in between.
      stages: what was spent of them on "encode", on "refine" in all iterations, and on "read".
      settled: share, 0-1, of the canvas pixels on the image whose best class the last iteration
        left as it was; None where there is no canvas before it.
      canvas: the logits, float32 `(h, w, classes)`, padding included.
    """

    classes: np.ndarray = dataclasses.field(repr=False)
    iterations: int
    milliseconds: float
    stages: Mapping[str, float]
    settled: float | None
    canvas: np.ndarray = dataclasses.field(repr=False)


class Segmenter:
    """Segments images with an `anytime.tflite`.

    Several threads may use one at the same time. Each call has an interpreter to itself, all of
    them share the file in memory, and every thread has a video of its own.

    Args:
      path: the file.
      threads: how many the operators of one call may use.

    Attributes:
      info: what the file holds.

    Raises:
      UserError: not such a file, or a damaged one.
    """

    def __init__(self, path: str | os.PathLike, threads: int = 1):
        check_positive("threads", threads)
        self.info = ModelInfo.load(path)
        if self.info.kind != "anytime":
            raise UserError(
                f"{path} runs all iterations in one call: expected anytime.tflite, which "
                "`rnnseg export` writes beside it"
            )
        self._costs = Costs()
        self._interpreters = Interpreters(path, self.info, int(threads))
        self._video = _Video()

    def __call__(
        self, image, iterations: int | None = None, deadline_ms: float | None = None, canvas=None
    ) -> Result:
        """Segments an image.

        Args:
          image: RGB, uint8 `(height, width, 3)`, of any size.
          iterations: how many; None: as many as in training. A feed-forward model has one.
          deadline_ms: in their place: milliseconds from now in which to be done. As many iterations
            are run as fit by what they cost lately, one at least, at most as many as scored best,
            or as in training where nothing was scored.
          canvas: logits to start from, finite numbers `(h, w, classes)`, of the size of a result's
            for such an image; None: the start of training. A feed-forward model has no use for it.

        Raises:
          UserError: not such an image or canvas, or arguments out of their range.

        Warns:
          UserWarning: a deadline that is shorter than what one iteration takes lately, everything
            included; where that is not known yet, than what it took.
        """
        start = time.perf_counter()
        if deadline_ms is None:
            most = self._number(iterations)
            call = _Call(framing.frame(image, self.info), start)
            return self._last(call, most, self._seed(canvas, call))
        if iterations is not None:
            raise UserError(
                f"iterations={iterations} and deadline_ms={deadline_ms}: give one of them"
            )
        check_milliseconds("deadline_ms", deadline_ms)
        call = _Call(framing.frame(image, self.info), start)
        seed = self._seed(canvas, call)
        least = self._least(call)
        if least is not None and least > deadline_ms:
            _warn_of_short(deadline_ms, f"takes at least {math.ceil(least)} ms")
        most = self._number(most_iterations(self.info.iterations, self.info.miou))
        result = self._last(call, most, seed, deadline=start + deadline_ms / 1000)
        if least is None and result.iterations == 1 and result.milliseconds > deadline_ms:
            _warn_of_short(deadline_ms, f"took {math.ceil(result.milliseconds)} ms")
        return result

    def steps(self, image, iterations: int | None = None) -> Iterator[Result]:
        """Segments an image and gives the result after every iteration.

        Args:
          image: RGB, uint8 `(height, width, 3)`, of any size.
          iterations: how many; None: as many as in training. A feed-forward model has one.

        Raises:
          UserError: not such an image, or arguments out of their range.
        """
        start, most = time.perf_counter(), self._number(iterations)
        call = _Call(framing.frame(image, self.info), start)
        return self._steps(call, most, time.perf_counter())

    def _steps(self, call: "_Call", most: int, paused: float) -> Iterator[Result]:
        call.start += time.perf_counter() - paused
        with contextlib.closing(self._canvases(call, most)) as canvases:
            for canvas, before in canvases:
                result = self._result(call, canvas, before)
                paused = time.perf_counter()
                yield result
                call.start += time.perf_counter() - paused

    def track(
        self, image, iterations: int = 2, first_iterations: int | None = None, keep: float = 0.2
    ) -> Result:
        """Segments the next frame of this thread's video, starting from the last one's canvas.

        The LSTM state starts anew with every frame: on CamVid's video, carried on it cost accuracy.

        Args:
          image: RGB, uint8 `(height, width, 3)`; another size than the last one's starts anew.
          iterations: how many.
          first_iterations: how many for the first frame; None: as many as in training.
          keep: factor of the last frame's logits, 0-1. With 0 every frame starts anew; with 1 they
            grow from frame to frame, and soon the canvas holds on to what has moved on.

        Raises:
          UserError: not such an image, or arguments out of their range.
        """
        start = time.perf_counter()
        check_fraction("keep", keep)
        first, later = self._number(first_iterations), self._number(iterations)
        call, video = _Call(framing.frame(image, self.info), start), self._video
        if video.size == call.frame.size and self.info.recurrent:
            blank = np.float32(self.info.start.get("canvas", 0))
            result = self._last(call, later, blank + np.float32(keep) * (video.canvas - blank))
        else:
            result = self._last(call, first)
        video.size, video.canvas = call.frame.size, result.canvas
        return result

    def reset(self) -> None:
        """Forgets this thread's video: the next frame is a first one."""
        self._video.size = self._video.canvas = None

    def _seed(self, canvas, call: "_Call") -> np.ndarray | None:
        """What an image starts from; None: the start of training."""
        if canvas is None or not self.info.recurrent:
            return None
        return framing.check_canvas(canvas, call.frame, self.info)

    def _number(self, iterations: int | None) -> int:
        """How many iterations are run."""
        if iterations is None:
            return self.info.iterations
        check_positive("iterations", iterations)
        return int(iterations) if self.info.recurrent else 1

    def _last(self, call: "_Call", most: int, seed=None, deadline: float = math.inf) -> Result:
        """The result of the last iteration that there is time for, of `most` at most."""
        with contextlib.closing(self._canvases(call, most, seed)) as canvases:
            for canvas, before in canvases:  # noqa: B007
                if time.perf_counter() + self._ahead(call) > deadline:
                    break
        return self._result(call, canvas, before)

    def _canvases(self, call: "_Call", most: int, seed: np.ndarray | None = None) -> Iterator:
        """Runs the stages up to reading.

        Args:
          call: is told the number of iterations.
          most: how many.
          seed: the canvas to start from; None: the start of training.

        Yields:
          The canvas after each iteration, `(h, w, classes)`, and that before it or None.
        """
        image = call.frame.image
        with self._interpreters.borrow() as stages:
            with self._timed(call, "encode"):
                encoded = stages.encode(image)
            if not self.info.recurrent:
                call.iterations = 1
                yield encoded["canvas"][0], None
                return
            variables = stages.start(encoded)
            if seed is not None:
                variables = {**variables, "canvas": seed[np.newaxis]}
            before = seed
            for call.iterations in range(1, most + 1):
                with self._timed(call, "refine"):
                    variables = stages.refine(encoded, variables)
                canvas = variables["canvas"][0]
                yield canvas, before
                before = canvas

    def _result(self, call: "_Call", canvas, before) -> Result:
        """Reads a canvas."""
        frame = call.frame
        with self._timed(call, "read"):
            classes = reading.read_at(canvas, frame.rows, frame.columns)
        settled = None
        if before is not None:
            best, former = (each[frame.cells].argmax(-1) for each in (canvas, before))
            settled = float(np.mean(best == former))
        milliseconds = {stage: 1000 * seconds for stage, seconds in call.spent.items()}
        total = 1000 * (time.perf_counter() - call.start)
        return Result(classes, call.iterations, total, milliseconds, settled, canvas)

    # --- what it costs ---

    @contextlib.contextmanager
    def _timed(self, call: "_Call", stage: str):
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        call.spent[stage] = call.spent.get(stage, 0) + seconds
        self._costs.add(stage, call.amount(stage), seconds)

    def _ahead(self, call: "_Call") -> float:
        """Seconds that another iteration and reading will hardly exceed."""
        refine, read = (self._costs.most(stage, call.amount(stage)) for stage in ("refine", "read"))
        # Where nothing was read yet: it takes less than encoding.
        return (refine or 0) + (call.spent["encode"] if read is None else read)

    def _least(self, call: "_Call") -> float | None:
        """Milliseconds that one iteration seldom takes less than, with all else of the call.

        None before all stages ran once.
        """
        stages = ("encode", "refine", "read") if self.info.recurrent else ("encode", "read")
        costs = [self._costs.least(stage, call.amount(stage)) for stage in stages]
        if None in costs:
            return None
        return 1000 * (time.perf_counter() - call.start + sum(costs))


def _warn_of_short(deadline_ms: float, what: str) -> None:
    """Warns the caller of a `Segmenter` of a deadline, and says what one iteration takes."""
    warnings.warn(
        f"deadline_ms={deadline_ms:g} is too short: one iteration {what} from image to class "
        "map, and is run all the same",
        stacklevel=3,
    )


@dataclasses.dataclass(eq=False)
class _Call:
    """One image on its way.

    Attributes:
      frame: the image.
      start: when the call began, by `time.perf_counter`.
      iterations: how many there were so far.
      spent: seconds by stage.
    """

    frame: Frame
    start: float
    iterations: int = 0
    spent: dict[str, float] = dataclasses.field(default_factory=dict)

    def amount(self, stage: str) -> int:
        """The pixels that a stage's time grows with: the file's, or the image's in reading."""
        return math.prod(self.frame.size if stage == "read" else self.frame.image.shape[1:3])


class _Video(threading.local):
    """Where a thread's video is.

    Attributes:
      size: the last frame's (height, width), in pixels; None before the first.
      canvas: its canvas, float32 `(h, w, classes)`.
    """

    size = None
    canvas = None
