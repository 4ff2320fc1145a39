"""DeepLabv3: atrous spatial pyramid pooling."""

import keras
import tensorflow as tf

from rnnseg.models.baselines.feed_forward import ConvBlock, FeedForwardSegmenter
from rnnseg.models.context import atrous_rates, run_branches
from rnnseg.models.options import DeepLabV3Options

_RATES = (6, 12, 18)
_DROPOUT = 0.1


@keras.saving.register_keras_serializable("rnnseg")
class DeepLabV3(FeedForwardSegmenter):
    """DeepLabv3 (Chen et al., 2017).

    From "Rethinking Atrous Convolution for Semantic Image Segmentation". The head has parallel
    branches: a 1x1 convolution, three 3x3 convolutions with rates 6, 12 and 18 at output stride 16
    (doubled at 8, halved at 32), and the mean of all features, each with 256 channels. A 1x1
    convolution over all branches and another one compute the logits.

    Args:
      num_classes: the number of classes.
      **options: as `rnnseg.models.base.SegmentationModel`, and fields of
        `rnnseg.models.options.DeepLabV3Options`.
    """

    options_type = DeepLabV3Options

    def __init__(self, num_classes: int, *, name: str = "deeplabv3", **options):
        super().__init__(num_classes, name=name, **options)

    def _build_head(self):
        rates = atrous_rates(_RATES, self.output_stride)
        return _AtrousPyramid(
            self.num_classes,
            self.head_channels,
            rates,
            self._kernel_regularizer,
            dtype=self.dtype_policy,
            name="head",
        )


class _AtrousPyramid(keras.layers.Layer):
    def __init__(self, num_classes, channels, rates, kernel_regularizer, **kwargs):
        super().__init__(**kwargs)
        options = dict(kernel_regularizer=kernel_regularizer, dtype=self.dtype_policy)
        self.channels = channels
        self.branches = [ConvBlock(channels, name="branch_1x1", **options)]
        self.branches += [
            ConvBlock(channels, 3, rate, name=f"branch_{number}", **options)
            for number, rate in enumerate(rates, start=1)
        ]
        # One value per image and channel: too few for the statistics of a small batch.
        self.image_level = ConvBlock(channels, batch_norm=False, name="image_level", **options)
        self.project = ConvBlock(channels, name="project", **options)
        self.dropout = keras.layers.Dropout(_DROPOUT, dtype=self.dtype_policy)
        self.classify = keras.layers.Conv2D(num_classes, 1, name="classify", **options)

    def build(self, features_shape):
        for branch in (*self.branches, self.image_level):
            branch.build(features_shape)
        place = features_shape[:-1]
        self.project.build((*place, (len(self.branches) + 1) * self.channels))
        self.classify.build((*place, self.channels))
        self.built = True

    def call(self, features, training=False):
        seen = run_branches(features, self.branches, self.image_level, training=training)
        x = self.project(tf.concat(seen, axis=-1), training=training)
        return self.classify(self.dropout(x, training=training))
