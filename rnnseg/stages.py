"""The stages of a prediction, as one interface for Keras models and LiteRT files."""

import abc
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

Tensor = TypeVar("Tensor")


class Stages(abc.ABC, Generic[Tensor]):
    """Segmentation in stages: encode → prepare → refine ⟲ → read.

    Each stage takes the result of the one before. `refine` may be called again and again, with the
    canvas and the state of the call before; `read` gives the prediction after any number of
    iterations. A feed-forward model goes through the same stages with one iteration.

    Implemented by `rnnseg.models.base.SegmentationModel` (differentiable, TensorFlow tensors), by
    `rnnseg.models.stages.CompiledStages` (the same, compiled for inference) and by
    `rnnseg.runtime.interpreters.LiteRTStages` (NumPy arrays, no TensorFlow).

    Attributes:
      recurrent: True if more than one iteration can be run.
      iterations: the number of iterations in training, and the default in use.
      num_classes: the number of classes, which is the width of the canvas.
      output_stride: input pixels per canvas pixel.
      class_names: one name per class; None if unknown.
      class_colors: one (red, green, blue) of 0-255 per class; None if unknown.
    """

    recurrent: bool
    iterations: int
    num_classes: int
    output_stride: int
    class_names: Sequence[str] | None
    class_colors: Sequence[Sequence[int]] | None

    @abc.abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Computes the features.

        Args:
          images: RGB 0-255, `(batch, H, W, 3)`.

        Returns:
          `(batch, h, w, channels)`, at the output stride.
        """

    @abc.abstractmethod
    def prepare(self, features: Tensor) -> Tensor:
        """Computes the loop-invariant part of the iterations.

        Args:
          features: from `encode`.

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
