"""Decoding, augmentation and batching of encoded examples."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from rnnseg.data import augmentation as changes
from rnnseg.data.augmentation import MEAN_COLOR
from rnnseg.data.crops import Augmentation, choose_crop
from rnnseg.data.decoding import decode_image, decode_window
from rnnseg.data.sharing import WHOLE, Share
from rnnseg.data.source import IGNORE_LABEL, Source
from rnnseg.errors import UserError

# The number of encoded images in the shuffle buffer: enough to mix data sets of thousands well.
_SHUFFLE_BUFFER = 2000


def training_batches(
    source: Source,
    split: str,
    batch_size: int,
    augmentation: Augmentation,
    epochs: int,
    first_epoch: int = 0,
    seed: int | None = None,
    share: Share = WHOLE,
) -> tuple[tf.data.Dataset, int]:
    """Makes shuffled, augmented batches of all epochs, one epoch after the other.

    Every epoch has its own seed, so a training resumed at epoch 7 sees the same batches as one that
    was never interrupted. Images that do not fill a last batch are left out of that epoch.

    Args:
      source: the data set.
      split: the split to train on.
      batch_size: the number of images per batch.
      augmentation: the random changes.
      epochs: the number of the last epoch, counted from 1.
      first_epoch: the number of epochs that are already done.
      seed: fixes the order and the augmentation, which otherwise differ in every run.
      share: the worker's share of every batch. Workers with the same seed have different images,
        which together are the batch of a worker that is alone. Each reads the whole split but
        decodes, which takes nearly all of the time, no more than its own images.

    Returns:
      A data set of `(images, labels)`, uint8, `(batch, h, w, 3)` and `(batch, h, w)`, and the
      number of its batches per epoch.

    Raises:
      UserError: the split does not exist, or it has fewer images than a batch.
    """
    size = source.require_split(split)
    if not 1 <= batch_size <= size:
        raise UserError(
            f"batch size {batch_size}: expected 1 to {size}, the number of images in split "
            f"{split!r} of {source.name}"
        )
    steps, own = size // batch_size, batch_size // share.count
    base_seed = int(np.random.default_rng(seed).integers(1, 2**31 - 1))
    examples = source.read(split)

    def epoch_examples(epoch):
        # The graph's own seed stands in for the program's global seed. The batches then depend on
        # `seed` alone, and a global seed of 0 is allowed: TensorFlow compares the pair with (0, 0),
        # which fails for an epoch that is a tensor.
        tf.random.set_seed(base_seed)
        seeds = tf.data.Dataset.random(seed=epoch).batch(2)
        shuffled = examples.shuffle(
            min(size, _SHUFFLE_BUFFER), seed=epoch, reshuffle_each_iteration=False
        )
        drawn = tf.data.Dataset.zip(shuffled, seeds).take(steps * batch_size)
        if share.count == 1:
            return drawn
        return (
            drawn.enumerate()
            .filter(lambda place, _: place % batch_size // own == share.index)
            .map(lambda _, example: example)
        )

    # Epochs are joined before decoding, so that no core waits at the end of an epoch: 1.5 times
    # faster with epochs of six images.
    batches = (
        tf.data.Dataset.range(first_epoch, epochs)
        .flat_map(epoch_examples)
        .map(
            lambda example, pair: decode_augmented(example, augmentation, pair),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .batch(own, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )
    return batches, steps


def training_views(
    source: Source, split: str, augmentation: Augmentation, views: int, seed: int | None = None
) -> tf.data.Dataset:
    """Reads every image of a split several times, each time changed at random.

    Args:
      source: the data set.
      split: the split to read.
      augmentation: the random changes. Images that are smaller than the crop are not padded.
      views: the number of views of every image.
      seed: fixes the changes, which otherwise differ in every run.

    Returns:
      A data set of `(image, label)`, uint8, `(h, w, 3)` and `(h, w)`, at most of the size of the
      crop: the first view of all images, in a fixed order, then the second, and so on.
    """
    base_seed = int(np.random.default_rng(seed).integers(1, 2**31 - 1))
    seeds = tf.data.Dataset.random(seed=base_seed).batch(2)
    return (
        tf.data.Dataset.zip(source.read(split).repeat(views), seeds)
        .map(
            lambda example, pair: decode_augmented(example, augmentation, pair, padded=False),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .prefetch(tf.data.AUTOTUNE)
    )


def with_boundary_weights(batches: tf.data.Dataset, weight: float) -> tf.data.Dataset:
    """Adds weights of pixels to training batches: pixels near another class count more, or less.

    Thin things are mostly boundary, and boundaries are where predictions are wrong.

    Args:
      batches: as from `training_batches`.
      weight: the weight of the pixels of `near_boundary`; all others have 1.

    Returns:
      A data set of `(images, labels, weights)`, the weights float32, `(batch, h, w)`.
    """

    def add(images, labels):
        return images, labels, tf.where(near_boundary(labels), weight, 1.0)

    return batches.map(add, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def near_boundary(labels: tf.Tensor, reach: int = 2) -> tf.Tensor:
    """Finds pixels that have two classes around them; `IGNORE_LABEL` is none.

    Args:
      labels: class indices or `IGNORE_LABEL`, `(batch, h, w)`.
      reach: the largest distance along rows and columns, in pixels, at which a class is seen.

    Returns:
      Booleans, `(batch, h, w)`.
    """
    values = tf.cast(labels, tf.float32)[..., tf.newaxis]
    counted = values != IGNORE_LABEL
    side = 2 * reach + 1
    most = tf.nn.max_pool2d(tf.where(counted, values, -1.0), side, 1, "SAME")
    least = -tf.nn.max_pool2d(tf.where(counted, -values, -float(IGNORE_LABEL)), side, 1, "SAME")
    return (most > least)[..., 0]


def evaluation_images(
    source: Source, split: str, instances: bool = False, share: Share = WHOLE
) -> tf.data.Dataset:
    """Reads the images of a split one by one, at their own size and in a fixed order.

    Args:
      source: the data set.
      split: the split to read.
      instances: True to read the instance ids, too; the source must have them.
      share: the worker's share: every `share.count`-th image, from that of number `share.index`.

    Returns:
      A data set of `(image, label, name)`: uint8 `(h, w, 3)`, uint8 `(h, w)`, string; and with
      `instances` of `(image, label, name, instance_ids)`, the last uint16 `(h, w)`.

    Raises:
      UserError: the split does not exist or is empty.
    """
    source.require_split(split)

    def decode_named(example):
        decoded = (*decode(example), example["name"])
        return (*decoded, decode_instances(example["instance_ids"])) if instances else decoded

    return (
        source.read(split)
        .shard(share.count, share.index)
        .map(decode_named, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def decode(example: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes an example into its image, uint8 `(h, w, 3)`, and its label, uint8 `(h, w)`."""
    return decode_image(example["image"]), _decode_label(example["label"])


def decode_augmented(
    example: Mapping[str, tf.Tensor],
    augmentation: Augmentation,
    seed: tf.Tensor,
    padded: bool = True,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Scales, mirrors, distorts and crops one encoded image, and pads it if it is too small.

    The window that the crop shows is cut out before scaling, which is several times cheaper than
    scaling the whole image. For JPEG files, little more than this window is decoded.

    Args:
      example: the encoded `image` and `label` of a source, of the same size.
      augmentation: the range of the random changes.
      seed: two integers that determine all random choices.
      padded: False to leave the padding out.

    Returns:
      The image, uint8 `(crop h, crop w, 3)`, and the label, uint8 `(crop h, crop w)`. The padding
      has the mean colour and `IGNORE_LABEL`, and is divided among the sides at random. Without it,
      both may be smaller than the crop.
    """
    label = _decode_label(example["label"])
    size = tf.shape(label)
    crop = choose_crop(size, augmentation, seed, label if augmentation.balanced else None)
    image = decode_window(example["image"], crop.corner, crop.window, size)
    label = _cut(label, crop.corner, crop.window)
    rows, columns = (_nearest(crop.window[axis], crop.shown[axis]) for axis in (0, 1))
    if augmentation.flip:
        # Mirrored before scaling, since the window is mostly smaller than the crop, and not by
        # `[:, ::-1]`, which takes more than ten times as long.
        image = tf.cond(crop.mirrored, lambda: tf.reverse(image, [1]), lambda: image)
        columns = tf.where(crop.mirrored, crop.window[1] - 1 - columns, columns)
    image, label = _resize(image, crop.shown), _pick(label, rows, columns)
    if augmentation.distortion is not None:
        draws = changes.draw(augmentation.distortion, seed)
        image = changes.change_look(image, draws, augmentation.distortion)
    if padded:
        image, label = _padded(image, label, augmentation, crop)
    if augmentation.distortion is not None and augmentation.distortion.degrees:
        image, label = changes.rotate(image, label, draws.degrees)
    return image, label


def _padded(image, label, augmentation, crop):
    """Pads an image and its label to the size of the crop."""
    # Padded by concatenation with constants. `tf.pad` takes a single value for all channels, so it
    # needs two more passes, to subtract and add the mean colour, and is seven times slower.
    mean = np.broadcast_to(np.asarray(MEAN_COLOR, np.uint8), (*augmentation.crop, 3))
    ignore = np.full(augmentation.crop, IGNORE_LABEL, np.uint8)
    return _paste(image, mean, crop), _paste(label, ignore, crop)


def _decode_label(encoded):
    return tf.io.decode_png(encoded, channels=1)[..., 0]


def decode_instances(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes the instance ids of an example, uint16 `(h, w)`."""
    return tf.io.decode_png(encoded, channels=1, dtype=tf.uint16)[..., 0]


def _cut(image, corner, window):
    (top, left), (height, width) = tf.unstack(corner), tf.unstack(window)
    return image[top : top + height, left : left + width]


def _resize(image, size):
    """Resizes bilinearly, with half-pixel centres, and rounds to uint8."""
    # Resizing floats is 1.6 times faster than uint8. The half makes the last cast round.
    image = tf.cast(image, tf.float32) + 0.5
    return tf.cast(tf.image.resize(image, size), tf.uint8)


def _nearest(length, shown):
    """Returns the nearest of `length` pixels for each of `shown`, with half-pixel centres, too."""
    return (2 * tf.range(shown) + 1) * length // (2 * shown)


def _pick(label, rows, columns):
    """Gathers rows and columns of a label, eight times faster than resizing it by "nearest".

    Gathering rows copies them as a whole, gathering columns goes pixel by pixel. So the columns are
    gathered as rows of the transposed label.
    """
    return tf.transpose(tf.gather(tf.transpose(tf.gather(label, rows)), columns))


def _paste(part, background, crop):
    """Puts `part` at the offset of the crop into a constant `background` of the crop's size."""
    (top, left), (height, width) = tf.unstack(crop.offset), tf.unstack(crop.shown)
    full = tf.constant(background)
    beside = full[:height]
    part = tf.concat([beside[:, :left], part, beside[:, left + width :]], 1)
    part = tf.concat([full[:top], part, full[top + height :]], 0)
    return tf.ensure_shape(part, background.shape)
