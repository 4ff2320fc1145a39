"""The recurrent segmenter: encode, prepare, refine, read."""

import os
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from rnnseg import base, conv_lstm
from rnnseg.base import check_positive
from rnnseg.errors import UserError


@keras.saving.register_keras_serializable("rnnseg")
class RecurrentSegmenter(base.Segmenter):
    """Semantic segmentation that gets better with every iteration and may stop after any.

    An encoder gives features; a stack of ConvLSTM layers sees features and canvas and adds its
    output to the canvas, the logits of all classes at the features' size; the prediction of any
    moment is the argmax of the upsampled canvas (McIntosh et al., 2017, "Recurrent Segmentation for
    Variable Computational Budgets").

    Args:
      num_classes: number of classes, which is the width of the canvas.
      encoder: a name from `rnnseg.encoders.names()`, such as "resnet101" or "mobilenet_v2_0.5", or
        a `keras.Model` that gives features of RGB 0-255 pictures.
      encoder_weights: "imagenet", a weights file, or None for random ones.
      output_stride: pixels of the picture a pixel of features and canvas: 8, 16 or 32.
      encoder_layer: the inner layer whose output are the features; None for the usual one.
      hidden_channels: widths of the ConvLSTM layers before the last, which is as wide as the
        classes.
      kernel_size: side of the stack's kernels. With 1, as in the paper, pixels are independent.
      dilation_rate: spacing of the stack's kernel taps.
      iterations: how many iterations training runs, and use where nothing else is said. Any other
        number can be asked for at any time.
      iteration_weights: how much the loss at each iteration counts, one number an iteration, in
        training. None: only the last counts, as in the paper.
      learned_start: whether canvas and state start from trained values instead of zero.
      train_encoder: whether training changes the encoder.
      freeze_batch_norm: whether the encoder's batch norm keeps its statistics, scale and offset in
        training, as it should with fewer than 16 pictures a batch.
      l2: weight decay of convolution kernels by a penalty in the loss: l2 / 2 times the sum of
        squares, whose gradient is l2 times the kernel, as in DeepLab.
      class_names: one name a class; the model carries them for the commands' sake.
      class_colors: one (red, green, blue) of 0-255 a class, likewise.
      name: of the model.
      dtype: Keras dtype policy; canvas and cell state are float32 under every one.

    Raises:
      UserError: an argument out of its range, an unknown encoder, weights that do not fit.
    """

    recurrent = True

    def __init__(
        self,
        num_classes: int,
        encoder: str | keras.Model = "resnet101",
        encoder_weights: str | os.PathLike | None = "imagenet",
        output_stride: int = 16,
        encoder_layer: str | None = None,
        hidden_channels: Sequence[int] = (512, 256),
        kernel_size: int = 1,
        dilation_rate: int = 1,
        iterations: int = 6,
        iteration_weights: Sequence[float] | None = None,
        learned_start: bool = False,
        train_encoder: bool = True,
        freeze_batch_norm: bool = False,
        l2: float = 0.0,
        class_names: Sequence[str] | None = None,
        class_colors: Sequence[Sequence[int]] | None = None,
        name: str = "recurrent_segmenter",
        dtype=None,
    ):
        super().__init__(
            num_classes,
            encoder,
            encoder_weights,
            output_stride,
            encoder_layer,
            train_encoder,
            freeze_batch_norm,
            l2,
            class_names,
            class_colors,
            name,
            dtype,
        )
        check_positive("iterations", iterations)
        check_positive("kernel_size", kernel_size)
        check_positive("dilation_rate", dilation_rate)
        for width in hidden_channels:
            check_positive("hidden_channels", width)
        if iteration_weights is not None:
            _check_iteration_weights(iteration_weights, iterations)
        self.iterations = iterations
        self.iteration_weights = None if iteration_weights is None else tuple(iteration_weights)
        self._options = dict(
            hidden_channels=tuple(hidden_channels),
            kernel_size=kernel_size,
            dilation_rate=dilation_rate,
            learned_start=learned_start,
        )
        self.stack = conv_lstm.ConvLSTMStack(
            num_classes,
            hidden_channels,
            kernel_size,
            dilation_rate,
            learned_start,
            self._kernel_regularizer,
            dtype=self.dtype_policy,
            name="stack",
        )
        self.stack.build((None, None, None, self.encoder.channels))
        # XLA has no gradient of a loop whose number of iterations is a tensor.
        self.supports_jit = False
        self.built = True

    # --- the stages ---

    def prepare(self, features) -> tf.Tensor:
        """The features' share of the first layer's gates, computed once a picture.

        Args:
          features: from `encode`.

        Returns:
          `(batch, h, w, 4 * hidden_channels[0])`.
        """
        return self.stack.prepare(features)

    def refine(self, prepared, iterations, canvas=None, state=None):
        """Runs iterations on a canvas.

        Args:
          prepared: from `prepare`.
          iterations: how many; a positive number, or a scalar integer tensor, so that one trace
            serves every number.
          canvas: logits to start from, `(batch, h, w, classes)`: an earlier call's, the last video
            frame's, any segmentation; None for the start of training.
          state: the state that an earlier call gave; None for the start of training.

        Returns:
          The canvas, float32, and the state, one `LSTMState` a layer.
        """
        canvas, state, _ = self._iterate(prepared, iterations, canvas, state, keep=False)
        return canvas, state

    # --- all together ---

    def call(self, images, iterations=None, canvas=None, training=False):
        """Segments pictures of one size.

        Args:
          images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`.
          iterations: how many; None for the number of training.
          canvas: logits to start from, `(batch, h, w, classes)`, or None.
          training: as in Keras.

        Returns:
          Logits at the pictures' size, `(batch, H, W, classes)`. In training with
          `iteration_weights`: a tuple of them, one for every iteration whose weight is not zero.
        """
        prepared = self.prepare(self.encode(images, training=training))
        iterations = self.iterations if iterations is None else iterations
        weighted = training and self._weighted_iterations()
        if weighted and not tf.is_tensor(iterations) and iterations != self.iterations:
            raise UserError(
                f"iterations={iterations}: iteration_weights are for {self.iterations} in training"
            )
        canvas, _, every = self._iterate(prepared, iterations, canvas, None, keep=bool(weighted))
        if weighted:
            return tuple(self.sized_logits(every[n - 1], images) for n in weighted)
        return self.sized_logits(canvas, images)

    def trace(self, images, iterations, canvas=None) -> tf.Tensor:
        """The canvas of every iteration.

        Args:
          images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`.
          iterations: how many.
          canvas: logits to start from, or None.

        Returns:
          `(iterations, batch, h, w, classes)`, float32.
        """
        prepared = self.prepare(self.encode(images))
        return self._iterate(prepared, iterations, canvas, None, keep=True)[2]

    def _iterate(self, prepared, iterations, canvas, state, keep):
        """The canvas loop; `keep` decides whether the third result holds every canvas."""
        if not tf.is_tensor(iterations):
            check_positive("iterations", iterations)
        zero_canvas, zero_state = self.stack.start(prepared)
        canvas = zero_canvas if canvas is None else self._check_canvas(canvas, zero_canvas)
        state = zero_state if state is None else state
        iterations = tf.cast(iterations, tf.int32)
        every = tf.TensorArray(
            tf.float32, size=iterations if keep else 0, element_shape=zero_canvas.shape
        )

        def body(step, canvas, state, every):
            canvas, state = self.stack(prepared, canvas, state)
            return step + 1, canvas, state, every.write(step, canvas) if keep else every

        _, canvas, state, every = tf.while_loop(
            lambda step, *_: step < iterations,
            body,
            (tf.constant(0), canvas, state, every),
            # Iterations wait for one another anyway; more would only keep buffers alive.
            parallel_iterations=1,
        )
        return canvas, state, every.stack() if keep else None

    def _check_canvas(self, canvas, zero_canvas):
        canvas = tf.cast(canvas, tf.float32)
        if not canvas.shape.is_compatible_with(zero_canvas.shape):
            raise UserError(
                f"canvas of shape {canvas.shape}: expected {zero_canvas.shape}, the logits of "
                f"{self.num_classes} classes at the features' size"
            )
        return tf.ensure_shape(canvas, zero_canvas.shape)

    # --- training ---

    def _weighted_iterations(self) -> list[int]:
        if self.iteration_weights is None:
            return []
        return [n for n, weight in enumerate(self.iteration_weights, start=1) if weight]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The compiled loss; with `iteration_weights` its weighted mean over the iterations."""
        if not isinstance(y_pred, tuple):
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        weights = [weight for weight in self.iteration_weights if weight]
        # Every term holds the L2 penalty once; weights that sum to one leave it as it is.
        return sum(
            weight
            / sum(weights)
            * super(RecurrentSegmenter, self).compute_loss(x, y, logits, sample_weight, training)
            for weight, logits in zip(weights, y_pred, strict=True)
        )

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """The compiled metrics, of the last iteration."""
        last = y_pred[-1] if isinstance(y_pred, tuple) else y_pred
        return super().compute_metrics(x, y, last, sample_weight)

    # --- saving ---

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs; a saved file holds the weights beside it."""
        return dict(
            super().get_config(),
            **self._options,
            iterations=self.iterations,
            iteration_weights=self.iteration_weights,
        )

    def _config_at(self, config, output_stride):
        config = super()._config_at(config, output_stride)
        if self._options["kernel_size"] > 1:
            rate = self._options["dilation_rate"] * self.output_stride
            if rate % output_stride:
                raise UserError(
                    f"output stride {output_stride}: kernels {self._options['dilation_rate']} "
                    f"apart at output stride {self.output_stride} cannot be drawn together so far"
                )
            config["dilation_rate"] = rate // output_stride
        return config


def _check_iteration_weights(weights: Sequence[float], iterations: int) -> None:
    if len(weights) != iterations or min(weights) < 0 or not weights[-1]:
        raise UserError(
            f"iteration_weights={list(weights)}: expected {iterations} numbers of at least 0, one "
            "an iteration, the last one above 0"
        )
