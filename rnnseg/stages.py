"""The stages of a prediction, as one interface for Keras models and LiteRT files."""

import abc
import itertools
import numbers
from collections.abc import Sequence
from typing import Any, Generic, TypeVar, cast

from rnnseg import grid

Tensor = TypeVar("Tensor")


class Stages(abc.ABC, Generic[Tensor]):
    """Segmentation in stages: encode → prepare → refine ⟲ → read.

    Each stage takes the result of the one before. `refine` may be called again and again, with the
    canvas and the state of the call before; `read` gives the prediction after any number of
    iterations. A feed-forward model goes through the same stages with one iteration.

    The encoder may have stages, too. Then the first iterations run on the features of its first
    stage, before the others have been computed: `encode_stage(0)` → prepare → refine ⟲ →
    `encode_stage(1)` → prepare → refine ⟲ …, and `read` at any time.

    Implemented by `rnnseg.models.base.SegmentationModel` (differentiable, TensorFlow tensors), by
    `rnnseg.models.stages.CompiledStages` (the same, compiled for inference) and by
    `rnnseg.runtime.interpreters.LiteRTStages` (NumPy arrays, no TensorFlow).

    Attributes:
      recurrent: True if more than one iteration can be run.
      iterations: the number of iterations in training, and the default in use.
      num_classes: the number of classes, which is the width of the canvas.
      output_stride: input pixels per pixel of the deepest features.
      canvas_stride: input pixels per canvas pixel.
      early_iterations: the number of iterations on each stage of the encoder before the last.
      class_names: one name per class; None if unknown.
      class_colors: one (red, green, blue) of 0-255 per class; None if unknown.
    """

    recurrent: bool
    iterations: int
    num_classes: int
    output_stride: int
    canvas_stride: int
    early_iterations: Sequence[int] = ()
    class_names: Sequence[str] | None
    class_colors: Sequence[Sequence[int]] | None

    def canvas_size(self, height: int, width: int) -> tuple[int, int]:
        """Returns the `(h, w)` of the canvas for an image.

        Args:
          height: of the image, in pixels.
          width: of the image, in pixels.
        """
        strides = self.output_stride, self.canvas_stride
        return grid.canvas_size(height, *strides), grid.canvas_size(width, *strides)

    @property
    def first_iterations(self) -> tuple[int, ...]:
        """The number of iterations before each stage of the encoder."""
        return tuple(itertools.accumulate(self.early_iterations, initial=0))

    def stages_for(self, iterations: Any) -> int:
        """Returns the number of the encoder's stages that iterations need.

        Args:
          iterations: the number of iterations; if it is a tensor, all stages are counted.
        """
        if not isinstance(iterations, numbers.Integral):
            return len(self.first_iterations)
        return max(1, sum(before < int(iterations) for before in self.first_iterations))

    @abc.abstractmethod
    def encode(self, images: Tensor) -> Any:
        """Computes the features.

        Args:
          images: RGB 0-255, `(batch, H, W, 3)`.

        Returns:
          The features, as `prepare` takes them.
        """

    @abc.abstractmethod
    def encode_stage(self, number: int, inputs: Any) -> Any:
        """Runs one stage of the encoder.

        Args:
          number: the number of the stage, from 0.
          inputs: images for stage 0, otherwise the result of the stage before.

        Returns:
          The features of this stage, as `prepare` and the next stage take them.
        """

    @abc.abstractmethod
    def prepare(self, features: Any, prepared: Tensor | None = None) -> Tensor:
        """Computes the loop-invariant part of the iterations.

        Args:
          features: from `encode` or `encode_stage`.
          prepared: the result for the stages before; None for the first one.

        Returns:
          `(batch, h, w, channels)`; for a feed-forward model the canvas.
        """

    @abc.abstractmethod
    def refine(
        self, prepared: Tensor, iterations: int, canvas: Tensor | None = None, state: Any = None
    ) -> tuple[Tensor, Any]:
        """Runs iterations on a canvas.

        Args:
          prepared: from `prepare`.
          iterations: the number of iterations, at least 1.
          canvas: logits to start from, float32 `(batch, h, w, classes)`: the result of an earlier
            call, the last video frame's canvas, any segmentation; None for the initial canvas.
          state: the LSTM state of an earlier call; None for the initial state.

        Returns:
          The canvas, float32 `(batch, h, w, classes)`, and the state.
        """

    @abc.abstractmethod
    def read(self, canvas: Tensor, size: tuple[int, int]) -> Tensor:
        """Returns the prediction: the argmax of the bilinearly upsampled canvas.

        Args:
          canvas: logits, `(batch, h, w, classes)`.
          size: `(height, width)` of the images, in pixels.

        Returns:
          Class maps, int32 `(batch, height, width)`.
        """

    @abc.abstractmethod
    def unroll(self, images: Tensor, iterations: int, canvas: Tensor | None = None) -> Tensor:
        """Computes the canvas of every iteration.

        Args:
          images: RGB 0-255, `(batch, H, W, 3)`.
          iterations: the number of iterations.
          canvas: as in `refine`.

        Returns:
          Float32 `(iterations, batch, h, w, classes)`.
        """


class Prediction(Generic[Tensor]):
    """A prediction that goes on, iteration by iteration, and encodes only as far as it has to.

    Args:
      stages: the stages to run.
      images: RGB 0-255, `(batch, H, W, 3)`.
      canvas: logits to start from, as in `Stages.refine`.

    Attributes:
      iterations: the number of iterations so far.
      canvas: the canvas after them, float32 `(batch, h, w, classes)`; None before the first one of
        a prediction that starts from the initial canvas.
      stage: the number of stages of the encoder that have been run.
    """

    def __init__(self, stages: Stages[Tensor], images: Tensor, canvas: Tensor | None = None):
        self.iterations = 0
        self.canvas = canvas
        self.stage = 0
        self._stages = stages
        self._encoded: Any = images
        self._prepared: Any = None
        self._state: Any = None

    @property
    def must_encode(self) -> bool:
        """True if the next iteration needs another stage of the encoder."""
        starts = self._stages.first_iterations
        return self.stage < len(starts) and starts[self.stage] <= self.iterations

    def encode(self) -> None:
        """Runs the next stage of the encoder, and prepares its features."""
        if len(self._stages.first_iterations) == 1:
            self._encoded = self._stages.encode(self._encoded)
        else:
            self._encoded = self._stages.encode_stage(self.stage, self._encoded)
        self._prepared = self._stages.prepare(self._encoded, self._prepared)
        self.stage += 1

    def run_to(self, iterations: int) -> Tensor:
        """Goes on to a number of iterations.

        Args:
          iterations: the number of iterations from the start, more than so far.

        Returns:
          The canvas.
        """
        while self.iterations < iterations:
            if self.must_encode:
                self.encode()
            until = min([iterations, *self._stages.first_iterations[self.stage :]])
            self.canvas, self._state = self._stages.refine(
                self._prepared, until - self.iterations, self.canvas, self._state
            )
            self.iterations = until
        return cast(Tensor, self.canvas)  # there is one after an iteration
