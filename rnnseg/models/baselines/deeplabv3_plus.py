"""DeepLabv3+: atrous spatial pyramid pooling, and a decoder that sees shallow features."""

from typing import Any

import keras
import tensorflow as tf

from rnnseg.models import geometry
from rnnseg.models.baselines.atrous_pyramid import AtrousPyramid
from rnnseg.models.baselines.feed_forward import ConvBlock, LowLevelSegmenter, SeparableBlock
from rnnseg.models.inspection import InspectedLayer
from rnnseg.models.options import DeepLabV3PlusOptions

_LOW_LEVEL_CHANNELS = 48


@keras.saving.register_keras_serializable("rnnseg")
class DeepLabV3Plus(LowLevelSegmenter):
    """DeepLabv3+ (Chen et al., 2018).

    From "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation". The
    result of `rnnseg.models.baselines.atrous_pyramid.AtrousPyramid` is upsampled to the features at
    stride 4 and concatenated with these, which a 1x1 convolution reduces to 48 channels. Two 3x3
    convolutions of 256 channels (unless `head_channels` says otherwise) and a 1x1 convolution
    compute the logits.

    The 3x3 convolutions of pyramid and decoder are depthwise separable, the atrous separable
    convolutions that the paper is named after. With plain ones the decoder would cost several times
    as much as a small encoder.

    Args:
      num_classes: the number of classes.
      **options: as `rnnseg.models.base.SegmentationModel`, and fields of
        `rnnseg.models.options.DeepLabV3PlusOptions`.
    """

    options_type = DeepLabV3PlusOptions
    low_level_stride = 4

    def __init__(self, num_classes: int, *, name: str = "deeplabv3_plus", **options: Any) -> None:
        super().__init__(num_classes, name=name, **options)

    def _build_head(self):
        low, deepest = self._low_and_deepest()
        return _Head(
            self.num_classes,
            self.head_channels,
            low.stride,
            deepest.stride,
            self._kernel_regularizer,
            dtype=self.dtype_policy,
            name="head",
        )


class _Head(InspectedLayer):
    def __init__(
        self, num_classes, channels, low_stride, output_stride, kernel_regularizer, **kwargs
    ):
        super().__init__(**kwargs)
        options = dict(kernel_regularizer=kernel_regularizer, dtype=self.dtype_policy)
        self.channels = channels
        self._factor = output_stride // low_stride
        self.pyramid = AtrousPyramid(
            channels, output_stride, separable=True, name="pyramid", **options
        )
        self.reduce = ConvBlock(_LOW_LEVEL_CHANNELS, name="reduce", **options)
        self.refine = [
            SeparableBlock(channels, name=f"refine_{number}", **options) for number in (1, 2)
        ]
        self.classify = keras.layers.Conv2D(num_classes, 1, name="classify", **options)

    def build(self, low_shape, features_shape):
        *place, _ = features_shape
        self.pyramid.build(features_shape)
        self.reduce.build(low_shape)
        self.refine[0].build((*place, self.channels + _LOW_LEVEL_CHANNELS))
        self.refine[1].build((*place, self.channels))
        self.classify.build((*place, self.channels))
        self.built = True

    def call(self, low, features, training=False):
        x = geometry.spread(self.pyramid(features, training=training), self._factor)
        x = tf.concat([x, self.reduce(low, training=training)], axis=-1)
        for block in self.refine:
            x = block(x, training=training)
        return self.classify(x)
