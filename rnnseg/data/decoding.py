"""Decoding of image files in TensorFlow graphs, into the colours of `rnnseg.data.images`."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from rnnseg.data import images
from rnnseg.data.metadata import is_plain

# The transform that Pillow uses, too. TensorFlow's default is a faster one that is less exact.
_TRANSFORM = "INTEGER_ACCURATE"


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes an image file as it is stored: the same colours as `images.decode_image`.

    Args:
      encoded: the file, a scalar string.

    Returns:
      uint8 RGB, `(h, w, 3)`.

    Raises:
      tf.errors.OpError: the file cannot be decoded.
    """
    image = tf.cond(_is_plain(encoded), lambda: _from_plain(encoded), lambda: _from_other(encoded))
    return tf.ensure_shape(image, (None, None, 3))


def decode_window(
    encoded: tf.Tensor, corner: tf.Tensor, window: tf.Tensor, size: tf.Tensor
) -> tf.Tensor:
    """Decodes a window of an image file: the same pixels as in the whole image.

    Args:
      encoded: the file, a scalar string.
      corner: the top left corner of the window, (vertical, horizontal) in pixels, int32.
      window: the (height, width) of the window, int32.
      size: the (height, width) of the whole image, int32.

    Returns:
      uint8 RGB, `(h, w, 3)`.
    """

    def from_jpeg():
        # JPEG files with colour at half the width interpolate it between neighbouring columns, so
        # one more column is decoded on either side.
        start = tf.maximum(corner - [0, 1], 0)
        end = tf.minimum(corner + window + [0, 1], size)
        part = tf.concat([start, end - start], 0)
        wider = tf.io.decode_and_crop_jpeg(encoded, part, channels=3, dct_method=_TRANSFORM)
        return _cut(wider, corner - start, window)

    def from_other():
        return _cut(decode_image(encoded), corner, window)

    cropped = tf.cond(tf.io.is_jpeg(encoded) & _is_plain(encoded), from_jpeg, from_other)
    return tf.ensure_shape(cropped, (None, None, 3))


def _is_plain(encoded: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(_call(is_plain, encoded, tf.bool), ())


def _from_plain(encoded: tf.Tensor) -> tf.Tensor:
    return tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method=_TRANSFORM),
        lambda: tf.io.decode_png(encoded, channels=3),
    )


def _from_other(encoded: tf.Tensor) -> tf.Tensor:
    return _call(images.decode_image, encoded, tf.uint8)


def _call(function: Callable, encoded: tf.Tensor, kind: tf.DType) -> tf.Tensor:
    """Calls a Python function of a file, which TensorFlow hands over in two ways."""
    return tf.numpy_function(
        lambda file: function(file.item() if isinstance(file, np.ndarray) else file),
        [encoded],
        kind,
        stateful=False,
    )


def _cut(image: tf.Tensor, corner: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    (top, left), (height, width) = tf.unstack(corner), tf.unstack(window)
    return image[top : top + height, left : left + width]
