"""DeepLabv3: atrous spatial pyramid pooling."""

from typing import Any

import keras

from rnnseg.models.baselines.atrous_pyramid import AtrousPyramid
from rnnseg.models.baselines.feed_forward import FeedForwardSegmenter
from rnnseg.models.options import DeepLabV3Options


@keras.saving.register_keras_serializable("rnnseg")
class DeepLabV3(FeedForwardSegmenter):
    """DeepLabv3 (Chen et al., 2017).

    From "Rethinking Atrous Convolution for Semantic Image Segmentation". The head has the parallel
    branches of `rnnseg.models.baselines.atrous_pyramid.AtrousPyramid`, each with 256 channels
    unless `head_channels` says otherwise. A 1x1 convolution over all branches and another one
    compute the logits.

    Args:
      num_classes: the number of classes.
      **options: as `rnnseg.models.base.SegmentationModel`, and fields of
        `rnnseg.models.options.DeepLabV3Options`.
    """

    options_type = DeepLabV3Options

    def __init__(self, num_classes: int, *, name: str = "deeplabv3", **options: Any) -> None:
        super().__init__(num_classes, name=name, **options)

    def _build_head(self):
        return _Head(
            self.num_classes,
            self.head_channels,
            self.output_stride,
            self._kernel_regularizer,
            dtype=self.dtype_policy,
            name="head",
        )


class _Head(AtrousPyramid):
    # No layer around the pyramid: saved models have its weights at the top of the head.
    def __init__(self, num_classes, channels, output_stride, kernel_regularizer, **kwargs):
        super().__init__(channels, output_stride, kernel_regularizer, **kwargs)
        self.classify = keras.layers.Conv2D(
            num_classes,
            1,
            kernel_regularizer=kernel_regularizer,
            dtype=self.dtype_policy,
            name="classify",
        )

    def build(self, features_shape):
        super().build(features_shape)
        self.classify.build((*features_shape[:-1], self.channels))

    def call(self, features, training=False):
        return self.classify(super().call(features, training))
