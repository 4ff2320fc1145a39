"""PSPNet: pooling over a pyramid of regions."""

from typing import Any

import keras
import tensorflow as tf

from rnnseg.models.baselines.feed_forward import ConvBlock, FeedForwardSegmenter
from rnnseg.models.inspection import InspectedLayer
from rnnseg.models.options import PSPNetOptions

_BINS = (1, 2, 3, 6)
_DROPOUT = 0.1


@keras.saving.register_keras_serializable("rnnseg")
class PSPNet(FeedForwardSegmenter):
    """PSPNet (Zhao et al., 2017, "Pyramid Scene Parsing Network").

    The features are averaged over 1x1, 2x2, 3x3 and 6x6 regions. Each level goes through a 1x1
    convolution to a quarter of the features' channels and is upsampled to their size. A 3x3
    convolution over the features and all levels, and a 1x1 convolution, compute the logits. The
    auxiliary loss on inner features is left out, so that all systems are trained alike.

    Args:
      num_classes: the number of classes.
      **options: as `rnnseg.models.base.SegmentationModel`, and fields of
        `rnnseg.models.options.PSPNetOptions`.
    """

    options_type = PSPNetOptions

    def __init__(self, num_classes: int, *, name: str = "pspnet", **options: Any) -> None:
        super().__init__(num_classes, name=name, **options)

    def _build_head(self):
        return _PoolingPyramid(
            self.num_classes,
            self.head_channels,
            self.encoder.channels // len(_BINS),
            # Covers the same input pixels at stride 8 as at 16, where it may be trained.
            max(1, 16 // self.output_stride),
            self._kernel_regularizer,
            dtype=self.dtype_policy,
            name="head",
        )


class _PoolingPyramid(InspectedLayer):
    def __init__(self, num_classes, channels, level_channels, rate, kernel_regularizer, **kwargs):
        super().__init__(**kwargs)
        options = dict(kernel_regularizer=kernel_regularizer, dtype=self.dtype_policy)
        self.channels = channels
        self.level_channels = level_channels
        self.levels = [
            # The mean of all features is one value per image and channel: too few for the
            # statistics of a small batch.
            ConvBlock(level_channels, batch_norm=bins > 1, name=f"level_{bins}", **options)
            for bins in _BINS
        ]
        self.fuse = ConvBlock(channels, 3, rate, name="fuse", **options)
        self.dropout = keras.layers.Dropout(_DROPOUT, dtype=self.dtype_policy)
        self.classify = keras.layers.Conv2D(num_classes, 1, name="classify", **options)

    def build(self, features_shape):
        *place, channels = features_shape
        for level in self.levels:
            level.build(features_shape)
        self.fuse.build((*place, channels + len(_BINS) * self.level_channels))
        for layer in (self.dropout, self.classify):
            layer.build((*place, self.channels))
        self.built = True

    def call(self, features, training=False):
        size = tf.shape(features)[1:3]
        seen = [features]
        for bins, level in zip(_BINS, self.levels, strict=True):
            pooled = level(pool_regions(features, bins), training=training)
            # The operator returns float32 for every type.
            spread = tf.raw_ops.ResizeBilinear(images=pooled, size=size, align_corners=True)
            seen.append(tf.cast(spread, features.dtype))
        x = self.fuse(tf.concat(seen, axis=-1), training=training)
        return self.classify(self.dropout(x, training=training))


def pool_regions(features: tf.Tensor, bins: int) -> tf.Tensor:
    """Averages the features over `bins` x `bins` regions that cover them evenly.

    Region `i` of a side of `n` starts at `floor(i n / bins)` and ends before `ceil((i + 1) n /
    bins)`; neighbouring regions share a row if `bins` does not divide `n`.

    Args:
      features: `(batch, h, w, channels)`, of any size.
      bins: the number of regions per side.

    Returns:
      `(batch, bins, bins, channels)`.
    """
    size = tf.shape(features)
    rows, columns = (_shares(bins, size[axis], features.dtype) for axis in (1, 2))
    batch, height, width, channels = size[0], size[1], size[2], features.shape[3]
    x = tf.matmul(rows, tf.reshape(features, [batch, height, width * channels]))
    return tf.matmul(columns, tf.reshape(x, [batch, bins, width, channels]))


def _shares(bins: int, length, dtype) -> tf.Tensor:
    """Returns the weight of every pixel in the mean of each region, `(bins, length)`."""
    region = tf.range(bins)[:, tf.newaxis]
    place = tf.range(length)[tf.newaxis]
    first, end = region * length // bins, -(-(region + 1) * length // bins)
    inside = tf.cast((first <= place) & (place < end), tf.float32)
    return tf.cast(inside / tf.reduce_sum(inside, axis=1, keepdims=True), dtype)
