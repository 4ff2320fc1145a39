"""Random changes of a training image's colours, sharpness and angle.

They depend on a seed alone, as everything in `rnnseg.data.pipeline`: Keras' preprocessing layers
draw from a state of their own, which differs from run to run in a parallel map.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from rnnseg.data.source import IGNORE_LABEL

# The padding of images. The normalisation of every encoder maps about this colour to zero.
MEAN_COLOR = (124, 117, 104)
# Added to the seed of an image: the position of its crop is drawn from the seed itself.
_STREAM = 1


@dataclasses.dataclass(frozen=True)
class Distortion:
    """Ranges of random changes; a change is drawn evenly from its range.

    Attributes:
      brightness: the largest number that is added to all colours, or taken away, 0-1 of the range.
      contrast: the smallest and largest factor of the difference from the mean of each channel.
      saturation: the smallest and largest factor of the saturation.
      hue: the largest rotation of the hue to either side, 0-0.5 of the circle.
      color_share: the share of images that each of these four is applied to.
      blur: the largest standard deviation of a Gaussian blur, in pixels.
      blur_share: the share of images that are blurred.
      degrees: the largest rotation of the image to either side.
    """

    brightness: float = 0.0
    contrast: tuple[float, float] = (1.0, 1.0)
    saturation: tuple[float, float] = (1.0, 1.0)
    hue: float = 0.0
    color_share: float = 1.0
    blur: float = 0.0
    blur_share: float = 0.0
    degrees: float = 0.0


# The colours are those of SSD (Liu et al., 2016), which mmsegmentation takes for all data sets.
_COLORS: dict[str, Any] = {
    "brightness": 32 / 255,
    "contrast": (0.5, 1.5),
    "saturation": (0.5, 1.5),
    "hue": 18 / 360,
}
DISTORTIONS: Mapping[str, Distortion | None] = {
    "none": None,
    "standard": Distortion(**_COLORS, color_share=0.5),
    # Blur as in SimCLR (Chen et al., 2020); cameras are seldom tilted by more than ten degrees.
    "strong": Distortion(**_COLORS, color_share=0.8, blur=2.0, blur_share=0.5, degrees=10.0),
}
"""The choices of `rnnseg train --augment`."""


class Draws(NamedTuple):
    """What was drawn for one image; scalars, float32.

    Attributes:
      brightness: the number that is added to all colours, of 0-1.
      contrast: the factor of the contrast.
      saturation: the factor of the saturation.
      hue: the rotation of the hue, in circles.
      blur: the standard deviation of the blur, in pixels; 0 for none.
      degrees: the rotation of the image, counter-clockwise.
    """

    brightness: tf.Tensor
    contrast: tf.Tensor
    saturation: tf.Tensor
    hue: tf.Tensor
    blur: tf.Tensor
    degrees: tf.Tensor


def draw(distortion: Distortion, seed: tf.Tensor) -> Draws:
    """Draws the changes of one image.

    Args:
      distortion: the ranges.
      seed: two integers that determine all random choices.
    """
    seed = tf.random.experimental.stateless_fold_in(seed, _STREAM)
    share, value = tf.unstack(tf.random.stateless_uniform([2, 6], seed))

    def between(index, least, most, probability, neutral):
        drawn = least + (most - least) * value[index]
        return tf.where(share[index] < probability, drawn, neutral)

    colored, blurred = distortion.color_share, distortion.blur_share
    return Draws(
        between(0, -distortion.brightness, distortion.brightness, colored, 0.0),
        between(1, *distortion.contrast, colored, 1.0),
        between(2, *distortion.saturation, colored, 1.0),
        between(3, -distortion.hue, distortion.hue, colored, 0.0),
        between(4, 0.0, distortion.blur, blurred, 0.0),
        between(5, -distortion.degrees, distortion.degrees, 1.0, 0.0),
    )


def change_look(image: tf.Tensor, draws: Draws, distortion: Distortion) -> tf.Tensor:
    """Changes colours and sharpness of one image; its label stays right.

    Args:
      image: RGB, uint8 `(h, w, 3)`.
      draws: from `draw`.
      distortion: the ranges that they were drawn from.

    Returns:
      The image, uint8 `(h, w, 3)`.
    """
    image = change_colors(tf.cast(image, tf.float32) / 255.0, draws)
    if distortion.blur:
        image = blur(image, draws.blur, distortion.blur)
    return tf.cast(image * 255.0 + 0.5, tf.uint8)


def change_colors(image: tf.Tensor, draws: Draws) -> tf.Tensor:
    """Changes brightness, contrast, saturation and hue of one image, in this order.

    Args:
      image: RGB of 0-1, float32 `(h, w, 3)`.
      draws: from `draw`.

    Returns:
      The image, float32 `(h, w, 3)`, 0-1.
    """
    image += draws.brightness
    image = tf.image.adjust_contrast(image, draws.contrast)
    # Saturation and hue are defined for colours of 0-1 only.
    image = _saturate(tf.clip_by_value(image, 0.0, 1.0), draws.saturation)
    return tf.clip_by_value(tf.image.adjust_hue(image, draws.hue), 0.0, 1.0)


def _saturate(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiplies the saturation of HSV, 1 at most.

    `tf.image.adjust_saturation` turns a part of the reds grey: where green is smaller than blue by
    a rounding error, it finds a hue of 1, which its way back to RGB does not know.
    """
    value = tf.reduce_max(image, -1, keepdims=True)
    largest = tf.math.divide_no_nan(value, value - tf.reduce_min(image, -1, keepdims=True))
    return value - (value - image) * tf.minimum(factor, largest)


def blur(image: tf.Tensor, sigma: tf.Tensor, largest: float) -> tf.Tensor:
    """Blurs one image with a Gaussian; at the border with what of it lies in the image.

    (`keras.ops.image.gaussian_blur` takes black for what lies outside.)

    Args:
      image: float32 `(h, w, channels)`.
      sigma: the standard deviation in pixels; 0 leaves the image as it is.
      largest: the largest standard deviation that there is, for the size of the kernel.

    Returns:
      The image, float32 `(h, w, channels)`.
    """

    def blurred():
        reach = math.ceil(2 * largest)
        weights = tf.exp(-0.5 * (tf.range(-reach, reach + 1, dtype=tf.float32) / sigma) ** 2)
        # Channels as a batch: a convolution of one channel is faster than a depthwise one.
        planes = tf.transpose(image, [2, 0, 1])[..., tf.newaxis]
        for shape in ((-1, 1, 1, 1), (1, -1, 1, 1)):
            kernel = tf.reshape(weights, shape)
            inside = tf.nn.conv2d(tf.ones_like(planes[:1]), kernel, 1, "SAME")
            planes = tf.nn.conv2d(planes, kernel, 1, "SAME") / inside
        return tf.transpose(planes[..., 0], [1, 2, 0])

    return tf.cond(sigma > 0, blurred, lambda: image)


def rotate(image: tf.Tensor, label: tf.Tensor, degrees: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Rotates one image and its label about their centre; the size stays.

    Args:
      image: uint8 `(h, w, 3)`; pixels are interpolated bilinearly.
      label: uint8 `(h, w)`; pixels get the nearest label.
      degrees: the angle, counter-clockwise.

    Returns:
      The image, with `MEAN_COLOR` where it shows what lay outside, and the label, with
      `IGNORE_LABEL` there.
    """
    height, width = (tf.cast(each, tf.float32) - 1 for each in tf.unstack(tf.shape(label)))
    angle = degrees * (math.pi / 180)
    cosine, sine = tf.cos(angle), tf.sin(angle)
    # Where a pixel (x, y) of the result comes from: (a x + b y + c, d x + e y + f).
    left = (width - (cosine * width - sine * height)) / 2
    top = (height - (sine * width + cosine * height)) / 2
    transform = tf.stack([cosine, -sine, left, sine, cosine, top, 0.0, 0.0])

    def turned(values, interpolation, outside):
        return keras.ops.image.affine_transform(
            values, transform, interpolation, fill_mode="constant", fill_value=outside
        )

    mean = tf.constant(MEAN_COLOR, tf.float32)
    colors = turned(tf.cast(image, tf.float32) - mean, "bilinear", 0.0) + mean
    labels = turned(label[..., tf.newaxis], "nearest", IGNORE_LABEL)[..., 0]
    return tf.cast(colors + 0.5, tf.uint8), labels
