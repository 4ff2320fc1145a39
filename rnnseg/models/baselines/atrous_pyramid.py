"""Atrous spatial pyramid pooling, which the heads of DeepLabv3 and DeepLabv3+ share."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from rnnseg.models.baselines.feed_forward import ConvBlock, SeparableBlock
from rnnseg.models.context import atrous_rates, run_branches
from rnnseg.models.inspection import InspectedLayer

_RATES = (6, 12, 18)
_DROPOUT = 0.1


class AtrousPyramid(InspectedLayer):
    """Atrous spatial pyramid pooling (Chen et al., 2017, DeepLabv3).

    Parallel branches see the features: a 1x1 convolution, three 3x3 convolutions with rates 6, 12
    and 18 at output stride 16 (doubled at 8, halved at 32), and the mean of all features. A 1x1
    convolution over all branches follows, and dropout.

    Args:
      channels: the width of every branch and of the result.
      output_stride: input pixels per feature pixel: 8, 16 or 32.
      kernel_regularizer: the Keras regularizer of the kernels.
      separable: True for depthwise separable 3x3 convolutions, as in DeepLabv3+.
    """

    def __init__(
        self,
        channels: int,
        output_stride: int,
        kernel_regularizer: keras.Regularizer | None = None,
        separable: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        options = dict(kernel_regularizer=kernel_regularizer, dtype=self.dtype_policy)
        block = SeparableBlock if separable else ConvBlock
        self.channels = channels
        self.branches = [ConvBlock(channels, name="branch_1x1", **options)]
        self.branches += [
            block(channels, 3, rate, name=f"branch_{number}", **options)
            for number, rate in enumerate(atrous_rates(_RATES, output_stride), start=1)
        ]
        # One value per image and channel: too few for the statistics of a small batch.
        self.image_level = ConvBlock(channels, batch_norm=False, name="image_level", **options)
        self.project = ConvBlock(channels, name="project", **options)
        self.dropout = keras.layers.Dropout(_DROPOUT, dtype=self.dtype_policy)

    def build(self, features_shape: Sequence[int | None]) -> None:
        """Creates all kernels for features of shape `(batch, h, w, channels)`."""
        for branch in (*self.branches, self.image_level):
            branch.build(features_shape)
        self.project.build((*features_shape[:-1], (len(self.branches) + 1) * self.channels))
        self.dropout.build((*features_shape[:-1], self.channels))
        self.built = True

    def call(self, features: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Computes `(batch, h, w, self.channels)` from `(batch, h, w, channels)`."""
        seen = run_branches(features, self.branches, self.image_level, training=training)
        x = self.project(tf.concat(seen, axis=-1), training=training)
        return self.dropout(x, training=training)
