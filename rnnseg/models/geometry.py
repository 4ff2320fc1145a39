"""Padding of images and upsampling of canvases, so that features lie on image pixels.

With "same" padding an image of `k * stride + 1` pixels puts feature `i` exactly on pixel
`stride * i` (`rnnseg.grid`). Images are padded to such a size. The canvas is upsampled with aligned
corners, which is the inverse mapping, and the padding is cut off.
"""

from collections.abc import Sequence

import tensorflow as tf

from rnnseg import grid
from rnnseg._renamed import renamed_attributes

__getattr__ = renamed_attributes(
    __name__,
    {"canvas_size": "rnnseg.grid.canvas_size", "scaled_size": "rnnseg.grid.scaled_size"},
)


def resize_aligned(images: tf.Tensor, size: Sequence[int] | tf.Tensor) -> tf.Tensor:
    """Resizes by bilinear interpolation with aligned corners.

    Args:
      images: float32, `(batch, h, w, channels)`.
      size: `(height, width)`, numbers or tensors.

    Returns:
      `(batch, height, width, channels)`.
    """
    # tf.image.resize cannot align corners. The operator below it can, and so can LiteRT's.
    return tf.raw_ops.ResizeBilinear(
        images=images, size=size, align_corners=True, half_pixel_centers=False
    )


def pad_to_grid(images: tf.Tensor, stride: int, value: float) -> tf.Tensor:
    """Pads at the bottom and the right to `k * stride + 1` pixels.

    Args:
      images: `(batch, H, W, 3)`, float.
      stride: the output stride, in pixels.
      value: the value of the padding.

    Returns:
      Padded images of the same dtype.
    """
    height, width = _size(images)
    padded_height, padded_width = (
        grid.covered_size(grid.canvas_size(side, stride), stride) for side in (height, width)
    )
    paddings = [[0, 0], [0, padded_height - height], [0, padded_width - width], [0, 0]]
    padded = tf.pad(images, paddings, constant_values=value)
    # If the padding is known only at run time, LiteRT's converter loses the number of channels.
    return tf.reshape(padded, [-1, padded_height, padded_width, 3])


def upsample(canvas: tf.Tensor, size: Sequence[int] | tf.Tensor, stride: int) -> tf.Tensor:
    """Interpolates the canvas bilinearly at every pixel of the image, with aligned corners.

    Args:
      canvas: float32 logits, `(batch, h, w, classes)`.
      size: the image's `(height, width)`, numbers or tensors, at most `stride * (h - 1) + 1`.
      stride: image pixels per canvas pixel.

    Returns:
      Logits, `(batch, height, width, classes)`.
    """
    height, width = _size(canvas)
    covered = [grid.covered_size(side, stride) for side in (height, width)]
    logits = resize_aligned(canvas, covered)
    if not tf.is_tensor(size) and logits.shape[1:3] == tuple(size):
        # LiteRT would copy all of it to cut off nothing.
        return logits
    return logits[:, : size[0], : size[1]]


def spread(features: tf.Tensor, factor: int) -> tf.Tensor:
    """Interpolates features bilinearly on a finer grid, with aligned corners.

    Args:
      features: `(batch, h, w, channels)`, float.
      factor: the pixels of the finer grid per pixel of the features.

    Returns:
      `(batch, (h - 1) * factor + 1, (w - 1) * factor + 1, channels)`, of the same dtype.
    """
    if factor == 1:
        return features
    size = [grid.covered_size(side, factor) for side in _size(features)]
    return tf.cast(resize_aligned(features, size), features.dtype)


def _size(images):
    """Returns height and width: numbers if the trace knows them, else tensors."""
    dynamic = tf.shape(images)
    return [images.shape[axis] or dynamic[axis] for axis in (1, 2)]
