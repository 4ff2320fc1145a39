"""The stages of a model, compiled for inference."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from rnnseg.models.encoder import Features
from rnnseg.stages import Stages

if TYPE_CHECKING:  # it imports this module
    from rnnseg.models.base import SegmentationModel


class CompiledStages(Stages[tf.Tensor]):
    """Runs the stages of a model as graphs.

    Each graph is traced when it is first needed, once for all image sizes, batch sizes and numbers
    of iterations. `canvas_of` and `class_maps` run several stages in one graph, which is how whole
    predictions are fastest.

    Args:
      model: the model; changes of its weights take effect.

    Attributes:
      model: the model.
    """

    def __init__(self, model: SegmentationModel):
        self.model = model
        self.recurrent = model.recurrent
        self.iterations = model.iterations
        self.num_classes = model.num_classes
        self.output_stride = model.output_stride
        self.canvas_stride = model.canvas_stride
        self.early_iterations = model.early_iterations
        self.class_names = model.class_names
        self.class_colors = model.class_colors
        self._functions: dict[tuple, Callable] = {}

    # --- stage by stage ---

    def encode(self, images: np.ndarray | tf.Tensor) -> dict[str, tf.Tensor]:
        """Computes the features; see `rnnseg.stages.Stages.encode`."""
        return self._run("encode", self.model.encode, self._checked(images))

    def encode_stage(self, number: int, inputs: Any) -> dict[str, tf.Tensor]:
        """Runs one stage of the encoder; see `rnnseg.stages.Stages.encode_stage`."""
        run = functools.partial(self.model.encode_stage, number)
        return self._run(f"encode_{number}", run, inputs if number else self._checked(inputs))

    def prepare(self, features: Features, prepared: tf.Tensor | None = None) -> tf.Tensor:
        """Computes the loop-invariant part; see `rnnseg.stages.Stages.prepare`."""
        given = [] if prepared is None else [prepared]
        name = f"prepare {', '.join(sorted(features))}"
        return self._run(name, self.model.prepare, dict(features), *given)

    def refine(
        self,
        prepared: tf.Tensor,
        iterations: int,
        canvas: tf.Tensor | None = None,
        state: Any = None,
    ) -> tuple[tf.Tensor, Any]:
        """Runs iterations on a canvas; see `rnnseg.stages.Stages.refine`."""

        def refine(prepared, iterations, started):
            return self.model.refine(prepared, iterations, **started)

        started = {} if canvas is None else {"canvas": canvas}
        started |= {} if state is None else {"state": state}
        return self._run("refine", refine, prepared, _number(iterations), started)

    def read(self, canvas: tf.Tensor, size: Sequence[int]) -> tf.Tensor:
        """Returns class maps, `(batch, height, width)`; see `rnnseg.stages.Stages.read`."""
        return self._run("read", self.model.read, canvas, tf.cast(size, tf.int32))

    def unroll(
        self,
        images: np.ndarray | tf.Tensor,
        iterations: int,
        canvas: np.ndarray | tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Computes the canvas of every iteration; see `rnnseg.stages.Stages.unroll`."""
        return self._predict("unroll", self.model.unroll, images, iterations, canvas)

    # --- several stages in one graph ---

    def canvas_of(
        self,
        images: np.ndarray | tf.Tensor,
        iterations: int,
        canvas: np.ndarray | tf.Tensor | None = None,
        stop_when_settled: bool = False,
    ) -> tf.Tensor:
        """Encodes, prepares and refines.

        Args:
          images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`.
          iterations: the number of iterations, or the largest number.
          canvas: logits to start from, or None.
          stop_when_settled: True to stop where the prediction would hardly change any more.

        Returns:
          The canvas, float32 `(batch, h, w, classes)`.
        """
        # How many stages the encoder runs is decided here, so that there is a graph for each
        # number.
        stages = self.stages_for(iterations)

        def canvas_of(images, iterations, canvas=None):
            return self.model.canvas_of(images, iterations, canvas, stop_when_settled, stages)

        name = f"canvas_of, {stages} stages{', settled' if stop_when_settled else ''}"
        return self._predict(name, canvas_of, images, iterations, canvas)

    def class_maps(
        self,
        images: np.ndarray | tf.Tensor,
        iterations: int,
        canvas: np.ndarray | tf.Tensor | None = None,
        stop_when_settled: bool = False,
    ) -> tf.Tensor:
        """Encodes, prepares, refines and reads.

        Args:
          images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`.
          iterations: the number of iterations, or the largest number.
          canvas: logits to start from, or None.
          stop_when_settled: True to stop where the prediction would hardly change any more.

        Returns:
          Class maps, int32 `(batch, H, W)`.
        """
        stages = self.stages_for(iterations)

        def class_maps(images, iterations, canvas=None):
            canvas = self.model.canvas_of(images, iterations, canvas, stop_when_settled, stages)
            return self.model.read(canvas, tf.shape(images)[1:3])

        name = f"class_maps, {stages} stages{', settled' if stop_when_settled else ''}"
        return self._predict(name, class_maps, images, iterations, canvas)

    # --- graphs ---

    def _predict(self, name: str, function: Callable, images, iterations, canvas):
        given = [] if canvas is None else [canvas]
        return self._run(name, function, self._checked(images), _number(iterations), *given)

    def _checked(self, images) -> tf.Tensor:
        """Returns images as uint8 or float32, after a check of their size."""
        # The graphs are for any size, so that they would not notice.
        self.model.check_image(*images.shape[1:3])
        images = tf.convert_to_tensor(images)
        self.model.look_at_range(images)
        return images if images.dtype == tf.uint8 else tf.cast(images, tf.float32)

    def _run(self, name: str, function: Callable, *inputs):
        """Calls a function through its graph for inputs of these types and channels."""
        flat = tuple(
            each if tf.is_tensor(each) else tf.convert_to_tensor(each)
            for each in tf.nest.flatten(inputs)
        )
        # Cheap to make, since it is made at every call: a specification takes many times as long.
        key = (name, *((each.dtype, each.shape[-1] if each.shape.rank else None) for each in flat))
        if key not in self._functions:
            signature = tf.nest.pack_sequence_as(inputs, [_any_size(each) for each in flat])
            self._functions[key] = tf.function(
                # TensorFlow counts retracing by code, and would warn of other models' traces.
                functools.partial(function),
                input_signature=signature,
                autograph=False,
            )
        return self._functions[key](*tf.nest.pack_sequence_as(inputs, flat))

    def trace_counts(self) -> dict[str, int]:
        """Returns the number of traces of each graph, by name."""
        counts: dict[str, int] = {}
        function: Any  # a graph of TensorFlow
        for (name, *_), function in self._functions.items():
            traces = function.experimental_get_tracing_count()
            counts[name] = counts.get(name, 0) + traces
        return counts


def _number(iterations) -> tf.Tensor:
    return tf.convert_to_tensor(iterations, tf.int32)


def _any_size(tensor: tf.Tensor) -> tf.TensorSpec:
    """Returns a tensor's type for any batch, height and width."""
    if tensor.shape.rank == 4:
        return tf.TensorSpec((None, None, None, tensor.shape[3]), tensor.dtype)
    return tf.TensorSpec(tensor.shape, tensor.dtype)
