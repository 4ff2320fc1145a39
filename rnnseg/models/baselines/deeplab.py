"""DeepLab, version 2: scores of an atrous pyramid, and a conditional random field on them."""

from typing import Any

import keras

from rnnseg.models import geometry
from rnnseg.models.baselines.crf import CRFSegmenter
from rnnseg.models.inspection import InspectedLayer
from rnnseg.models.mean_field import Widths
from rnnseg.models.options import DeepLabOptions

# At output stride 8.
_RATES = (6, 12, 18, 24)


@keras.saving.register_keras_serializable("rnnseg")
class DeepLab(CRFSegmenter):
    """DeepLab, version 2 (Chen et al., 2017, "DeepLab: Semantic Image Segmentation with ...").

    Four 3x3 convolutions of the features give scores of the classes, with rates of 6, 12, 18 and 24
    at output stride 8 (halved at 16), and their sum is the answer of the network: DeepLab-ASPP-L
    with a ResNet. A conditional random field improves it by mean-field inference
    (`rnnseg.models.mean_field.MeanField`). It has no part in the training: the loss is taken on the
    scores. The first iteration gives the scores, iterations 2 to 11 are the ten steps of inference
    of the published system, and any other number can be run.

    Kept: the pyramid; the kernels of the field, with widths of 67 pixels, 3 units of colour and 1
    pixel and weights of 4 and 3, as in the script that came with the published models.

    Changed: the kernels see a window of the canvas at stride 4, to which the scores are upsampled,
    instead of the whole image. Left out: features of the image at three scales, of which the
    largest scores count (evaluate at several scales for something like it).

    Args:
      num_classes: the number of classes.
      **options: as `rnnseg.models.base.SegmentationModel`, and fields of
        `rnnseg.models.options.DeepLabOptions`.
    """

    options_type = DeepLabOptions
    widths = Widths(far=67, color=3, near=1)
    appearance_weight = 4
    smoothness_weight = 3
    trains_field = False

    def __init__(self, num_classes: int, *, name: str = "deeplab", **options: Any) -> None:
        super().__init__(num_classes, name=name, **options)

    def _depths(self):
        return self.options.canvas_stride, {}

    def _config_at(self, config, output_stride):
        stride = min(self.canvas_stride, output_stride)
        return super()._config_at(config, output_stride) | {"canvas_stride": stride}

    def _build_head(self):
        return _ScorePyramid(
            self.num_classes,
            self.output_stride,
            self.canvas_stride,
            self._kernel_regularizer,
            dtype=self.dtype_policy,
            name="head",
        )


class _ScorePyramid(InspectedLayer):
    def __init__(self, num_classes, output_stride, canvas_stride, kernel_regularizer, **kwargs):
        super().__init__(**kwargs)
        self._factor = output_stride // canvas_stride
        self.scores = [
            keras.layers.Conv2D(
                num_classes,
                3,
                padding="same",
                dilation_rate=max(1, 8 * rate // output_stride),
                kernel_regularizer=kernel_regularizer,
                dtype=self.dtype_policy,
                name=f"classify_{number}",
            )
            for number, rate in enumerate(_RATES, start=1)
        ]

    def build(self, features_shape):
        for layer in self.scores:
            layer.build(features_shape)
        self.built = True

    def call(self, features, training=False):
        first, *others = (layer(features) for layer in self.scores)
        return geometry.spread(sum(others, first), self._factor)
