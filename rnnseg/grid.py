"""The places of image pixels, feature pixels and canvas pixels on one another, in plain Python.

Feature pixel `i` of an encoder lies on image pixel `output_stride * i`, so that features of `k + 1`
pixels cover `k * output_stride + 1` image pixels, from the first to the last. An image of any other
size lies in the upper left corner of the next larger one; the rest is padding. Canvas pixel `i`
lies on image pixel `canvas_stride * i`, and the canvas covers the same image pixels as the
features. The output stride is a multiple of the canvas stride.

The sizes are those of one side, height or width. `canvas_size` and `covered_size` take TensorFlow's
tensors, too.
"""

from collections.abc import Sequence

from rnnseg.errors import UserError


def canvas_size(size: int, output_stride: int, canvas_stride: int | None = None) -> int:
    """Returns the number of canvas pixels that a side of an image needs.

    Args:
      size: image pixels, at least 1.
      output_stride: image pixels per pixel of the deepest features.
      canvas_stride: image pixels per canvas pixel, a divisor of the output stride; None for the
        output stride.
    """
    steps = (size + output_stride - 2) // output_stride
    return steps * (output_stride // (canvas_stride or output_stride)) + 1


def covered_size(size: int, stride: int) -> int:
    """Returns the number of image pixels that a side of a canvas covers.

    Args:
      size: canvas pixels, at least 1.
      stride: image pixels per canvas pixel.
    """
    return (size - 1) * stride + 1


def scaled_size(size: int, scale: float) -> int:
    """Returns the size of a scaled image whose first and last pixels keep their places.

    The scale applies to the distance between the two: 0.5 makes 257 of 513.

    Args:
      size: pixels, at least 1.
      scale: the factor, above 0.
    """
    return round((size - 1) * scale) + 1


def check_covered(size: Sequence[int], canvas: Sequence[int], stride: int) -> None:
    """Raises a UserError for an image that its canvas does not cover.

    Args:
      size: the `(height, width)` of the image, in pixels.
      canvas: the `(h, w)` of the canvas, in canvas pixels.
      stride: image pixels per canvas pixel.
    """
    covered = tuple(covered_size(side, stride) for side in canvas)
    if any(side > most for side, most in zip(size, covered, strict=True)):
        raise UserError(
            f"size {tuple(size)}: a canvas of {canvas[0]}x{canvas[1]} covers "
            f"{covered[0]}x{covered[1]} pixels at most"
        )
