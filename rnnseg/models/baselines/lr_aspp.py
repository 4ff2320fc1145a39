"""LR-ASPP: an image-level gate on the deepest features, and classes from shallow ones, too."""

from typing import Any

import keras
import tensorflow as tf

from rnnseg.models import geometry
from rnnseg.models.baselines.feed_forward import ConvBlock, LowLevelSegmenter
from rnnseg.models.inspection import InspectedLayer
from rnnseg.models.options import LRASPPOptions


@keras.saving.register_keras_serializable("rnnseg")
class LRASPP(LowLevelSegmenter):
    """LR-ASPP (Howard et al., 2019, "Searching for MobileNetV3", section 6.3).

    The deepest features go through a 1x1 convolution, 128 wide, and are multiplied by a gate per
    channel: a 1x1 convolution and a sigmoid of their mean over the image. The product is upsampled
    to the features at stride 8. The logits are the sum of a 1x1 convolution of each of the two.

    The paper pools over windows of 49x49 features with a stride of (16, 20). Published
    implementations, such as torchvision's, take the mean over the whole image, and so does this.

    Args:
      num_classes: the number of classes.
      **options: as `rnnseg.models.base.SegmentationModel`, and fields of
        `rnnseg.models.options.LRASPPOptions`.
    """

    options_type = LRASPPOptions
    low_level_stride = 8

    def __init__(self, num_classes: int, *, name: str = "lr_aspp", **options: Any) -> None:
        super().__init__(num_classes, name=name, **options)

    def _build_head(self):
        low, deepest = self._low_and_deepest()
        return _Head(
            self.num_classes,
            self.head_channels,
            deepest.stride // low.stride,
            self._kernel_regularizer,
            dtype=self.dtype_policy,
            name="head",
        )


class _Head(InspectedLayer):
    def __init__(self, num_classes, channels, factor, kernel_regularizer, **kwargs):
        super().__init__(**kwargs)
        options = dict(kernel_regularizer=kernel_regularizer, dtype=self.dtype_policy)
        self.channels = channels
        self._factor = factor
        self.near = ConvBlock(channels, name="near", **options)
        self.gate = keras.layers.Conv2D(
            channels, 1, use_bias=False, activation="sigmoid", name="gate", **options
        )
        self.classify_low = keras.layers.Conv2D(num_classes, 1, name="classify_low", **options)
        self.classify = keras.layers.Conv2D(num_classes, 1, name="classify", **options)

    def build(self, low_shape, features_shape):
        self.near.build(features_shape)
        self.gate.build(features_shape)
        self.classify_low.build(low_shape)
        self.classify.build((*features_shape[:-1], self.channels))
        self.built = True

    def call(self, low, features, training=False):
        gate = self.gate(tf.reduce_mean(features, [1, 2], keepdims=True))
        x = geometry.spread(self.near(features, training=training) * gate, self._factor)
        return self.classify(x) + self.classify_low(low)
