"""What lies around a canvas pixel, beside its own features."""

import keras
import tensorflow as tf

# At output stride 16; in pixels of the image they are the same at every stride.
_RATES = (6, 12)


class Context(keras.layers.Layer):
    """Puts the surroundings of every pixel, near, far and the whole image, beside its features.

    With kernels of 1 the recurrence sees nothing but a pixel's own features, whose view of the
    image is the encoder's. The branches are those of atrous spatial pyramid pooling (Chen et al.,
    2017, DeepLabv3): 3x3 convolutions with rates 6 and 12 at output stride 16 (doubled at 8, halved
    at 32), and the mean of all features. They are narrow, stand beside the features instead of in
    their place, and have no batch norm, whose statistics over small batches bend the curve. All of
    it is done once per image; pixels stay independent in the iterations.

    Args:
      channels: width of every branch.
      output_stride: pixels of the image a pixel of the features: 8, 16 or 32.
      kernel_regularizer: Keras regularizer of the kernels.
    """

    def __init__(self, channels: int, output_stride: int, kernel_regularizer=None, **kwargs):
        super().__init__(**kwargs)

        def convolution(name, kernel_size=1, rate=1):
            return keras.layers.Conv2D(
                channels,
                kernel_size,
                dilation_rate=rate,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                kernel_regularizer=kernel_regularizer,
                dtype=self.dtype_policy,
                name=name,
            )

        self.channels = channels
        self.branches = [
            convolution(f"branch_{number}", 3, 16 * rate // output_stride)
            for number, rate in enumerate(_RATES, start=1)
        ]
        self.image_level = convolution("image_level")

    def build(self, features_shape):
        """Makes all kernels for features of shape `(batch, h, w, channels)`."""
        for layer in (*self.branches, self.image_level):
            layer.build(features_shape)
        self.built = True

    def compute_output_shape(self, features_shape):
        """The width grows by that of every branch."""
        more = (len(self.branches) + 1) * self.channels
        return (*features_shape[:-1], features_shape[-1] + more)

    def call(self, features) -> tf.Tensor:
        """The features and beside them their context.

        Args:
          features: `(batch, h, w, channels)`.

        Returns:
          `(batch, h, w, channels + 3 * self.channels)`.
        """
        whole = self.image_level(tf.reduce_mean(features, [1, 2], keepdims=True))
        near = [branch(features) for branch in self.branches]
        whole = tf.broadcast_to(whole, tf.shape(near[0]))
        return tf.concat([tf.cast(features, near[0].dtype), *near, whole], axis=-1)
