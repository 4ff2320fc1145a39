"""From encoded examples to batches: decoding, augmentation, order."""

import dataclasses

import numpy as np
import tensorflow as tf

from rnnseg.data.source import IGNORE_LABEL, Source
from rnnseg.errors import UserError

# Encoded pictures held for shuffling: enough to mix any data set of a few thousand wholly.
_SHUFFLE_BUFFER = 2000
# What images are padded with; every encoder's normalisation takes about this to zero.
_MEAN_COLOR = (124, 117, 104)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes to a training picture, as in the DeepLab family.

    Attributes:
      crop: (height, width) of what comes out, in pixels.
      scale: the smallest and largest factor of the random scaling.
      flip: whether half of the pictures are mirrored left to right.
    """

    crop: tuple[int, int]
    scale: tuple[float, float] = (0.5, 2.0)
    flip: bool = True

    def __post_init__(self):
        if min(self.crop) < 1:
            raise UserError(
                f"crop {self.crop[0]}x{self.crop[1]}: expected at least one pixel a side"
            )
        if not 0 < self.scale[0] <= self.scale[1]:
            raise UserError(
                f"scale {self.scale[0]}-{self.scale[1]}: expected 0 < smallest <= largest"
            )


def training_batches(
    source: Source,
    split: str,
    batch_size: int,
    augmentation: Augmentation,
    epochs: int,
    first_epoch: int = 0,
    seed: int | None = None,
) -> tuple[tf.data.Dataset, int]:
    """Shuffled, augmented batches of all epochs, one epoch after the other.

    Every epoch has its own seed, so that a training that goes on at epoch 7 sees what it would have
    seen; pictures that do not fill a last batch are left out of that epoch.

    Args:
      source: the data set.
      split: its split.
      batch_size: pictures a batch.
      augmentation: random changes.
      epochs: the number of the last epoch, counted from 1.
      first_epoch: how many epochs are done already.
      seed: makes order and augmentation the same at every run, at some loss of speed.

    Returns:
      The data set of `(images, labels)`, uint8, `(batch, h, w, 3)` and `(batch, h, w)`, and its
      number of batches an epoch.

    Raises:
      UserError: no such split, or fewer pictures in it than a batch has.
    """
    size = source.require_split(split)
    if not 1 <= batch_size <= size:
        raise UserError(
            f"batch size {batch_size}: expected 1 to {size}, the number of pictures in split "
            f"{split!r} of {source.name}"
        )
    base_seed = int(np.random.default_rng(seed).integers(2**31))
    examples = source.read(split)

    def epoch_batches(epoch):
        seeds = tf.data.Dataset.random(seed=base_seed + epoch).batch(2)
        shuffled = examples.shuffle(
            min(size, _SHUFFLE_BUFFER), seed=base_seed + epoch, reshuffle_each_iteration=False
        )
        return (
            tf.data.Dataset.zip(shuffled, seeds)
            .map(
                lambda example, pair: augment(*decode(example), augmentation, pair),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=seed is not None,
            )
            .batch(batch_size, drop_remainder=True)
        )

    batches = tf.data.Dataset.range(first_epoch, epochs).flat_map(epoch_batches)
    return batches.prefetch(tf.data.AUTOTUNE), size // batch_size


def evaluation_pictures(source: Source, split: str) -> tf.data.Dataset:
    """The pictures of a split, one by one, at their own size and in a fixed order.

    Args:
      source: the data set.
      split: its split.

    Returns:
      A data set of `(image, label, name)`: uint8 `(h, w, 3)`, uint8 `(h, w)`, string.

    Raises:
      UserError: no such split, or an empty one.
    """
    source.require_split(split)
    return (
        source.read(split)
        .map(
            lambda example: (*decode(example), example["name"]), num_parallel_calls=tf.data.AUTOTUNE
        )
        .prefetch(tf.data.AUTOTUNE)
    )


def decode(example) -> tuple[tf.Tensor, tf.Tensor]:
    """The picture, uint8 `(h, w, 3)`, and the label, uint8 `(h, w)`, of an encoded example."""
    image = tf.io.decode_image(example["image"], channels=3, expand_animations=False)
    label = tf.io.decode_png(example["label"], channels=1)[..., 0]
    return image, label


def augment(image, label, augmentation: Augmentation, seed) -> tuple[tf.Tensor, tf.Tensor]:
    """Scales, mirrors and crops one picture, and pads it where it is too small.

    What the crop shows is cut out before it is scaled, which is several times cheaper than scaling
    the whole picture.

    Args:
      image: uint8, `(h, w, 3)`.
      label: uint8, `(h, w)`.
      augmentation: what to do.
      seed: two integers that decide all choices.

    Returns:
      Image, uint8 `(crop h, crop w, 3)`, and label, uint8 `(crop h, crop w)`. Padding has the mean
      colour and `IGNORE_LABEL`, and lies on all sides at random.
    """
    place, flip, factor = tf.split(tf.random.stateless_uniform([4], seed), [2, 1, 1])
    smallest, largest = augmentation.scale
    factor = smallest + (largest - smallest) * factor[0]
    size = tf.cast(tf.shape(label), tf.float32)
    crop = tf.constant(augmentation.crop, tf.float32)
    # The window of the picture that the crop shows, in its own whole pixels.
    window = tf.clip_by_value(tf.round(crop / factor), 1.0, size)
    top, left = tf.unstack(tf.cast(tf.floor(place * (size - window + 1.0)), tf.int32))
    shown = tf.clip_by_value(tf.round(window * factor), 1.0, crop)
    target = tf.cast(shown, tf.int32)
    height, width = tf.unstack(tf.cast(window, tf.int32))
    image = image[top : top + height, left : left + width]
    label = label[top : top + height, left : left + width]
    image = tf.cast(tf.round(tf.image.resize(image, target)), tf.uint8)
    label = tf.image.resize(label[..., tf.newaxis], target, method="nearest")[..., 0]
    offset = tf.cast(tf.floor(place[::-1] * (crop - shown + 1.0)), tf.int32)
    after = tf.constant(augmentation.crop) - target - offset
    pads = tf.stack([offset, after], 1)
    mean = tf.constant(_MEAN_COLOR, tf.uint8)
    # tf.pad takes one value: pad the exclusive or with the mean colour by zeros.
    image = tf.bitwise.bitwise_xor(
        tf.pad(tf.bitwise.bitwise_xor(image, mean), tf.concat([pads, [[0, 0]]], 0)), mean
    )
    label = tf.pad(label, pads, constant_values=IGNORE_LABEL)
    if augmentation.flip:
        mirrored = flip[0] < 0.5
        image = tf.cond(mirrored, lambda: image[:, ::-1], lambda: image)
        label = tf.cond(mirrored, lambda: label[:, ::-1], lambda: label)
    return tf.ensure_shape(image, (*augmentation.crop, 3)), tf.ensure_shape(
        label, augmentation.crop
    )
