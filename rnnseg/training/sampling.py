"""Training on some patches of every image instead of the whole image."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from rnnseg.data.sharing import WHOLE, Share
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError
from rnnseg.grid import canvas_size
from rnnseg.models.encoder import MEAN, Features
from rnnseg.models.recurrent import RecurrentSegmenter


class SampledImages(NamedTuple):
    """Images, and the patches of them to train on.

    A patch is a square of image pixels with the side of one canvas stride. Its logits follow from
    the four canvas pixels at its corners. With 1x1 kernels, no other canvas pixel is involved.

    Attributes:
      images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`.
      patches: row and column of each patch's first corner on the canvas, int32, `(batch, patches,
        2)`.
    """

    images: tf.Tensor
    patches: tf.Tensor


class SampledFeatures(NamedTuple):
    """The features of patches of any images to train on, encoded before.

    Such a patch is a square of image pixels with the side of one output stride. Its canvas pixels
    take the features at its corners and between them: with 1x1 kernels, no others are involved.

    Attributes:
      features: by the names of their layers, those of every depth, `(patches, n, n, channels)` with
        `n = output_stride / stride + 1`; and the mean of the deepest ones of the whole image, as
        `MEAN`, `(patches, 1, 1, channels)`.
    """

    features: Features


class TaughtLabels(NamedTuple):
    """The labels of `SampledFeatures`, and what a teacher says of the same patches.

    Attributes:
      labels: class indices or `IGNORE_LABEL` at the canvas pixels, `(patches, n, n)` with `n =
        output_stride / canvas_stride + 1`.
      scores: the teacher's logits there, `(patches, n, n, classes)`.
    """

    labels: tf.Tensor
    scores: tf.Tensor


@keras.saving.register_keras_serializable("rnnseg")
class SampledSegmenter(RecurrentSegmenter):
    """A `RecurrentSegmenter` that can also be trained on patches.

    The encoder, the context and `prepare` see the whole image. The loop runs only on the canvas
    pixels at the corners of the patches. Everything else is inherited, and a saved model can be
    used like any other.

    Raises:
      UserError: the kernels are larger than 1 and would need the neighbours of these canvas pixels.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.stack.kernel_size > 1:
            raise UserError(
                f"kernel_size={self.stack.kernel_size}: patches can only be sampled with kernels "
                "of 1, which keep canvas pixels independent; train on whole images"
            )

    def call(
        self,
        images: Any,
        iterations: int | tf.Tensor | None = None,
        canvas: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Segments images of one size, or patches of them.

        Args:
          images: as in `RecurrentSegmenter.call`, or `SampledImages`, or `SampledFeatures`.
          iterations: as in `RecurrentSegmenter.call`.
          canvas: as in `RecurrentSegmenter.call`.
          training: as in `RecurrentSegmenter.call`.

        Returns:
          For images, the result of `RecurrentSegmenter.call`. For `SampledImages`, the logits of
          the patches, one below the other, `(batch, patches * canvas_stride, canvas_stride,
          classes)`. For `SampledFeatures`, those of the canvas pixels of its patches, `(patches, n,
          n, classes)`, as in `TaughtLabels`.
        """
        if not isinstance(images, (SampledImages, SampledFeatures)):
            return super().call(images, iterations, canvas, training)
        iterations = self.iterations if iterations is None else iterations
        if isinstance(images, SampledFeatures):
            stages = self.encoder.stages[: self.stages_for(iterations)]
            features = images.features
            prepared = self._prepared_of(
                [
                    {name: features[name] for name in (*each, MEAN) if name in features}
                    for each in stages
                ]
            )
            return self._outputs(self._canvases_of_call(prepared, iterations, canvas, training))
        images, patches = images
        prepared = self._prepared(images, self.stages_for(iterations), training)
        prepared = [_at_corners(each, patches) for each in prepared]
        canvases = self._canvases_of_call(prepared, iterations, canvas, training)
        return self._outputs([self._patch_logits(each, patches) for each in canvases])

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Computes the loss; for `TaughtLabels`, of a model compiled with a `DistillationLoss`."""
        if not isinstance(y, TaughtLabels):
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        loss = super().compute_loss(x, y.labels, y_pred, sample_weight, training)
        answers, weights = (y_pred,), [1.0]
        if isinstance(y_pred, tuple):
            answers, weights = y_pred, self.logits_weights
        for weight, logits in zip(weights, answers, strict=True):
            loss += weight / sum(weights) * self.loss.of_scores(y.scores, logits)
        return loss

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, tf.Tensor]:
        """Computes the compiled metrics of the last answer."""
        labels = y.labels if isinstance(y, TaughtLabels) else y
        return super().compute_metrics(x, labels, y_pred, sample_weight)

    def look_at_range(self, images: Any) -> None:
        """Warns once of images that were normalized before; see `RecurrentSegmenter`."""
        if isinstance(images, SampledImages):
            images = images.images
        if not isinstance(images, SampledFeatures):
            super().look_at_range(images)

    def _patch_logits(self, canvas, patches):
        """Computes the logits of patches, one below the other, from the canvas at their corners."""
        side = self.canvas_stride
        logits = self.logits(canvas, (side, side))
        height = tf.shape(patches)[1] * side
        logits = tf.reshape(logits, (tf.shape(patches)[0], height, side, self.num_classes))
        return tf.ensure_shape(logits, (patches.shape[0], None, side, self.num_classes))


def _at_corners(prepared, patches) -> tf.Tensor:
    """Gathers canvas pixels at the corners of patches, `(batch * patches, 2, 2, channels)`."""
    corners = patches[:, :, tf.newaxis] + tf.constant([(0, 0), (0, 1), (1, 0), (1, 1)])
    prepared = tf.gather_nd(prepared, corners, batch_dims=1)
    return tf.reshape(prepared, (-1, 2, 2, prepared.shape[-1]))


def sampled_batches(
    batches: tf.data.Dataset,
    count: int,
    stride: int,
    first_step: int = 0,
    seed: int | None = None,
    share: Share = WHOLE,
) -> tf.data.Dataset:
    """Makes batches for training on sampled patches with `model.fit`.

    The choice depends only on `seed` and the number of the step. A run that is resumed at step 700
    thus chooses the same patches as a run that was never interrupted.

    Args:
      batches: the data set of `(images, labels)`, as from `rnnseg.data.pipeline.training_batches`.
      count: the number of patches per image.
      stride: the model's canvas stride, in pixels.
      first_step: the number of the first batch.
      seed: the seed, with which the choice is the same in every run; None: runs differ.
      share: the worker's share of every batch. Its images have the patches that they have where a
        worker is alone.

    Returns:
      A data set of `(SampledImages, labels)`, with labels as from `sample_patches`.
    """
    base_seed = int(np.random.default_rng(seed).integers(2**31))

    def sample(step, batch):
        images, labels = batch
        patches, labels = sample_patches(labels, count, stride, tf.stack([base_seed, step]), share)
        return SampledImages(images, patches), labels

    return (
        batches.enumerate(first_step)
        .map(sample, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def sample_patches(
    labels: tf.Tensor, count: int, stride: int, seed: tf.Tensor, share: Share = WHOLE
) -> tuple[tf.Tensor, tf.Tensor]:
    """Chooses patches at random without repetition, preferring patches with a label.

    Every pixel lies in one patch, except for the last row and column of an image of `k * stride +
    1` pixels, where the grid ends.

    Args:
      labels: class indices or `IGNORE_LABEL`, `(batch, H, W)`.
      count: the number of patches per image; all of them if there are fewer.
      stride: the canvas stride, in pixels.
      seed: two integers that determine the choice.
      share: the worker's share, which the labels are, of a batch.

    Returns:
      The patches, as in `SampledImages`, and their labels, one patch below the other, `(batch,
      patches * stride, stride)`. Pixels beyond the image get `IGNORE_LABEL`.
    """
    batch, height, width = tf.unstack(tf.shape(labels))
    rows, columns = canvas_size(height, stride) - 1, canvas_size(width, stride) - 1
    labels = labels[:, : rows * stride, : columns * stride]
    bottom = tf.maximum(rows * stride - height, 0)
    right = tf.maximum(columns * stride - width, 0)
    labels = tf.pad(labels, [[0, 0], [0, bottom], [0, right]], constant_values=IGNORE_LABEL)
    blocks = tf.nn.space_to_depth(labels[..., tf.newaxis], stride)
    blocks = tf.reshape(blocks, (batch, rows * columns, stride**2))
    order = tf.random.stateless_uniform((share.count * batch, rows * columns), seed)
    order = order[share.index * batch : (share.index + 1) * batch]
    order += tf.cast(tf.reduce_any(blocks != IGNORE_LABEL, axis=-1), order.dtype)
    chosen = tf.math.top_k(order, tf.minimum(count, rows * columns), sorted=False).indices
    patches = tf.stack([chosen // columns, chosen % columns], axis=-1)
    labels = tf.gather(blocks, chosen, batch_dims=1)
    return patches, tf.reshape(labels, (batch, tf.shape(patches)[1] * stride, stride))
