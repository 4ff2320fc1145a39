"""From the values of any data set to those of a `Source`."""

import numpy as np
import tensorflow as tf

from rnnseg.data.classes import MOST_VALUE, ClassTable
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError

# The label of pixels that the table lacks: no class, and not ignored either, so that the checks
# of a data set find them.
_STRAY_LABEL = 254


def is_identity(classes: ClassTable) -> bool:
    """Whether the values of the masks are the labels already."""
    return all(value == label for value, label in classes.values.items())


def lookup_table(classes: ClassTable, where: str) -> np.ndarray:
    """Turns a table of classes into an array that is indexed by the values of masks.

    A value that the table lacks stays what it is where no class has that label, and becomes 254
    elsewhere, so that a check of the labels names it. 255 is ignored in any case.

    Args:
      classes: the table.
      where: what messages call the data set.

    Returns:
      uint8, `(65536,)`: class indices and `IGNORE_LABEL`.

    Raises:
      UserError: there are 255 classes, which leave no label for stray values.
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
    """Looks up all pixels of a mask.

    Args:
      mask: integers of any kind, `(h, w, 1)`; values below 0 or above 65535 are stray.
      table: of `lookup_table`.

    Returns:
      The labels as an encoded 8-bit grey PNG, a string.
    """
    values = tf.cast(mask, tf.int32)
    inside = (values >= 0) & (values <= MOST_VALUE)
    labels = tf.gather(table, tf.clip_by_value(values, 0, MOST_VALUE))
    labels = tf.where(inside, labels, tf.constant(_STRAY_LABEL, tf.uint8))
    # Decoded again at once: smaller bytes would only cost time.
    return tf.io.encode_png(labels, compression=1)


def image_name(file_name: tf.Tensor, split: str, number: tf.Tensor) -> tf.Tensor:
    """What an image is called: its file's name without the ending, or its place in the split.

    Args:
      file_name: a string, empty if there is none.
      split: the name of the split.
      number: of the image in it, from 0.
    """
    name = tf.strings.regex_replace(file_name, r"(?i)\.(jpe?g|png)$", "")
    numbered = tf.strings.join([split, tf.strings.as_string(number, width=5, fill="0")], "_")
    return tf.where(tf.equal(name, ""), numbered, name)
