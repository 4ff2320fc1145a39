"""Reading of images one by one, with damaged records told in one line.

A data set may be damaged after it was scanned, or be read without a scan. TensorFlow then tells
neither the file nor the record.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from rnnseg.data.pipeline import evaluation_images
from rnnseg.data.scan import READING_ERRORS, scan_split
from rnnseg.data.sharing import WHOLE, Share
from rnnseg.data.source import Source
from rnnseg.errors import UserError, first_line


class DamagedDataError(UserError):
    """Records that cannot be read or decoded; the data set has to be copied or built again."""


def read_images(
    source: Source, split: str, instances: bool = False, share: Share = WHOLE
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields the images of a split as `rnnseg.data.pipeline.evaluation_images` does, as arrays.

    Args:
      source: the data set.
      split: the split to read.
      instances: True to read the instance ids, too.
      share: the worker's share of the images.

    Raises:
      UserError: the split does not exist or is empty.
      DamagedDataError: a record cannot be read or decoded.
    """
    return read_arrays(evaluation_images(source, split, instances, share), source, split)


def read_arrays(examples: tf.data.Dataset, source: Source, split: str) -> Iterator[tuple[Any, ...]]:
    """Yields examples of a split as arrays.

    Args:
      examples: made from `source.read(split)`.
      source: the data set.
      split: the split.

    Raises:
      DamagedDataError: a record cannot be read or decoded.
    """
    try:
        with named_damage(source, split):
            yield from examples.as_numpy_iterator()
    except READING_ERRORS as error:  # such as a disk that answers again by now
        raise DamagedDataError(
            f"{source.name}, split {split!r}, cannot be read ({first_line(error)}); try again"
        ) from error


@contextlib.contextmanager
def named_damage(source: Source, *splits: str) -> Iterator[None]:
    """Turns an error of TensorFlow within a block into one that names the damaged records.

    The splits are scanned after an error, to find them.

    Args:
      source: the data set.
      *splits: the splits that the block reads.

    Raises:
      DamagedDataError: a record cannot be read or decoded.
      tf.errors.OpError: the error has another cause, as `UnicodeDecodeError`.
    """
    try:
        yield
    except READING_ERRORS as error:
        for split in splits:
            scan = scan_split(source, split)
            if scan.faults:
                raise DamagedDataError(scan.describe_faults(source)) from error
        raise
