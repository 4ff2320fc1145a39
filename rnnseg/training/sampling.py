"""Training on some cells of every image instead of all of it."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rnnseg.data.source import IGNORE_LABEL
from rnnseg.models.geometry import canvas_size


class SampledImages(NamedTuple):
    """Images of which only some cells are to be segmented.

    A cell is a square of image pixels, one output stride a side, whose logits follow from the
    four canvas pixels at its corners. With 1x1 kernels no other canvas pixel plays a part.

    Attributes:
      images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`.
      cells: row and column of each cell's first corner on the canvas, int32, `(batch, cells, 2)`.
    """

    images: tf.Tensor
    cells: tf.Tensor


def sampled_batches(
    batches: tf.data.Dataset, count: int, stride: int, first_step: int = 0, seed: int | None = None
) -> tf.data.Dataset:
    """Batches for training on sampled cells, for `model.fit`.

    The choice follows from `seed` and the number of the step alone, so that a training that goes on
    at step 700 chooses what it would have chosen.

    Args:
      batches: of `(images, labels)`, as from `rnnseg.data.pipeline.training_batches`.
      count: cells per image.
      stride: the model's output stride, in pixels.
      first_step: the number of the first batch.
      seed: makes the choice the same at every run.

    Returns:
      The data set of `(SampledImages, labels)`, labels as from `sample_cells`.
    """
    base_seed = int(np.random.default_rng(seed).integers(2**31))

    def sample(step, batch):
        images, labels = batch
        cells, labels = sample_cells(labels, count, stride, tf.stack([base_seed, step]))
        return SampledImages(images, cells), labels

    return (
        batches.enumerate(first_step)
        .map(sample, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def sample_cells(labels, count: int, stride: int, seed) -> tuple[tf.Tensor, tf.Tensor]:
    """Chooses cells at random, those with a label first, none twice.

    Every pixel lies in one cell, but for the last row and column of an image of `k * stride + 1`
    pixels, where the grid ends.

    Args:
      labels: class indices or `IGNORE_LABEL`, `(batch, H, W)`.
      count: cells per image; of fewer all are taken.
      stride: output stride, in pixels.
      seed: two integers that decide the choice.

    Returns:
      The cells, as in `SampledImages`, and their labels, one cell below the other, `(batch, cells
      * stride, stride)`; what lies beyond the image has `IGNORE_LABEL`.
    """
    batch, height, width = tf.unstack(tf.shape(labels))
    rows, columns = canvas_size(height, stride) - 1, canvas_size(width, stride) - 1
    labels = labels[:, : rows * stride, : columns * stride]
    bottom = tf.maximum(rows * stride - height, 0)
    right = tf.maximum(columns * stride - width, 0)
    labels = tf.pad(labels, [[0, 0], [0, bottom], [0, right]], constant_values=IGNORE_LABEL)
    blocks = tf.nn.space_to_depth(labels[..., tf.newaxis], stride)
    blocks = tf.reshape(blocks, (batch, rows * columns, stride**2))
    order = tf.random.stateless_uniform((batch, rows * columns), seed)
    order += tf.cast(tf.reduce_any(blocks != IGNORE_LABEL, axis=-1), order.dtype)
    chosen = tf.math.top_k(order, tf.minimum(count, rows * columns), sorted=False).indices
    cells = tf.stack([chosen // columns, chosen % columns], axis=-1)
    labels = tf.gather(blocks, chosen, batch_dims=1)
    return cells, tf.reshape(labels, (batch, tf.shape(cells)[1] * stride, stride))
