"""FCN: scores of several depths, summed on the way up."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from rnnseg.models import geometry
from rnnseg.models.baselines.feed_forward import SkipSegmenter
from rnnseg.models.inspection import InspectedLayer
from rnnseg.models.options import FCNOptions


@keras.saving.register_keras_serializable("rnnseg")
class FCN(SkipSegmenter):
    """FCN (Long et al., 2015, "Fully Convolutional Networks for Semantic Segmentation").

    A 1x1 convolution of the features of every depth gives scores of the classes. Those of the
    deepest are upsampled to the next finer ones and added to them, and so on to the finest, which
    are the canvas. `canvas_stride` is the stride of the finest scores, and makes FCN-32s (with
    `output_stride=32`), FCN-16s or FCN-8s, the default. As published, the output stride is 32. At
    smaller ones, where the encoder is atrous, the scores are of the same layers.

    Kept: the score layers of the last layers at strides 8, 16 and 32 of the encoder, the sum on the
    way up, and scores of shallow features that are zero at first, so that training starts from the
    coarse answer.

    Left out: the layers fc6 and fc7, 4096 wide, and their dropout, which are those of the VGG
    network for ImageNet; the encoders here have no such layers. The upsampling between scores is
    bilinear and fixed, with aligned corners, where the published one was bilinear at first and
    trained. It is trained at once rather than in three stages.

    Args:
      num_classes: the number of classes.
      **options: as `rnnseg.models.base.SegmentationModel`, and fields of
        `rnnseg.models.options.FCNOptions`.
    """

    options_type = FCNOptions

    def __init__(self, num_classes: int, *, name: str = "fcn", **options: Any) -> None:
        super().__init__(num_classes, name=name, **options)

    def _build_head(self):
        return ScoreSum(
            self.num_classes,
            [depth.stride for depth in self.encoder.depths],
            self.canvas_stride,
            self._kernel_regularizer,
            dtype=self.dtype_policy,
            name="head",
        )


class ScoreSum(InspectedLayer):
    """Scores of the features of several depths, each upsampled to the next finer and added.

    Args:
      num_classes: the number of classes.
      strides: the strides of the features, in input pixels, from the shallowest.
      canvas_stride: that of the result, at most the finest of them.
      kernel_regularizer: the Keras regularizer of the kernels.
    """

    def __init__(
        self,
        num_classes: int,
        strides: Sequence[int],
        canvas_stride: int,
        kernel_regularizer: keras.Regularizer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._strides = [canvas_stride, *strides]
        *skips, _ = range(len(strides))
        self.scores = [
            keras.layers.Conv2D(
                num_classes,
                1,
                kernel_initializer="zeros" if number in skips else "glorot_uniform",
                kernel_regularizer=kernel_regularizer,
                dtype=self.dtype_policy,
                name=f"classify_{number}" if number in skips else "classify",
            )
            for number in range(len(strides))
        ]

    def build(self, shapes: Sequence[Sequence[int | None]]) -> None:
        """Creates the kernels for features of shapes `(batch, h, w, channels)`."""
        for layer, shape in zip(self.scores, shapes, strict=True):
            layer.build(shape)
        self.built = True

    def call(self, features: Sequence[tf.Tensor], training: bool = False) -> tf.Tensor:
        """Computes `(batch, h, w, classes)` at the canvas stride.

        Args:
          features: those of all depths, from the shallowest, `(batch, h, w, channels)` each.
          training: not used; scores are the same in training.
        """
        summed = None
        for number in reversed(range(len(features))):
            scores = self.scores[number](features[number])
            summed = scores if summed is None else summed + scores
            finer, own = self._strides[number : number + 2]
            summed = geometry.spread(summed, own // finer)
        return summed
