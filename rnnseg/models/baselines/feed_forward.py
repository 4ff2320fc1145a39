"""The base classes of feed-forward models, and the layers that their heads are made of."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnnseg.errors import UserError
from rnnseg.models.base import SegmentationModel
from rnnseg.models.encoder import DEEPEST, Depth, Features, check_strides
from rnnseg.models.inspection import InspectedLayer
from rnnseg.models.options import FeedForwardOptions


class FeedForwardSegmenter(SegmentationModel):
    """An encoder and a head that computes the canvas in one pass.

    It has the stages of all models, so that every command takes it: `prepare` is the head, and the
    single iteration hands the canvas on.

    Args:
      num_classes: the number of classes.
      **options: as `rnnseg.models.base.SegmentationModel`, and fields of `options_type`.
    """

    def __init__(self, num_classes: int, **options: Any) -> None:
        super().__init__(num_classes, **options)
        if isinstance(self.options, FeedForwardOptions):
            self.head_channels = self.options.head_channels or self.options.published_channels
            self.options = dataclasses.replace(self.options, head_channels=self.head_channels)
        self.head = self._build_head()
        self._build_for(self.encoder.depths)
        self.built = True

    def _build_head(self) -> keras.layers.Layer:
        """Returns a layer from features to logits, `(batch, h, w, classes)`."""
        raise NotImplementedError

    def _build_for(self, depths) -> None:
        """Creates the weights of the head for features of these depths."""
        self.head.build((None, None, None, depths[-1].channels))

    def _run_head(self, features, training):
        """Computes the logits at the canvas stride."""
        return self.head(features[DEEPEST], training=training)

    def prepare(
        self, features: Features, prepared: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        """Runs the head.

        Args:
          features: from `encode`.
          prepared: None; the encoder has a single stage.
          training: True if its batch norm and dropout are in training mode.

        Returns:
          The canvas, float32, `(batch, h, w, classes)`.
        """
        return tf.cast(self._run_head(features, training), tf.float32)

    def refine(
        self,
        prepared: tf.Tensor,
        iterations: int | tf.Tensor,
        canvas: tf.Tensor | None = None,
        state: Any = None,
    ) -> tuple[tf.Tensor, Any]:
        """Returns the canvas that `prepare` computed.

        Args:
          prepared: from `prepare`.
          iterations: 1, or a tensor, which is ignored.
          canvas: None; a feed-forward model starts from the features.
          state: None, or the state of an earlier call.

        Returns:
          The canvas and an empty state.
        """
        if not tf.is_tensor(iterations) and iterations != 1:
            raise UserError(
                f"iterations={iterations}: {self.name} is feed-forward and has a single one"
            )
        if canvas is not None and state is None:
            raise UserError(f"canvas: {self.name} is feed-forward and starts from the features")
        return prepared, ()

    def iterate(
        self, prepared: tf.Tensor, canvas: tf.Tensor | None = None, state: Any = None
    ) -> tuple[tf.Tensor, Any]:
        """Hands the canvas on; see `rnnseg.models.base.SegmentationModel.iterate`."""
        return prepared, ()

    def call(
        self,
        images: np.ndarray | tf.Tensor,
        iterations: int | tf.Tensor = 1,
        canvas: np.ndarray | tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Segments images of one size.

        Args:
          images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`.
          iterations: as in `refine`.
          canvas: as in `refine`.
          training: as in Keras.

        Returns:
          Logits at the images' size, `(batch, H, W, classes)`.
        """
        prepared = self.prepare(self.encode(images, training=training), training=training)
        return self.sized_logits(self.refine(prepared, iterations, canvas)[0], images)

    def canvas_of(
        self,
        images: np.ndarray | tf.Tensor,
        iterations: int | tf.Tensor = 1,
        canvas: np.ndarray | tf.Tensor | None = None,
        stop_when_settled: bool = False,
        stages: int | None = None,
    ) -> tf.Tensor:
        """Encodes and runs the head; see `rnnseg.models.base.SegmentationModel.canvas_of`."""
        return self.refine(self.prepare(self.encode(images)), iterations, canvas)[0]

    def unroll(
        self,
        images: np.ndarray | tf.Tensor,
        iterations: int = 1,
        canvas: np.ndarray | tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Computes the canvas of the single iteration, `(1, batch, h, w, classes)`."""
        prepared = self.prepare(self.encode(images))
        return self.refine(prepared, iterations, canvas)[0][tf.newaxis]


class LowLevelSegmenter(FeedForwardSegmenter):
    """A feed-forward model whose head sees shallow features beside the deepest ones.

    The canvas has the stride of the shallow features, at every output stride.

    Args:
      num_classes: the number of classes.
      **options: as `rnnseg.models.base.SegmentationModel`, and fields of `options_type`.

    Raises:
      UserError: the encoder is a custom model, and `low_level_layer` is not given; or a named one
        has no layer at that stride before its last one.
    """

    low_level_stride: int
    """The stride of the shallow features that was published, in input pixels."""

    def __init__(self, num_classes: int, **options: Any) -> None:
        super().__init__(num_classes, **options)
        low, _ = self._low_and_deepest()
        self.canvas_stride = low.stride
        self.options = dataclasses.replace(self.options, low_level_layer=low.name)

    def _depths(self):
        layer = self.options.low_level_layer
        if layer is None and not isinstance(self.options.encoder, str):
            raise UserError(
                f"low_level_layer=None: {self.name} sees shallow features, too; name the layer of "
                f"the encoder that computes them, best at stride {self.low_level_stride}"
            )
        return self.low_level_stride, dict(
            skip_layers=None if layer is None else (layer,), skip_strides=[self.low_level_stride]
        )

    def _low_and_deepest(self) -> tuple[Depth, Depth]:
        """Returns the shallow features that the head sees, and the deepest ones."""
        *skips, deepest = self.encoder.depths
        if not skips:
            raise UserError(
                f"{self.name} sees features at stride {self.low_level_stride}, too; "
                f"encoder={self.options.encoder!r} has none before its last layer at output stride "
                f"{self.output_stride}: choose a larger output stride or another encoder layer"
            )
        return skips[0], deepest

    def _build_for(self, depths):
        low, deepest = depths
        self.head.build((None, None, None, low.channels), (None, None, None, deepest.channels))

    def _run_head(self, features, training):
        low, deepest = self._low_and_deepest()
        return self.head(features[low.name], features[deepest.name], training=training)


class SkipSegmenter(FeedForwardSegmenter):
    """A feed-forward model whose head sees features of several depths.

    Args:
      num_classes: the number of classes.
      **options: as `rnnseg.models.base.SegmentationModel`, and fields of `options_type`, which has
        those of `rnnseg.models.options.DepthOptions`.

    Raises:
      UserError: a skip layer whose stride is no multiple of the canvas stride.
    """

    skip_strides: tuple[int, ...] = (4, 8, 16)
    """The strides whose last layers are the usual skip layers, as far as the canvas has them."""

    def __init__(self, num_classes: int, **options: Any) -> None:
        super().__init__(num_classes, **options)
        names = tuple(depth.name for depth in self.encoder.depths[:-1])
        self.options = dataclasses.replace(self.options, skip_layers=names)

    def _depths(self):
        stride = self.options.canvas_stride
        strides = [each for each in self.skip_strides if each >= stride]
        return stride, dict(skip_layers=self.options.skip_layers, skip_strides=strides)

    def _build_for(self, depths):
        check_strides(depths, self.canvas_stride)
        self.head.build([(None, None, None, depth.channels) for depth in depths])

    def _run_head(self, features, training):
        seen = [features[depth.name] for depth in self.encoder.depths]
        return self.head(seen, training=training)

    def _config_at(self, config, output_stride):
        # Atrous features lose no stride, so that the shallow ones keep theirs.
        stride = min(self.canvas_stride, output_stride)
        return super()._config_at(config, output_stride) | {"canvas_stride": stride}


class ConvBlock(InspectedLayer):
    """A convolution of stride 1, batch norm and ReLU.

    Args:
      filters: the number of output channels.
      kernel_size: the side of the kernel.
      dilation_rate: the spacing of the kernel's taps.
      batch_norm: False for a bias in place of batch norm.
      kernel_regularizer: the Keras regularizer of the kernel.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 1,
        dilation_rate: int = 1,
        batch_norm: bool = True,
        kernel_regularizer: keras.Regularizer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.convolution = keras.layers.Conv2D(
            filters,
            kernel_size,
            dilation_rate=dilation_rate,
            padding="same",
            use_bias=not batch_norm,
            kernel_initializer="he_normal",
            kernel_regularizer=kernel_regularizer,
            dtype=self.dtype_policy,
            name="convolution",
        )
        self.batch_norm = None
        if batch_norm:
            self.batch_norm = _batch_norm(self.dtype_policy)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the weights for inputs of shape `(batch, h, w, channels)`."""
        self.convolution.build(input_shape)
        if self.batch_norm is not None:
            self.batch_norm.build((*input_shape[:-1], self.convolution.filters))
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Computes `(batch, h, w, filters)` from `(batch, h, w, channels)`."""
        outputs = self.convolution(inputs)
        if self.batch_norm is not None:
            outputs = self.batch_norm(outputs, training=training)
        return tf.nn.relu(outputs)


class SeparableBlock(InspectedLayer):
    """A depthwise and a 1x1 convolution of stride 1, each with batch norm and ReLU.

    It is the atrous separable convolution of DeepLabv3+ (Chen et al., 2018), with batch norm and
    ReLU after the depthwise convolution, too. As in the encoders, the depthwise kernel has no
    regularizer.

    Args:
      filters: the number of output channels.
      kernel_size: the side of the depthwise kernel.
      dilation_rate: the spacing of its taps.
      kernel_regularizer: the Keras regularizer of the 1x1 kernel.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        dilation_rate: int = 1,
        kernel_regularizer: keras.Regularizer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.depthwise = keras.layers.DepthwiseConv2D(
            kernel_size,
            dilation_rate=dilation_rate,
            padding="same",
            use_bias=False,
            # Keras' usual initializers count the inputs of a dense kernel.
            depthwise_initializer=keras.initializers.TruncatedNormal(stddev=0.33),
            dtype=self.dtype_policy,
            name="depthwise",
        )
        self.batch_norm = _batch_norm(self.dtype_policy)
        self.pointwise = ConvBlock(
            filters,
            kernel_regularizer=kernel_regularizer,
            dtype=self.dtype_policy,
            name="pointwise",
        )

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the weights for inputs of shape `(batch, h, w, channels)`."""
        for layer in (self.depthwise, self.batch_norm, self.pointwise):
            layer.build(input_shape)
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Computes `(batch, h, w, filters)` from `(batch, h, w, channels)`."""
        x = tf.nn.relu(self.batch_norm(self.depthwise(inputs), training=training))
        return self.pointwise(x, training=training)


def _batch_norm(dtype) -> keras.layers.BatchNormalization:
    return keras.layers.BatchNormalization(
        momentum=0.99, epsilon=1e-5, dtype=dtype, name="batch_norm"
    )
