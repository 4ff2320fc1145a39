"""A scan of a whole split: sizes, label counts and faults, with the places of damaged records."""

import collections
import dataclasses
import os
import re
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from rnnseg.data.pipeline import decode, decode_instances
from rnnseg.data.source import IGNORE_LABEL, Shard, Source
from rnnseg.errors import MOST_CHARACTERS, UserError, shortened

READING_ERRORS = (tf.errors.OpError, UnicodeDecodeError)
"""What TensorFlow raises for damaged records; the second one for a message that holds their bytes.
"""

_OPERATIONS = re.compile(
    r"\{\{.*?\}\} ?| \[Op:\w+\].*|Error in user-defined function .*? with iterator: \S+: ",
    re.DOTALL,
)
_LONGEST_REASON = 80  # characters of a message of TensorFlow
_LONGEST_ENDING = 110  # those of "and 1234 more" and the way out, that of a training included


@dataclasses.dataclass
class SplitScan:
    """The statistics and faults of a split.

    Attributes:
      split: the name of the split.
      sizes: the number of images of each (height, width).
      label_pixels: int64 `(256,)`, the number of pixels of each label value.
      label_images: int64 `(256,)`, the number of images in which each label value occurs.
      faults: one line per fault, with the name of the image, the value found and those expected;
        of damaged records with the file and the number of the record in it, from 0.
      is_damaged: True if records cannot be read or decoded, or are missing.
    """

    split: str
    sizes: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    label_pixels: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(256, np.int64))
    label_images: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(256, np.int64))
    faults: list[str] = dataclasses.field(default_factory=list)
    is_damaged: bool = False

    @property
    def images(self) -> int:
        """The number of images that could be read."""
        return sum(self.sizes.values())

    @property
    def ignored_share(self) -> float:
        """The share of ignored pixels, 0-1."""
        return float(self.label_pixels[IGNORE_LABEL] / max(self.label_pixels.sum(), 1))

    def describe_faults(self, source: Source) -> str:
        """Returns the first faults in one line, as many as there is room for in a message."""
        message = f"{source.name}, split {self.split!r}: {self.faults[0]}"
        for shown, fault in enumerate(self.faults[1:], 1):
            if len(message) + len(fault) > MOST_CHARACTERS - _LONGEST_ENDING:
                message += f"; and {len(self.faults) - shown} more"
                break
            message += f"; {fault}"
        return message + ("; copy or build its files again" if self.is_damaged else "")

    def raise_if_bad(self, source: Source) -> None:
        """Raises a UserError that names the first faults, if there are any."""
        if self.faults:
            raise UserError(self.describe_faults(source))


def scan_split(source: Source, split: str, smallest_side: int = 1) -> SplitScan:
    """Reads every image and label of a split, with a progress bar.

    Args:
      source: the data set.
      split: the split to scan.
      smallest_side: the smallest height and width, in pixels, that is not a fault.

    Returns:
      The statistics and faults of the split. If records are damaged, it is read once more, file by
      file, to tell their places.

    Raises:
      UserError: the split does not exist or is empty.
    """
    images = source.require_split(split)
    whole = Shard("", 0, images, lambda: source.read(split))
    scan = _scan(source, split, [whole], smallest_side)
    if scan.is_damaged and source.shards is not None:
        located = _scan(source, split, source.shards(split), smallest_side)
        if located.is_damaged:
            return located
    return scan


def _scan(source: Source, split: str, shards: Sequence[Shard], smallest_side: int) -> SplitScan:
    scan = SplitScan(split)
    with tqdm(
        total=sum(each.count for each in shards),
        desc=f"check {split}",
        unit="image",
        leave=False,
        disable=None,
    ) as bar:
        for shard in shards:
            _scan_shard(scan, source, shard, smallest_side, bar)
    return scan


def _scan_shard(scan: SplitScan, source: Source, shard: Shard, smallest_side: int, bar) -> None:
    """Adds a file, up to the first record that cannot be read; what follows has no beginning."""

    def look(example):
        image, label = decode(example)
        if source.has_instances:
            decode_instances(example["instance_ids"])
        counts = tf.math.bincount(tf.cast(tf.reshape(label, [-1]), tf.int32), minlength=256)
        return tf.shape(image)[:2], tf.shape(label), counts

    keys = ["image", "label", *(["instance_ids"] if source.has_instances else [])]

    def look_or_fault(example):
        # An uncaught decoding error would end the whole pass without naming the image.
        values = tf.numpy_function(
            lambda *files: _try(look, dict(zip(keys, files, strict=True))),
            [example[key] for key in keys],
            [tf.int64, tf.int64, tf.int64, tf.string],
        )
        return example["name"], *values

    number = 0
    try:
        found = shard.read().map(look_or_fault, num_parallel_calls=tf.data.AUTOTUNE)
        for name, *values in found.as_numpy_iterator():
            where = _place(shard, number, name.decode(errors="replace"))
            _add(scan, source, smallest_side, where, *values)
            number += 1
            bar.update()
    except READING_ERRORS as error:
        scan.faults.append(f"{_place(shard, number)} cannot be read ({_reason(error)})")
        scan.is_damaged = True
        return
    if number != shard.count:
        file = os.path.basename(shard.path) or "it"
        scan.faults.append(f"{file} holds {number} records, expected {shard.count}")
        scan.is_damaged = True


def _place(shard: Shard, number: int, name: str = "") -> str:
    """Returns where a record stands, and the name of its image, as far as they are known."""
    if not shard.path:
        return name or f"the record after {number} images"
    place = f"{os.path.basename(shard.path)}, record {shard.first + number}"
    return f"{place}, {name}" if name else place


def _reason(error: Exception) -> str:
    """Returns the reason of an error, without the names of TensorFlow's operations around it."""
    message = str(error)
    if isinstance(error, tf.errors.OpError):
        message = error.message
    elif isinstance(error, UnicodeDecodeError):
        message = error.object.decode(errors="replace")
    return shortened(_OPERATIONS.sub("", message).strip().partition("\n")[0], _LONGEST_REASON)


def _try(look, example):
    nothing = np.zeros(2, np.int64)
    try:
        image_size, label_size, counts = (np.asarray(each, np.int64) for each in look(example))
        return image_size, label_size, counts, b""
    except (UserError, *READING_ERRORS) as error:
        return nothing, nothing, np.zeros(256, np.int64), _reason(error).encode()


def _add(scan, source, smallest_side, name, image_size, label_size, counts, error):
    if error:
        scan.faults.append(f"{name} cannot be decoded ({error.decode()})")
        scan.is_damaged = True
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
