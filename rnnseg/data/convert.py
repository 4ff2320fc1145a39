"""Conversion of mask values and image names to those of a `Source`."""

import numpy as np
import tensorflow as tf

from rnnseg.data.classes import MOST_VALUE, ClassTable
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError

# The label of pixels whose value is not in the table. It is neither a class nor ignored, so the
# checks of a data set find these pixels.
_STRAY_LABEL = 254


def is_identity(classes: ClassTable) -> bool:
    """Returns True if the values of the masks already are the labels."""
    return all(value == label for value, label in classes.values.items())


def lookup_table(classes: ClassTable, where: str) -> np.ndarray:
    """Returns the labels of all mask values, as an array to be indexed by these values.

    A value that is missing from the table keeps its number if no class has that label, and becomes
    254 otherwise, so that a check of the labels reports it. 255 is always ignored.

    Args:
      classes: the table.
      where: the name of the data set in messages.

    Returns:
      uint8, `(65536,)`: class indices and `IGNORE_LABEL`.

    Raises:
      UserError: there are 255 classes, which leaves no label for values missing from the table.
    """
    count = len(classes.names)
    if count > _STRAY_LABEL:
        raise UserError(
            f"{where}: {count} classes, expected at most {_STRAY_LABEL} where the values of the "
            "masks are not the class indices"
        )
    table = np.full(MOST_VALUE + 1, _STRAY_LABEL, np.uint8)
    table[count : IGNORE_LABEL + 1] = np.arange(count, IGNORE_LABEL + 1)
    for value, label in classes.values.items():
        table[value] = label
    return table


def encode_labels(mask: tf.Tensor, table: np.ndarray) -> tf.Tensor:
    """Looks up the labels of a mask and encodes them.

    Args:
      mask: integers of any type, `(h, w, 1)`. Values below 0 or above 65535 count as missing from
        the table.
      table: the labels of all values, from `lookup_table`.

    Returns:
      An 8-bit grey PNG of the labels, a scalar string.
    """
    values = tf.cast(mask, tf.int32)
    inside = (values >= 0) & (values <= MOST_VALUE)
    labels = tf.gather(table, tf.clip_by_value(values, 0, MOST_VALUE))
    labels = tf.where(inside, labels, tf.constant(_STRAY_LABEL, tf.uint8))
    # The PNG is decoded again at once, so stronger compression would only cost time.
    return tf.io.encode_png(labels, compression=1)


def image_name(file_name: tf.Tensor, split: str, number: tf.Tensor) -> tf.Tensor:
    """Returns the name of an image: its file name without the ending, or its place in the split.

    Args:
      file_name: a scalar string, empty if there is no file name.
      split: the name of the split.
      number: the number of the image in the split, counted from 0.
    """
    name = tf.strings.regex_replace(file_name, r"(?i)\.(jpe?g|png)$", "")
    numbered = tf.strings.join([split, tf.strings.as_string(number, width=5, fill="0")], "_")
    return tf.where(tf.equal(name, ""), numbered, name)
