"""Gradients that are accumulated over several batches, as of one larger batch."""

import tensorflow as tf

from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError
from rnnseg.training.config import TrainingConfig


def check_accumulation(config: TrainingConfig, images: int, replicas: int) -> None:
    """Checks that a run can accumulate gradients, if it should.

    Args:
      config: the configuration of the run.
      images: the number of images to train on.
      replicas: the number of GPUs that train.

    Raises:
      UserError: a step has more images than there are; or several GPUs should accumulate, which
        TensorFlow cannot do.
    """
    if config.accumulate > 1 and config.accumulate * config.batch_size > images:
        raise UserError(
            f"accumulate={config.accumulate}: so many batches of {config.batch_size} images are "
            f"more than the {images} of split {config.train_split!r}; take less of one of them"
        )
    if config.accumulate > 1 and replicas > 1:
        raise UserError(
            f"accumulate={config.accumulate}: TensorFlow cannot accumulate gradients on {replicas} "
            "GPUs; give them a larger --batch, or use one of them: CUDA_VISIBLE_DEVICES=0"
        )


def divided_batches(batches: tf.data.Dataset, config: TrainingConfig) -> tf.data.Dataset:
    """Divides large batches, and weighs the parts so that their gradients add up to the whole's.

    The loss of a part is the mean over its counted pixels, and the optimizer takes the mean over
    the parts (`gradient_accumulation_steps` in Keras). The mean over the pixels of the large batch
    weighs each part by its share of them: so do weights of `parts * counted / counted of all`.
    Gradients are then the same but for rounding, with two exceptions: batch norm in training mode
    sees one part at a time, and `hard_pixels` may take more pixels where losses are equal.

    Args:
      batches: the data set of `(images, labels)` or `(images, labels, weights)`, each of
        `config.accumulate * config.batch_size` images.
      config: the configuration of the run.

    Returns:
      A data set of `(images, labels, weights)` with `config.batch_size` images each; weights
      float32, `(batch, 1, 1)` or as they were.
    """
    parts = config.accumulate

    def divide(images, labels, weights=None):
        counted = tf.cast(tf.math.count_nonzero(labels != IGNORE_LABEL, axis=(1, 2)), tf.float32)
        if config.loss == "dice":  # its mean is over images
            counted = tf.cast(counted > 0, tf.float32)
        elif config.hard_pixels < 1:
            counted = tf.math.ceil(config.hard_pixels * counted)
        of_part = tf.reduce_sum(tf.reshape(counted, (parts, -1)), 1)
        share = tf.math.divide_no_nan(of_part, tf.reduce_sum(of_part))
        shares = tf.repeat(parts * share, config.batch_size)[:, tf.newaxis, tf.newaxis]
        weights = shares if weights is None else shares * weights
        return tf.nest.map_structure(
            lambda each: tf.reshape(each, (parts, config.batch_size, *_sides(each))),
            (images, labels, weights),
        )

    divided = batches.map(divide, num_parallel_calls=tf.data.AUTOTUNE)
    return divided.unbatch().prefetch(tf.data.AUTOTUNE)


def _sides(tensor) -> list:
    """Returns all sides but the first, as numbers where they are known."""
    sides = tf.unstack(tf.shape(tensor))
    return [known or side for known, side in zip(tensor.shape, sides, strict=True)][1:]
