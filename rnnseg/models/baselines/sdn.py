"""SDN: stacked units that go down to coarse features and up again."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnnseg.errors import UserError
from rnnseg.models import geometry
from rnnseg.models.baselines.feed_forward import ConvBlock, SkipSegmenter
from rnnseg.models.inspection import InspectedLayer
from rnnseg.models.options import SDNOptions
from rnnseg.models.supervision import SupervisedSegmenter

# Every level below the finest is wider by this factor: 576, 768 and 1024 as published.
_WIDER = 4 / 3
# New channels of each convolution in a block, of those of the finest level: 48 of 576.
_GROWTH = 1 / 12
_CONVOLUTIONS = 2


@keras.saving.register_keras_serializable("rnnseg")
class SDN(SupervisedSegmenter, SkipSegmenter):
    """SDN (Fu et al., 2017, "Stacked Deconvolutional Network for Semantic Segmentation").

    Units go up from coarse features to fine ones: the first from those of the encoder, every
    further one after it has come down again from the fine features of the unit before. At each
    level of the way up there is a map of scores, to which that of the unit before is added. The
    finest map of the last unit is the canvas; in training, all maps have a loss, of equal weight.

    Kept: blocks of convolutions each of which sees all those before it (intra-unit connections), 48
    new channels each, ended by a 3x3 convolution to 576, 768 or 1024 channels (at strides 4, 8
    and 16); max pooling on the way down and deconvolution on the way up; on the way down the
    features of the unit before, and on the way up those of the encoder, at the same level
    (inter-unit connections); scores by 3x3 convolutions, added from unit to unit and supervised.
    The name SDN+ stands for the same network after training on COCO.

    Changed: the encoder, which was a DenseNet-161. Kernels of pooling and deconvolution have an odd
    side, 3, so that features lie on the pixels of the image. Blocks have two convolutions at
    every level.

    Args:
      num_classes: the number of classes.
      **options: as `rnnseg.models.base.SegmentationModel`, and fields of
        `rnnseg.models.options.SDNOptions`.

    Raises:
      UserError: skip layers whose strides do not halve from one to the next.
    """

    options_type = SDNOptions

    def __init__(self, num_classes: int, *, name: str = "sdn", **options: Any) -> None:
        super().__init__(num_classes, name=name, **options)

    @property
    def logits_weights(self) -> tuple[float, ...]:
        """One for the scores of every unit and level."""
        return (1.0,) * len(self.head.scores)

    def _depths(self):
        options = self.options
        stride = options.canvas_stride
        strides = [each for each in self.skip_strides if stride <= each < options.output_stride]
        return stride, dict(skip_layers=options.skip_layers, skip_strides=strides)

    def _build_head(self):
        return _Units(
            self.num_classes,
            self.options.units,
            self.head_channels,
            [depth.stride for depth in self.encoder.depths],
            self.canvas_stride,
            self._kernel_regularizer,
            dtype=self.dtype_policy,
            name="head",
        )

    def call(
        self,
        images: np.ndarray | tf.Tensor,
        iterations: int | tf.Tensor = 1,
        canvas: np.ndarray | tf.Tensor | None = None,
        training: bool = False,
    ) -> Any:
        """Segments images of one size; see `FeedForwardSegmenter.call`."""
        if not self._in_loss.active:
            return super().call(images, iterations, canvas, training)
        features = self.encode(images, training=training)
        seen = [features[depth.name] for depth in self.encoder.depths]
        maps = self.head.score_maps(seen, training)
        return self._outputs(
            [self.sized_logits(tf.cast(scores, tf.float32), images) for scores in maps]
        )


class _Units(InspectedLayer):
    """All units, from the features of all depths to scores at the canvas stride."""

    def __init__(
        self, num_classes, units, channels, strides, canvas_stride, kernel_regularizer, **kwargs
    ):
        super().__init__(**kwargs)
        self._strides = strides
        self._canvas_stride = canvas_stride
        steps = [coarse // fine for fine, coarse in zip(strides, strides[1:], strict=False)]
        if not set(steps) <= {1, 2}:
            raise UserError(
                f"strides {', '.join(map(str, strides))} of the skip layers and the deepest "
                "features: sdn expects each to be twice the one before"
            )
        levels = len(strides)
        self.widths = [round(channels * _WIDER**level) for level in range(levels)]
        growth = max(1, round(channels * _GROWTH))
        shared = dict(kernel_regularizer=kernel_regularizer, dtype=self.dtype_policy)
        self.start = ConvBlock(self.widths[-1], 3, name="start", **shared)
        self.down = [
            [
                _Block(growth, self.widths[level], name=f"down_{unit}_{level}", **shared)
                for level in range(1, levels)
            ]
            for unit in range(2, units + 1)
        ]
        self.up = [
            [
                _UpBlock(
                    growth, self.widths[level], steps[level], name=f"up_{unit}_{level}", **shared
                )
                for level in range(levels - 1)
            ]
            for unit in range(1, units + 1)
        ]
        self._steps = steps
        # Of every unit from its coarsest level to the finest; without skip layers, of the start.
        self._supervised = list(reversed(range(levels - 1))) or [0]
        self.scores = [
            keras.layers.Conv2D(
                num_classes, 3, padding="same", name=f"classify_{unit}_{level}", **shared
            )
            for unit in range(1, units + 1)
            for level in self._supervised
        ]

    def build(self, shapes):
        """Creates all weights for features of shapes `(batch, h, w, channels)`."""
        place = (None, None, None)
        skips = [shape[-1] for shape in shapes]
        self.start.build(shapes[-1])
        for number, unit in enumerate(self.up):
            for level, block in enumerate(unit):
                block.build((*place, self.widths[level + 1]), (*place, skips[level]))
            if number:
                for level, block in enumerate(self.down[number - 1], start=1):
                    block.build((*place, self.widths[level - 1] + self.widths[level]))
        for number, layer in enumerate(self.scores):
            level = self._supervised[number % len(self._supervised)]
            layer.build((*place, self.widths[level]))
        self.built = True

    def call(self, features, training=False):
        """Computes the last scores, `(batch, h, w, classes)`, from the features of all depths."""
        finest = self._supervised[-1]
        every = self._features(features, training)
        of_finest = self.scores[len(self._supervised) - 1 :: len(self._supervised)]
        last = sum(layer(seen[finest]) for layer, seen in zip(of_finest, every, strict=True))
        return self._on_canvas(last, finest)

    def score_maps(self, features, training=False) -> list[tf.Tensor]:
        """Computes the scores of all units and levels, at the canvas stride, the last one last.

        Args:
          features: those of all depths, from the shallowest, `(batch, h, w, channels)` each.
          training: True if batch norm is in training mode.
        """
        classify = iter(self.scores)
        sums, maps = dict.fromkeys(self._supervised, 0), []
        for seen in self._features(features, training):
            for level in self._supervised:
                sums[level] += next(classify)(seen[level])
                maps.append(self._on_canvas(sums[level], level))
        return maps

    def _on_canvas(self, scores, level):
        return geometry.spread(scores, self._strides[level] // self._canvas_stride)

    def _features(self, features, training) -> list[list[tf.Tensor]]:
        """Returns the features of every unit after its way up, from the finest level."""
        seen = [*features[:-1], self.start(features[-1], training=training)]
        every = []
        for number, unit in enumerate(self.up):
            if number:
                x = seen[0]
                for level, block in enumerate(self.down[number - 1], start=1):
                    x = tf.concat([_pool(x, self._steps[level - 1]), seen[level]], -1)
                    seen[level] = x = block(x, training=training)
            for level in reversed(range(len(unit))):
                seen[level] = unit[level](seen[level + 1], features[level], training=training)
            every.append(list(seen))
        return every


class _Block(InspectedLayer):
    """Convolutions that each see all before them, and a 3x3 convolution of them all."""

    def __init__(self, growth, width, kernel_regularizer=None, **kwargs):
        super().__init__(**kwargs)
        options = dict(kernel_regularizer=kernel_regularizer, dtype=self.dtype_policy)
        self.growth = growth
        self.convolutions = [
            ConvBlock(growth, 3, name=f"convolution_{number}", **options)
            for number in range(_CONVOLUTIONS)
        ]
        self.compress = ConvBlock(width, 3, name="compress", **options)

    def build(self, shape):
        *place, channels = shape
        for number, layer in enumerate((*self.convolutions, self.compress)):
            layer.build((*place, channels + number * self.growth))
        self.built = True

    def call(self, x, training=False):
        for layer in self.convolutions:
            x = tf.concat([x, layer(x, training=training)], -1)
        return self.compress(x, training=training)


class _UpBlock(InspectedLayer):
    """A deconvolution, and a block that also sees features of the finer level."""

    def __init__(self, growth, width, step, kernel_regularizer=None, **kwargs):
        super().__init__(**kwargs)
        options = dict(kernel_regularizer=kernel_regularizer, dtype=self.dtype_policy)
        self._step = step
        self._regularizer = kernel_regularizer
        self.block = _Block(growth, width, name="block", **options)

    def build(self, coarse_shape, fine_shape):
        channels = coarse_shape[-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(3, 3, channels, channels),
            initializer="he_normal",
            regularizer=self._regularizer,
        )
        self.block.build((*fine_shape[:-1], channels + fine_shape[-1]))
        self.built = True

    def call(self, coarse, fine, training=False):
        # As many pixels as the finer level: k steps become 2 k, between the same corners.
        size = tf.concat([tf.shape(fine)[:3], tf.shape(coarse)[3:]], 0)
        kernel = tf.cast(self.kernel, coarse.dtype)
        x = tf.nn.conv2d_transpose(coarse, kernel, size, self._step, "SAME")
        x = tf.ensure_shape(x, (*fine.shape[:3], coarse.shape[3]))
        return self.block(tf.concat([x, fine], -1), training=training)


def _pool(x, step):
    """Takes the largest of 3x3 pixels around every second one, or around all of them."""
    return tf.nn.max_pool2d(x, 3, step, "SAME") if step > 1 else x
