"""The base class of feed-forward models, and the layers that their heads are made of."""

import keras
import tensorflow as tf

from rnnseg.errors import UserError
from rnnseg.models.base import SegmentationModel
from rnnseg.models.encoders import DEEPEST


class FeedForwardSegmenter(SegmentationModel):
    """An encoder and a head that computes the canvas in one pass.

    It has the stages of all models, so that every command takes it: `prepare` is the head, and the
    single iteration hands the canvas on.

    Args:
      num_classes: the number of classes.
      **options: as `rnnseg.models.base.SegmentationModel`, and fields of `options_type`.
    """

    def __init__(self, num_classes: int, **options):
        super().__init__(num_classes, **options)
        self.head_channels = self.options.head_channels
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

    def prepare(self, features, prepared=None, training: bool = False) -> tf.Tensor:
        """Runs the head.

        Args:
          features: from `encode`.
          prepared: None; the encoder has a single stage.
          training: True if its batch norm and dropout are in training mode.

        Returns:
          The canvas, float32, `(batch, h, w, classes)`.
        """
        return tf.cast(self._run_head(features, training), tf.float32)

    def refine(self, prepared, iterations, canvas=None, state=None):
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

    def call(self, images, iterations=1, canvas=None, training=False) -> tf.Tensor:
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

    def canvas_of(self, images, iterations=1, canvas=None, stop_when_settled=False, stages=None):
        """Encodes and runs the head; see `rnnseg.models.base.SegmentationModel.canvas_of`."""
        return self.refine(self.prepare(self.encode(images)), iterations, canvas)[0]

    def unroll(self, images, iterations=1, canvas=None) -> tf.Tensor:
        """Computes the canvas of the single iteration, `(1, batch, h, w, classes)`."""
        prepared = self.prepare(self.encode(images))
        return self.refine(prepared, iterations, canvas)[0][tf.newaxis]


class ConvBlock(keras.layers.Layer):
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
        kernel_regularizer=None,
        **kwargs,
    ):
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
            self.batch_norm = keras.layers.BatchNormalization(
                momentum=0.99, epsilon=1e-5, dtype=self.dtype_policy, name="batch_norm"
            )

    def build(self, input_shape):
        """Creates the weights for inputs of shape `(batch, h, w, channels)`."""
        self.convolution.build(input_shape)
        if self.batch_norm is not None:
            self.batch_norm.build((*input_shape[:-1], self.convolution.filters))
        self.built = True

    def call(self, inputs, training=False) -> tf.Tensor:
        """Computes `(batch, h, w, filters)` from `(batch, h, w, channels)`."""
        outputs = self.convolution(inputs)
        if self.batch_norm is not None:
            outputs = self.batch_norm(outputs, training=training)
        return tf.nn.relu(outputs)
