"""How image, features and canvas lie on one another.

With "same" padding an image of `k * stride + 1` pixels puts feature `i` exactly on pixel
`stride * i`. So images are padded to such a size, the canvas is read with aligned corners, which
is the same geometry backwards, and what was padded is cut off again.
"""

import tensorflow as tf


def canvas_size(size: int, stride: int) -> int:
    """How many canvas pixels `size` image pixels need at an output stride; tensors work too."""
    return (size - 1 + stride - 1) // stride + 1


def scaled_size(size: int, scale: float) -> int:
    """What becomes of `size` pixels where the first and the last one keep their places.

    Scaled is what lies between them: 0.5 makes 257 of 513.
    """
    return round((size - 1) * scale) + 1


def resize_aligned(images, size) -> tf.Tensor:
    """Bilinear interpolation with the corners of both sizes on one another.

    Args:
      images: float32, `(batch, h, w, channels)`.
      size: `(height, width)`, numbers or tensors.

    Returns:
      `(batch, height, width, channels)`.
    """
    # tf.image.resize has no aligned corners; the operator below it has, and so has LiteRT's.
    return tf.raw_ops.ResizeBilinear(
        images=images, size=size, align_corners=True, half_pixel_centers=False
    )


def pad_to_grid(images, stride: int, value: float) -> tf.Tensor:
    """Pads at the bottom and the right to `k * stride + 1` pixels.

    Args:
      images: `(batch, H, W, 3)`, float.
      stride: output stride, in pixels.
      value: what to pad with.

    Returns:
      Padded images of the same dtype.
    """
    height, width = _size(images)
    padded_height, padded_width = (
        (canvas_size(side, stride) - 1) * stride + 1 for side in (height, width)
    )
    paddings = [[0, 0], [0, padded_height - height], [0, padded_width - width], [0, 0]]
    padded = tf.pad(images, paddings, constant_values=value)
    # Padding by sizes of run time hides from LiteRT's converter how many channels there are.
    return tf.reshape(padded, [-1, padded_height, padded_width, 3])


def upsample(canvas, size, stride: int) -> tf.Tensor:
    """Bilinear interpolation of the canvas at every pixel of the image, corners aligned.

    Args:
      canvas: float32 logits, `(batch, h, w, classes)`.
      size: the image's `(height, width)`, numbers or tensors, at most `stride * (h - 1) + 1`.
      stride: output stride, in pixels.

    Returns:
      Logits, `(batch, height, width, classes)`.
    """
    height, width = _size(canvas)
    logits = resize_aligned(canvas, [(height - 1) * stride + 1, (width - 1) * stride + 1])
    return logits[:, : size[0], : size[1]]


def _size(images):
    """Height and width: numbers where the trace knows them, tensors elsewhere."""
    dynamic = tf.shape(images)
    return [images.shape[axis] or dynamic[axis] for axis in (1, 2)]
