"""Segmentation of images and video with a LiteRT file, in time for a deadline.

    segmenter = rnnseg.runtime.Segmenter("exported/anytime.tflite", threads=4)
    result = segmenter(image, deadline_ms=40)
    print(result.iterations, result.milliseconds, result.settled)

It needs NumPy, ai-edge-litert and a file that `rnnseg export` wrote; no TensorFlow.
"""

import contextlib
import dataclasses
import math
import os
import threading
import time
import warnings
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import numpy as np

from rnnseg.checks import check_fraction, check_milliseconds, check_positive
from rnnseg.errors import UserError
from rnnseg.pretrained.names import is_preset, open_preset
from rnnseg.pretrained.preset import LITERT
from rnnseg.runtime import reading
from rnnseg.runtime.interpreters import Interpreters
from rnnseg.runtime.letterbox import LetterboxedImage, check_canvas, letterbox
from rnnseg.runtime.model_info import ModelInfo, encode_signature
from rnnseg.runtime.pacing import LatencyEstimator, most_iterations
from rnnseg.stages import Prediction

# What is assumed of a further stage of the encoder before its first run, as shares of the time that
# the stages before it took: its mean, and a deviation by which it may take as long as they did.
_UNKNOWN_STAGE = 1 / 2, 1 / 8


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """The segmentation of an image.

    Attributes:
      classes: class map, int32 `(height, width)` at the size of the image.
      iterations: the number of iterations that were run.
      milliseconds: the time from the call to this result; for `steps` without the caller's time
        between results.
      stages: the milliseconds of the stages: "encode" (all stages of the encoder that were run),
        "refine" (all iterations) and "read".
      settled: the share, 0-1, of the canvas pixels on the image whose best class the last iteration
        did not change; None if there is no earlier canvas.
      canvas: the logits, float32 `(h, w, classes)`, including those in the padding.
    """

    classes: np.ndarray = dataclasses.field(repr=False)
    iterations: int
    milliseconds: float
    stages: Mapping[str, float]
    settled: float | None
    canvas: np.ndarray = dataclasses.field(repr=False)


class Segmenter:
    """Segments images with an `anytime.tflite`.

    Where the first iterations need only a part of the encoder (`ModelInfo.early_iterations`), the
    rest is run before the first iteration that needs it, if there is one.

    Several threads may use one segmenter at the same time. Every call has an interpreter to itself,
    all interpreters share the file in memory, and every thread has a video of its own.

    Args:
      path: the file, or a preset, as `rnnseg.pretrained.names.open_preset` takes it.
      threads: the number of threads that the operators of one call may use.

    Attributes:
      info: the metadata of the file.

    Raises:
      UserError: another kind of file, or a damaged one.
    """

    def __init__(self, path: str | os.PathLike, threads: int = 1):
        check_positive("threads", threads)
        if is_preset(path):
            path = open_preset(path).file(LITERT)
        self.info = ModelInfo.load(path)
        if self.info.kind != "anytime":
            raise UserError(
                f"{path} runs all iterations in one call: expected anytime.tflite, which "
                "`rnnseg export` writes beside it"
            )
        self._latency = LatencyEstimator()
        for number in range(1, 1 + len(self.info.early_iterations)):
            self._latency.assume(encode_signature(number), *_UNKNOWN_STAGE)
        self._interpreters = Interpreters(path, self.info, int(threads))
        self._video = _Video()

    def __call__(
        self,
        image: np.ndarray,
        iterations: int | None = None,
        deadline_ms: float | None = None,
        canvas: np.ndarray | None = None,
    ) -> Result:
        """Segments an image.

        Args:
          image: RGB, uint8 `(height, width, 3)`, of any size.
          iterations: the number of iterations; None for as many as in training. A feed-forward
            model has a single one.
          deadline_ms: the time for this call, in milliseconds from now, instead of a number of
            iterations. By the latency of recent calls, as many iterations are run as there is time
            for: at least one, and at most the number that scored best, or as many as in training if
            nothing was scored.
          canvas: logits to start from, finite numbers `(h, w, classes)`, of the shape of a result's
            canvas for such an image; None for the initial canvas. A feed-forward model ignores it.

        Raises:
          UserError: a wrong image or canvas, or arguments out of their range.

        Warns:
          UserWarning: the deadline is shorter than the recent latency of a whole prediction with
            one iteration, or, if that is not known yet, than this prediction took.
        """
        start = time.perf_counter()
        if deadline_ms is None:
            most = self._checked(iterations)
            call = _Call(letterbox(image, self.info), start)
            return self._last(call, most, self._seed(canvas, call))
        if iterations is not None:
            raise UserError(
                f"iterations={iterations} and deadline_ms={deadline_ms}: give one of them"
            )
        check_milliseconds("deadline_ms", deadline_ms)
        call = _Call(letterbox(image, self.info), start)
        seed = self._seed(canvas, call)
        shortest = self._shortest(call)
        if shortest is not None and shortest > deadline_ms:
            _warn_of_deadline(deadline_ms, f"takes at least {math.ceil(shortest)} ms")
        most = self._checked(most_iterations(self.info.iterations, self.info.miou))
        result = self._last(call, most, seed, deadline=start + deadline_ms / 1000)
        if shortest is None and result.iterations == 1 and result.milliseconds > deadline_ms:
            _warn_of_deadline(deadline_ms, f"took {math.ceil(result.milliseconds)} ms")
        return result

    def steps(self, image: np.ndarray, iterations: int | None = None) -> Iterator[Result]:
        """Segments an image and yields the result after every iteration.

        Args:
          image: RGB, uint8 `(height, width, 3)`, of any size.
          iterations: the number of iterations; None for as many as in training. A feed-forward
            model has a single one.

        Raises:
          UserError: a wrong image, or arguments out of their range.
        """
        start, most = time.perf_counter(), self._checked(iterations)
        call = _Call(letterbox(image, self.info), start)
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
        self,
        image: np.ndarray,
        iterations: int = 2,
        first_iterations: int | None = None,
        keep: float = 0.2,
    ) -> Result:
        """Segments the next frame of this thread's video, starting from the last frame's canvas.

        The LSTM state starts from its initial values in every frame: carried on, it cost accuracy
        on CamVid's video.

        Args:
          image: RGB, uint8 `(height, width, 3)`; a frame of another size starts a new video.
          iterations: the number of iterations.
          first_iterations: the number of iterations for the first frame; None for as many as in
            training.
          keep: the factor of the last frame's logits, 0-1. With 0 every frame is segmented
            independently. With 1 the logits grow from frame to frame, and soon the canvas keeps
            showing objects that have moved on.

        Raises:
          UserError: a wrong image, or arguments out of their range.
        """
        start = time.perf_counter()
        check_fraction("keep", keep)
        first, later = self._checked(first_iterations), self._checked(iterations)
        call, video = _Call(letterbox(image, self.info), start), self._video
        if video.size == call.image.size and self.info.recurrent:
            initial = np.asarray(self.info.initial_state.get("canvas", 0), np.float32)
            result = self._last(call, later, initial + np.float32(keep) * (video.canvas - initial))
        else:
            result = self._last(call, first)
        video.size, video.canvas = call.image.size, result.canvas
        return result

    def reset(self) -> None:
        """Forgets this thread's video: the next frame is a first one."""
        self._video.size = self._video.canvas = None

    def _seed(self, canvas: np.ndarray | None, call: "_Call") -> np.ndarray | None:
        """Returns a given canvas after a check; None for the initial canvas."""
        if canvas is None or not self.info.recurrent:
            return None
        return check_canvas(canvas, call.image, self.info)

    def _checked(self, iterations: int | None) -> int:
        """Returns the number of iterations to run."""
        if iterations is None:
            return self.info.iterations
        check_positive("iterations", iterations)
        return int(iterations) if self.info.recurrent else 1

    def _last(
        self, call: "_Call", most: int, seed: np.ndarray | None = None, deadline: float = math.inf
    ) -> Result:
        """Returns the result of the last iteration before the deadline, of at most `most`."""
        with contextlib.closing(self._canvases(call, most, seed)) as canvases:
            for canvas, before in canvases:  # noqa: B007
                if time.perf_counter() + self._ahead(call) > deadline:
                    if call.next_encode is not None:
                        self._latency.narrow(call.next_encode)
                    break
        return self._result(call, canvas, before)

    def _canvases(self, call: "_Call", most: int, seed: np.ndarray | None = None) -> Generator:
        """Runs the stages before reading.

        Args:
          call: the call; its `iterations` and `next_encode` are updated.
          most: the number of iterations.
          seed: the canvas to start from, `(h, w, classes)`; None for the initial canvas.

        Yields:
          The canvas after each iteration, `(h, w, classes)`, and the canvas before it, or None.
        """
        with self._interpreters.borrow() as stages:
            seed = None if seed is None else seed[np.newaxis]
            prediction = Prediction(stages, call.image.image, seed)
            for call.iterations in range(1, most + 1):
                before = prediction.canvas
                if prediction.must_encode:
                    with self._timed(call, encode_signature(prediction.stage)):
                        prediction.encode()
                # The single iteration of a feed-forward model does nothing.
                recurrent = self.info.recurrent
                with self._timed(call, "refine") if recurrent else contextlib.nullcontext():
                    canvas = prediction.run_to(call.iterations)
                call.next_encode = None
                if prediction.must_encode:
                    call.next_encode = encode_signature(prediction.stage)
                yield canvas[0], None if before is None else before[0]

    def _result(self, call: "_Call", canvas, before) -> Result:
        """Reads a canvas."""
        image = call.image
        with self._timed(call, "read"):
            classes = reading.read_at(canvas, image.rows, image.columns)
        settled = None
        if before is not None:
            best, former = (each[image.canvas_region].argmax(-1) for each in (canvas, before))
            settled = float(np.mean(best == former))
        milliseconds = {stage: 1000 * seconds for stage, seconds in call.spent.items()}
        total = 1000 * (time.perf_counter() - call.start)
        return Result(classes, call.iterations, total, milliseconds, settled, canvas)

    # --- latency ---

    @contextlib.contextmanager
    def _timed(self, call: "_Call", stage: str) -> Iterator[None]:
        amount, start = call.amount(stage), time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        kind = stage if stage in ("refine", "read") else "encode"
        call.spent[kind] = call.spent.get(kind, 0) + seconds
        self._latency.add(stage, amount, seconds)

    def _ahead(self, call: "_Call") -> float:
        """Returns the seconds that another iteration and reading will hardly exceed."""
        encode, refine, read = (
            self._latency.upper_bound(stage, call.amount(stage)) if stage else None
            for stage in (call.next_encode, "refine", "read")
        )
        # Before the first reading: it takes less time than encoding.
        return (encode or 0) + (refine or 0) + (call.spent["encode"] if read is None else read)

    def _shortest(self, call: "_Call") -> float | None:
        """Returns the milliseconds that this call seldom falls below, with one iteration.

        None before each stage has run once.
        """
        stages = ("encode", "refine", "read") if self.info.recurrent else ("encode", "read")
        # Further stages of the encoder are not needed.
        bounds = [self._latency.lower_bound(stage, call.amount(stage)) for stage in stages]
        known = [bound for bound in bounds if bound is not None]
        if len(known) < len(bounds):
            return None
        return 1000 * (time.perf_counter() - call.start + sum(known))


def _warn_of_deadline(deadline_ms: float, latency: str) -> None:
    """Warns the caller of a `Segmenter` that one iteration takes longer than the deadline."""
    warnings.warn(
        f"deadline_ms={deadline_ms:g} is too short: one iteration {latency} from image to class "
        "map; it is run anyway",
        stacklevel=3,
    )


@dataclasses.dataclass(eq=False)
class _Call:
    """The state of one call.

    Attributes:
      image: the image.
      start: the time of the call, by `time.perf_counter`.
      iterations: the number of iterations so far.
      next_encode: the stage of the encoder that another iteration needs first; None if the present
        features do for it.
      spent: seconds by stage, as in `Result.stages`.
    """

    image: LetterboxedImage
    start: float
    iterations: int = 0
    next_encode: str | None = None
    spent: dict[str, float] = dataclasses.field(default_factory=dict)

    def amount(self, stage: str) -> float:
        """Returns what the latency of a stage is proportional to.

        It is a number of pixels; for a further stage of the encoder, which is not run in every
        call, the seconds that the stages before it took in this one. So its estimate follows the
        speed of the machine all the same.
        """
        if stage in ("encode", "refine", "read"):
            return math.prod(self.image.size if stage == "read" else self.image.image.shape[1:3])
        return self.spent["encode"]


class _Video(threading.local):
    """The video of a thread.

    Attributes:
      size: the `(height, width)` of the last frame, in pixels; None before the first one.
      canvas: the canvas of the last frame, float32 `(h, w, classes)`.
    """

    size: tuple[int, int] | None = None
    canvas: Any = None
