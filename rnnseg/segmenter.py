"""The recurrent segmenter: encode, prepare, refine, read."""

import numbers
import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from rnnseg import conv_lstm, encoders, geometry
from rnnseg.errors import UserError


@keras.saving.register_keras_serializable("rnnseg")
class RecurrentSegmenter(keras.Model):
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
        # autocast would take the precision of RGB 0-255 and of a given canvas.
        super().__init__(name=name, dtype=dtype, autocast=False)
        _check_positive("num_classes", num_classes)
        _check_positive("iterations", iterations)
        _check_positive("kernel_size", kernel_size)
        _check_positive("dilation_rate", dilation_rate)
        for width in hidden_channels:
            _check_positive("hidden_channels", width)
        if iteration_weights is not None:
            _check_iteration_weights(iteration_weights, iterations)
        for option, values in (("class_names", class_names), ("class_colors", class_colors)):
            if values is not None and len(values) != num_classes:
                raise UserError(f"{option}: {len(values)} given for {num_classes} classes")
        self.num_classes = num_classes
        self.output_stride = output_stride
        self.iterations = iterations
        self.iteration_weights = _tuple(iteration_weights)
        self.class_names = _tuple(class_names)
        self.class_colors = _tuple(class_colors, lambda color: tuple(int(each) for each in color))
        self._options = dict(
            encoder=encoder,
            encoder_layer=encoder_layer,
            hidden_channels=tuple(hidden_channels),
            kernel_size=kernel_size,
            dilation_rate=dilation_rate,
            learned_start=learned_start,
            train_encoder=train_encoder,
            freeze_batch_norm=freeze_batch_norm,
            l2=l2,
        )
        regularizer = keras.regularizers.L2(l2 / 2) if l2 else None
        self.encoder = encoders.build_encoder(
            encoder, encoder_weights, output_stride, encoder_layer, regularizer, self.dtype_policy
        )
        self.encoder.trainable = train_encoder
        if freeze_batch_norm:
            for layer in self.encoder.network._flatten_layers():
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.trainable = False
        self.stack = conv_lstm.ConvLSTMStack(
            num_classes,
            hidden_channels,
            kernel_size,
            dilation_rate,
            learned_start,
            regularizer,
            dtype=self.dtype_policy,
            name="stack",
        )
        self.stack.build((None, None, None, self.encoder.channels))
        # XLA has no gradient of a loop whose number of iterations is a tensor.
        self.supports_jit = False
        self.built = True

    # --- the stages ---

    def encode(self, images, training: bool = False) -> tf.Tensor:
        """The encoder's features.

        Args:
          images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`, at least one output stride a side.
          training: whether batch norm and dropout are in training mode.

        Returns:
          `(batch, h, w, channels)` with `h = ceil((H - 1) / output_stride) + 1`, `w` likewise.
        """
        images = tf.convert_to_tensor(images)
        if images.shape.rank != 4 or images.shape[3] not in (3, None):
            raise UserError(f"images of shape {images.shape}: expected (batch, height, width, 3)")
        for side in images.shape[1:3]:
            if side is not None and side < self.output_stride:
                raise UserError(
                    f"a picture of {images.shape[1]}x{images.shape[2]} pixels is smaller than one "
                    f"output stride ({self.output_stride}): expected at least that on each side"
                )
        # A frozen encoder's dropout would only add noise to features that cannot adapt to it.
        return self.encoder(images, training=training and self.encoder.trainable)

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

    def logits(self, canvas, size) -> tf.Tensor:
        """The canvas at the picture's size.

        Args:
          canvas: `(batch, h, w, classes)`.
          size: the picture's `(height, width)`.

        Returns:
          Logits, float32, `(batch, height, width, classes)`.
        """
        if not tf.is_tensor(size):
            self._check_size(size, canvas)
        return geometry.upsample(canvas, size, self.output_stride)

    def read(self, canvas, size) -> tf.Tensor:
        """The prediction of the moment.

        Args:
          canvas: `(batch, h, w, classes)`.
          size: the picture's `(height, width)`.

        Returns:
          Class map, int32, `(batch, height, width)`.
        """
        return tf.argmax(self.logits(canvas, size), axis=-1, output_type=tf.int32)

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
        size = tf.shape(images)[1:3]
        weighted = training and self._weighted_iterations()
        if weighted and not tf.is_tensor(iterations) and iterations != self.iterations:
            raise UserError(
                f"iterations={iterations}: iteration_weights are for {self.iterations} in training"
            )
        canvas, _, every = self._iterate(prepared, iterations, canvas, None, keep=bool(weighted))
        if weighted:
            return tuple(self._sized_logits(every[n - 1], images, size) for n in weighted)
        return self._sized_logits(canvas, images, size)

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

    def _sized_logits(self, canvas, images, size):
        logits = self.logits(canvas, size)
        return tf.ensure_shape(logits, (*images.shape[:3], self.num_classes))

    def _iterate(self, prepared, iterations, canvas, state, keep):
        """The canvas loop; `keep` decides whether the third result holds every canvas."""
        if not tf.is_tensor(iterations):
            _check_positive("iterations", iterations)
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

    def _check_size(self, size, canvas):
        for side, cells in zip(size, canvas.shape[1:3], strict=True):
            if cells and not tf.is_tensor(side) and side > self.output_stride * (cells - 1) + 1:
                raise UserError(
                    f"size {tuple(size)}: a canvas of {canvas.shape[1]}x{canvas.shape[2]} reaches "
                    f"{self.output_stride * (cells - 1) + 1} pixels at most"
                )

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
        config = dict(
            self._options,
            num_classes=self.num_classes,
            output_stride=self.output_stride,
            iterations=self.iterations,
            iteration_weights=self.iteration_weights,
            class_names=self.class_names,
            class_colors=self.class_colors,
            name=self.name,
            dtype=keras.saving.serialize_keras_object(self.dtype_policy),
        )
        if isinstance(config["encoder"], keras.Model):
            config["encoder"] = keras.saving.serialize_keras_object(config["encoder"])
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "RecurrentSegmenter":
        """Makes an untrained model of the same structure; loading fills in the weights."""
        config = dict(config, encoder_weights=None)
        for key in ("encoder", "dtype"):
            if isinstance(config[key], Mapping):
                config[key] = keras.saving.deserialize_keras_object(config[key])
        return cls(**config)


def _tuple(values, convert=lambda value: value):
    return None if values is None else tuple(convert(value) for value in values)


def _check_positive(option: str, value) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise UserError(f"{option}={value}: expected a whole number of at least 1")


def _check_iteration_weights(weights: Sequence[float], iterations: int) -> None:
    if len(weights) != iterations or min(weights) < 0 or not weights[-1]:
        raise UserError(
            f"iteration_weights={list(weights)}: expected {iterations} numbers of at least 0, one "
            "an iteration, the last one above 0"
        )
