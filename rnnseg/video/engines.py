"""What a `VideoSegmenter` runs: Keras models and LiteRT files behind one small interface."""

from typing import Protocol, runtime_checkable

import numpy as np

from rnnseg.errors import UserError
from rnnseg.runtime import framing, reading


@runtime_checkable
class Engine(Protocol):
    """From a frame, and a canvas to start from, to the canvas after some iterations.

    Attributes:
      recurrent: whether there is anything to start from, and more than one iteration.
      iterations: how many training ran.
      colors: one (red, green, blue) of 0-255 a class.
      start: the logits that a canvas starts from without a seed, float32 `(classes,)`.
    """

    recurrent: bool
    iterations: int
    colors: tuple[tuple[int, int, int], ...]
    start: np.ndarray

    def spacing(self, frame: np.ndarray) -> tuple[float, float]:
        """How many of a frame's pixels lie between canvas pixels, down and across."""

    def run(
        self, frame: np.ndarray, iterations: int, seed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Segments a frame.

        Args:
          frame: RGB, uint8 `(H, W, 3)`.
          iterations: how many; a feed-forward model has one all the same.
          seed: logits to start from, float32 `(h, w, classes)`; None: the start of training.

        Returns:
          The canvas, float32 `(h, w, classes)`, and the class map, int32 `(H, W)`.
        """


def open_engine(model) -> Engine:
    """The engine of a segmenter from `rnnseg.load_model`, or of a `rnnseg.runtime.Segmenter`.

    Args:
      model: one of these, or an engine already.

    Raises:
      UserError: none of them.
    """
    if isinstance(model, Engine):
        return model
    from rnnseg.runtime import segmenter as runtime

    # Where it is the latter, TensorFlow need not be there.
    if isinstance(model, runtime.Segmenter):
        return LiteRTEngine(model)
    from rnnseg.models.base import SegmentationModel

    if isinstance(model, SegmentationModel):
        return KerasEngine(model)
    raise UserError(
        f"a {type(model).__name__} cannot segment video: expected a segmenter from "
        "rnnseg.load_model, or a rnnseg.runtime.Segmenter"
    )


class KerasEngine:
    """Runs a segmenter of `rnnseg.load_model`; one trace serves all sizes and all numbers."""

    def __init__(self, model):
        import tensorflow as tf

        self.recurrent = model.recurrent
        self.iterations = model.iterations
        self.colors = model.colors
        initial = model.stack.initial_values if model.recurrent else {}
        self.start = np.zeros(model.num_classes, np.float32)
        if "canvas" in initial:
            self.start = initial["canvas"].numpy()
        self._model = model
        image_spec = tf.TensorSpec((None, None, None, 3), tf.uint8)
        number = tf.TensorSpec((), tf.int32)
        logits = tf.TensorSpec((None, None, None, model.num_classes), tf.float32)

        def canvas(image, iterations, seed=None):
            return model.refine(model.prepare(model.encode(image)), iterations, canvas=seed)[0]

        self._blank, self._seeded = (
            tf.function(canvas, input_signature=signature, autograph=False)
            for signature in ([image_spec, number], [image_spec, number, logits])
        )

    def spacing(self, frame):
        """As in `Engine`."""
        return (float(self._model.output_stride),) * 2

    def run(self, frame, iterations, seed):
        """As in `Engine`."""
        self._model.check_image(*frame.shape[:2])
        image = frame[np.newaxis]
        if seed is None:
            canvas = self._blank(image, np.int32(iterations))
        else:
            canvas = self._seeded(image, np.int32(iterations), seed[np.newaxis])
        canvas = canvas[0].numpy()
        size, stride = frame.shape[:2], self._model.output_stride
        return canvas, reading.read_sparsely(canvas, size, stride)


class LiteRTEngine:
    """Runs an `anytime.tflite`; TensorFlow is not needed."""

    def __init__(self, segmenter):
        info = segmenter.info
        self.recurrent, self.iterations, self.colors = info.recurrent, info.iterations, info.colors
        start = info.start.get("canvas", np.zeros(len(info.classes)))
        self.start = np.asarray(start, np.float32)
        self._segmenter = segmenter

    def spacing(self, frame):
        """As in `Engine`; a file of one size may have scaled the frame down."""
        info, sides = self._segmenter.info, frame.shape[:2]
        fitted = sides if info.size is None else framing.fitted_size(sides, info.size)
        return tuple(
            info.output_stride * max(1, side - 1) / max(1, part - 1)
            for side, part in zip(sides, fitted, strict=True)
        )

    def run(self, frame, iterations, seed):
        """As in `Engine`."""
        result = self._segmenter(frame, iterations=iterations, canvas=seed)
        return result.canvas, result.classes
