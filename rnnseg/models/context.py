"""Context: the surroundings of every canvas pixel, beside its own features."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from rnnseg.models.inspection import InspectedLayer


class Context(InspectedLayer):
    """Adds the surroundings of every pixel, near, far and the whole image, to its features.

    With kernels of 1 the recurrence sees only the features of a pixel, whose receptive field is the
    encoder's. The branches are those of atrous spatial pyramid pooling (Chen et al., 2017,
    DeepLabv3): a 3x3 convolution for every rate, and the mean of all features. They are narrow and
    are concatenated with the features instead of replacing them. They have no batch norm, whose
    statistics over small batches make the curve fall. All of it is computed once per image; canvas
    pixels stay independent in the iterations.

    Args:
      channels: the width of every branch.
      output_stride: input pixels per feature pixel: 8, 16 or 32.
      rates: the rates of the 3x3 convolutions at output stride 16 (doubled at 8, halved at 32);
        none: the mean of all features alone.
      kernel_regularizer: the Keras regularizer of the kernels.
    """

    def __init__(
        self,
        channels: int,
        output_stride: int,
        rates: Sequence[int] = (6, 12),
        kernel_regularizer: keras.Regularizer | None = None,
        **kwargs: Any,
    ) -> None:
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
            convolution(f"branch_{number}", 3, rate)
            for number, rate in enumerate(atrous_rates(rates, output_stride), start=1)
        ]
        self.image_level = convolution("image_level")

    def build(self, features_shape: Sequence[int | None]) -> None:
        """Creates all kernels for features of shape `(batch, h, w, channels)`."""
        for layer in (*self.branches, self.image_level):
            layer.build(features_shape)
        self.built = True

    def compute_output_shape(self, features_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the shape of the result: every branch adds its width."""
        more = (len(self.branches) + 1) * self.channels
        channels = features_shape[-1]
        return (*features_shape[:-1], None if channels is None else channels + more)

    def call(self, features: tf.Tensor, mean: tf.Tensor | None = None) -> tf.Tensor:
        """Concatenates the features and their context.

        Args:
          features: `(batch, h, w, channels)`.
          mean: the mean of the features of the whole image, `(batch, 1, 1, channels)`, if
            `features` are those of a part of it; None: of `features`.

        Returns:
          `(batch, h, w, channels + (rates + 1) * self.channels)`.
        """
        seen = run_branches(features, self.branches, self.image_level, mean)
        return tf.concat([tf.cast(features, seen[0].dtype), *seen], axis=-1)

    def whole_image(self, features: tf.Tensor, mean: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the context that is the same at every pixel, the last channels of the result.

        Args:
          features: as in `call`.
          mean: as in `call`.

        Returns:
          `(batch, 1, 1, self.channels)`.
        """
        return run_image_level(features, self.image_level, mean)


def atrous_rates(rates: Sequence[int], output_stride: int) -> list[int]:
    """Returns atrous rates that cover the same input pixels at any output stride.

    Args:
      rates: the rates at output stride 16.
      output_stride: input pixels per feature pixel: 8, 16 or 32.
    """
    return [16 * rate // output_stride for rate in rates]


def run_branches(
    features: tf.Tensor,
    branches: Sequence[Callable],
    image_level: Callable,
    mean: tf.Tensor | None = None,
    **options: Any,
) -> list[tf.Tensor]:
    """Runs the branches of atrous spatial pyramid pooling (Chen et al., 2017, DeepLabv3).

    Args:
      features: `(batch, h, w, channels)`.
      branches: layers that see every pixel and its surroundings.
      image_level: a layer that sees the mean of all features.
      mean: the mean of all features, `(batch, 1, 1, channels)`; None: of `features`.
      **options: arguments of all layers, such as `training`.

    Returns:
      The results of the branches and that of the image level at every pixel, each `(batch, h, w,
      channels of the layer)`.
    """
    whole = run_image_level(features, image_level, mean, **options)
    near = [branch(features, **options) for branch in branches]
    everywhere = tf.concat([tf.shape(features)[:-1], [whole.shape[-1]]], 0)
    return [*near, tf.broadcast_to(whole, everywhere)]


def run_image_level(
    features: tf.Tensor, image_level: Callable, mean: tf.Tensor | None = None, **options: Any
) -> tf.Tensor:
    """Runs the branch of `run_branches` that sees the mean of all features, once per image.

    Args:
      features: `(batch, h, w, channels)`.
      image_level: as in `run_branches`.
      mean: as in `run_branches`.
      **options: as in `run_branches`.

    Returns:
      `(batch, 1, 1, channels of the layer)`.
    """
    if mean is None:
        mean = tf.reduce_mean(features, [1, 2], keepdims=True)
    return image_level(mean, **options)
