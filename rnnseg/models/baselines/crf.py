"""The base class of networks whose answer a conditional random field improves, in iterations."""

from typing import Any

import numpy as np
import tensorflow as tf

from rnnseg.checks import check_positive
from rnnseg.errors import UserError
from rnnseg.models import geometry
from rnnseg.models.baselines.feed_forward import FeedForwardSegmenter
from rnnseg.models.encoder import MEAN_GREY, Features
from rnnseg.models.mean_field import MeanField, Widths

COLORS = "colors"
"""The name of the colours on the canvas among the features."""


class CRFSegmenter(FeedForwardSegmenter):
    """A feed-forward network, and mean-field inference on its canvas.

    `prepare` runs the head of the network and computes the kernels of the field from the image. The
    first iteration gives the answer of the network, each further one is a step of inference
    (`rnnseg.models.mean_field.MeanField`). Any number of them can be run.

    Args:
      num_classes: the number of classes.
      **options: as `rnnseg.models.base.SegmentationModel`, and fields of `options_type`, which has
        those of `rnnseg.models.options.CRFOptions`.
    """

    recurrent = True

    widths: Widths
    """The widths of the kernels at first."""
    appearance_weight: float
    """The weight of the appearance kernel at first."""
    smoothness_weight: float
    """The weight of the smoothness kernel at first."""
    trains_field: bool
    """True if the field is trained with the network; else the network is trained alone."""

    def __init__(self, num_classes: int, **options: Any) -> None:
        super().__init__(num_classes, **options)
        self.iterations = self.options.iterations
        trained = self.iterations if self.trains_field else 1
        self.iteration_weights = tuple(
            float(number == trained) for number in range(1, self.iterations + 1)
        )
        self.field = MeanField(
            num_classes,
            self.canvas_stride,
            self.options.crf_window,
            self.widths,
            self.appearance_weight,
            self.smoothness_weight,
            trainable=self.trains_field,
            name="field",
        )
        canvas = (None, None, None, num_classes)
        self.field.build(canvas, canvas, (*canvas[:3], self.options.crf_window**2))
        # XLA has no gradient of a loop whose number of iterations is a tensor.
        self.supports_jit = False

    # --- the stages ---

    def encode(self, images: np.ndarray | tf.Tensor, training: bool = False) -> Features:
        """Computes the features of images, and their colours on the canvas.

        See `rnnseg.models.base.SegmentationModel.encode`.
        """
        features = super().encode(images, training)
        images = tf.cast(tf.convert_to_tensor(images), tf.float32)
        images = geometry.pad_to_grid(images, self.output_stride, MEAN_GREY)
        return {**features, COLORS: self.field.shrink(images)}

    def encode_stage(self, number: int, inputs: Any) -> Features:
        """Runs the encoder, which has one stage."""
        return self.encode(inputs)

    def prepare(
        self, features: Features, prepared: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        """Runs the head, and computes the appearance kernel.

        Args:
          features: from `encode`.
          prepared: None; the encoder has a single stage.
          training: True if batch norm and dropout of the head are in training mode.

        Returns:
          The logits of the network and the kernel, float32 `(batch, h, w, classes + window^2)`.
        """
        logits = super().prepare(features, training=training)
        return tf.concat([logits, self.field.kernel(features[COLORS])], -1)

    def refine(
        self,
        prepared: tf.Tensor,
        iterations: int | tf.Tensor,
        canvas: tf.Tensor | None = None,
        state: Any = None,
    ) -> tuple[tf.Tensor, Any]:
        """Runs iterations on a canvas.

        Args:
          prepared: from `prepare`.
          iterations: the number of iterations, positive; or a scalar integer tensor.
          canvas: logits to start from, `(batch, h, w, classes)`; None for a canvas of zeros.
          state: not used; all state is in the canvas.

        Returns:
          The canvas, float32, and an empty state.
        """
        return self._iterate(prepared, iterations, canvas)[0], ()

    @property
    def prepared_channels(self) -> int:
        """The number of channels of what `prepare` returns."""
        return self.num_classes + self.options.crf_window**2

    def iterate(
        self, prepared: tf.Tensor, canvas: tf.Tensor | None = None, state: Any = None
    ) -> tuple[tf.Tensor, Any]:
        """Runs one iteration; see `rnnseg.models.base.SegmentationModel.iterate`."""
        unary, kernel = self._parts(prepared)
        canvas = tf.zeros_like(unary) if canvas is None else canvas
        return self.field(canvas, unary, kernel), ()

    def canvas_of(
        self,
        images: np.ndarray | tf.Tensor,
        iterations: int | tf.Tensor | None = None,
        canvas: np.ndarray | tf.Tensor | None = None,
        stop_when_settled: bool = False,
        stages: int | None = None,
    ) -> tf.Tensor:
        """Encodes, prepares and refines; see `rnnseg.models.base.SegmentationModel.canvas_of`."""
        if stop_when_settled:
            self.check_can_stop()
        return self._iterate(self.prepare(self.encode(images)), iterations, canvas)[0]

    def check_can_stop(self) -> None:
        """Raises a UserError: pixels see one another, and never settle by themselves."""
        raise UserError(
            f"stop_when_settled: in {self.name} every pixel depends on its surroundings and none "
            "settles by itself; leave it out"
        )

    def unroll(
        self,
        images: np.ndarray | tf.Tensor,
        iterations: int | None = None,
        canvas: np.ndarray | tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Computes the canvas of every iteration, `(iterations, batch, h, w, classes)`."""
        return self._iterate(self.prepare(self.encode(images)), iterations, canvas, keep=True)[1]

    def call(
        self,
        images: np.ndarray | tf.Tensor,
        iterations: int | tf.Tensor | None = None,
        canvas: np.ndarray | tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Segments images of one size.

        Args:
          images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`.
          iterations: the number of iterations; None for that of `iterations`, or in training for
            one if the field is not trained.
          canvas: logits to start from, `(batch, h, w, classes)`, or None.
          training: as in Keras.

        Returns:
          Logits at the images' size, `(batch, H, W, classes)`.
        """
        if iterations is None and training and not self.trains_field:
            iterations = 1
        prepared = self.prepare(self.encode(images, training=training), training=training)
        return self.sized_logits(self._iterate(prepared, iterations, canvas)[0], images)

    # --- the loop ---

    def _parts(self, prepared):
        return tf.split(prepared, [self.num_classes, self.options.crf_window**2], axis=-1)

    def _iterate(self, prepared, iterations=None, canvas=None, keep=False):
        """Runs the loop; returns the canvas and, if `keep`, the canvas of every iteration."""
        iterations = self.iterations if iterations is None else iterations
        if not tf.is_tensor(iterations):
            check_positive("iterations", iterations)
        unary, kernel = self._parts(prepared)
        limit = tf.cast(iterations, tf.int32)
        kept = tf.TensorArray(tf.float32, limit, element_shape=unary.shape) if keep else ()

        def after(number, canvas, kept):
            return number + 1, canvas, kept.write(number, canvas) if keep else kept

        def step(number, canvas, kept):
            return after(number, self.field(canvas, unary, kernel), kept)

        if canvas is None:
            variables = after(tf.constant(0), self.field.first(unary), kept)
        else:
            canvas = tf.ensure_shape(tf.cast(canvas, tf.float32), unary.shape)
            variables = tf.constant(0), canvas, kept
        _, canvas, kept = tf.while_loop(
            lambda number, *_: number < limit, step, variables, parallel_iterations=1
        )
        return canvas, kept.stack() if keep else None
