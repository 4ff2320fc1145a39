"""A scan of a whole split: sizes, label counts and faults."""

import collections
import dataclasses

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from rnnseg.data.pipeline import decode
from rnnseg.data.source import IGNORE_LABEL, Source
from rnnseg.errors import UserError

_SHOWN = 5  # the number of faults named in a message


@dataclasses.dataclass
class SplitScan:
    """The statistics and faults of a split.

    Attributes:
      split: the name of the split.
      sizes: the number of images of each (height, width).
      label_pixels: int64 `(256,)`, the number of pixels of each label value.
      label_images: int64 `(256,)`, the number of images in which each label value occurs.
      faults: one line per fault, with the name of the image, the value found and those expected.
    """

    split: str
    sizes: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    label_pixels: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(256, np.int64))
    label_images: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(256, np.int64))
    faults: list[str] = dataclasses.field(default_factory=list)

    @property
    def images(self) -> int:
        """The number of images that could be read."""
        return sum(self.sizes.values())

    @property
    def ignored_share(self) -> float:
        """The share of ignored pixels, 0-1."""
        return float(self.label_pixels[IGNORE_LABEL] / max(self.label_pixels.sum(), 1))

    def raise_if_bad(self, source: Source) -> None:
        """Raises a UserError that names the first faults, if there are any."""
        if not self.faults:
            return
        more = len(self.faults) - _SHOWN
        raise UserError(
            f"{source.name}, split {self.split!r}: "
            + "; ".join(self.faults[:_SHOWN])
            + (f"; and {more} more" if more > 0 else "")
        )


def scan_split(source: Source, split: str, smallest_side: int = 1) -> SplitScan:
    """Reads every image and label of a split, with a progress bar.

    Args:
      source: the data set.
      split: the split to scan.
      smallest_side: the smallest height and width, in pixels, that is not a fault.

    Returns:
      The statistics and faults of the split.

    Raises:
      UserError: the split does not exist or is empty, or its files are damaged.
    """
    images = source.require_split(split)
    scan = SplitScan(split)

    def look(example):
        image, label = decode(example)
        counts = tf.math.bincount(tf.cast(tf.reshape(label, [-1]), tf.int32), minlength=256)
        return tf.shape(image)[:2], tf.shape(label), counts

    def look_or_fault(example):
        # An uncaught decoding error would end the whole pass without naming the image.
        values = tf.numpy_function(
            lambda image, label: _try(look, {"image": image, "label": label}),
            [example["image"], example["label"]],
            [tf.int64, tf.int64, tf.int64, tf.string],
        )
        return example["name"], *values

    found = source.read(split).map(look_or_fault, num_parallel_calls=tf.data.AUTOTUNE)
    bar = tqdm(
        found.as_numpy_iterator(),
        total=images,
        desc=f"check {split}",
        unit="image",
        leave=False,
        disable=None,
    )
    try:
        for name, image_size, label_size, counts, error in bar:
            _add(scan, source, name.decode(), image_size, label_size, counts, error, smallest_side)
    except tf.errors.OpError as error:
        raise UserError(
            f"{source.name}, split {split!r}: damaged after {scan.images} images "
            f"({error.message.splitlines()[0]}); copy or build its files again"
        ) from error
    return scan


def _try(look, example):
    nothing = np.zeros(2, np.int64)
    try:
        image_size, label_size, counts = (np.asarray(each, np.int64) for each in look(example))
        return image_size, label_size, counts, b""
    except UserError as error:
        return nothing, nothing, np.zeros(256, np.int64), str(error).encode()
    except tf.errors.OpError as error:
        return nothing, nothing, np.zeros(256, np.int64), error.message.splitlines()[0].encode()


def _add(scan, source, name, image_size, label_size, counts, error, smallest_side):
    if error:
        scan.faults.append(f"{name} cannot be decoded ({error.decode()})")
        return
    if tuple(image_size) != tuple(label_size):
        scan.faults.append(
            f"{name}: image of {image_size[0]}x{image_size[1]} and label of "
            f"{label_size[0]}x{label_size[1]} pixels; expected the same size"
        )
    if min(image_size) < smallest_side:
        scan.faults.append(
            f"{name}: image of {image_size[0]}x{image_size[1]} pixels; expected at least "
            f"{smallest_side} (one output stride) per side"
        )
    wrong = [
        int(value)
        for value in np.flatnonzero(counts)
        if value >= source.num_classes and value != IGNORE_LABEL
    ]
    if wrong:
        scan.faults.append(
            f"{name}: label {', '.join(map(str, wrong))}; expected 0-{source.num_classes - 1} or "
            f"{IGNORE_LABEL} (ignore)"
        )
    scan.sizes[tuple(int(side) for side in image_size)] += 1
    scan.label_pixels += counts
    scan.label_images += counts > 0
