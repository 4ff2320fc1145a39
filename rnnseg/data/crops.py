"""The part of an image that a training crop shows: its place, its scale and its mirroring."""

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from rnnseg.data.augmentation import Distortion
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError

# Added to the seed of an image for the pixel that its crop has to show.
_PIXEL_STREAM = 2


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """The random changes to a training image, as in the DeepLab family.

    Attributes:
      crop: the (height, width) of the result, in pixels.
      scale: the smallest and the largest factor of the random scaling.
      flip: True to mirror half of the images left to right.
      distortion: the changes of colours, sharpness and angle; None: none.
      balanced: True to draw a class evenly among those of the image, then a pixel of it that the
        crop has to show; False to draw the crop evenly.
    """

    crop: tuple[int, int]
    scale: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    distortion: Distortion | None = None
    balanced: bool = False

    def __post_init__(self) -> None:
        if min(self.crop) < 1:
            raise UserError(
                f"crop {self.crop[0]}x{self.crop[1]}: expected at least one pixel per side"
            )
        if not 0 < self.scale[0] <= self.scale[1]:
            raise UserError(
                f"scale {self.scale[0]}-{self.scale[1]}: expected 0 < smallest <= largest"
            )


class Crop(NamedTuple):
    """The window of an image that a crop shows: int32 (vertical, horizontal) in pixels, and a bool.

    Attributes:
      corner: the top left corner of the window in the image.
      window: the size of the window in the image.
      shown: the size of the window after scaling.
      offset: the top left corner of the window in the crop.
      mirrored: True if the window is mirrored left to right.
    """

    corner: tf.Tensor
    window: tf.Tensor
    shown: tf.Tensor
    offset: tf.Tensor
    mirrored: tf.Tensor


def choose_crop(
    size: tf.Tensor, augmentation: Augmentation, seed: tf.Tensor, label: tf.Tensor | None = None
) -> Crop:
    """Draws the scale, the position and the mirroring of a crop.

    Args:
      size: the (height, width) of the image, int32.
      augmentation: the ranges.
      seed: two integers that determine all random choices.
      label: the label of the image, uint8 `(h, w)`, if the position is to be drawn among those that
        show a pixel of a class drawn evenly; None: it is drawn evenly.
    """
    place, flip, factor = tf.split(tf.random.stateless_uniform([4], seed), [2, 1, 1])
    smallest, largest = augmentation.scale
    factor = smallest + (largest - smallest) * factor[0]
    size = tf.cast(size, tf.float32)
    crop = tf.constant(augmentation.crop, tf.float32)
    window = tf.clip_by_value(tf.round(crop / factor), 1.0, size)
    shown = tf.clip_by_value(tf.round(window * factor), 1.0, crop)
    first, last = tf.zeros(2), size - window
    if label is not None:
        pixel, is_labelled = _drawn_pixel(label, seed)
        first = tf.where(is_labelled, tf.maximum(pixel - window + 1.0, first), first)
        last = tf.where(is_labelled, tf.minimum(pixel, last), last)
    corner = first + tf.floor(place * (last - first + 1.0))
    offset = tf.floor(place[::-1] * (crop - shown + 1.0))
    whole = [tf.cast(each, tf.int32) for each in (corner, window, shown, offset)]
    return Crop._make([*whole, flip[0] < 0.5])


def _drawn_pixel(label: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws a class of the label evenly, then a pixel of it evenly.

    Returns:
      The (row, column) of the pixel, float32, and False if no pixel has a label.
    """
    seed = tf.random.experimental.stateless_fold_in(seed, _PIXEL_STREAM)
    draws = tf.random.stateless_uniform([2], seed)
    flat = tf.reshape(label, [-1])
    counts = tf.math.bincount(tf.cast(flat, tf.int32), minlength=256, maxlength=256)
    present = tf.where(counts[:IGNORE_LABEL] > 0)[:, 0]
    is_labelled = tf.size(present) > 0

    def drawn():
        pixels = tf.where(flat == tf.cast(_drawn(present, draws[0]), flat.dtype))[:, 0]
        index = _drawn(pixels, draws[1])
        width = tf.shape(label, tf.int64)[1]
        return tf.cast(tf.stack([index // width, index % width]), tf.float32)

    return tf.cond(is_labelled, drawn, lambda: tf.zeros(2)), is_labelled


def _drawn(values: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Returns the value that a number of 0-1 stands for."""
    index = tf.cast(share * tf.cast(tf.size(values), tf.float32), tf.int32)
    # In float32, a share of just below 1 of many values is their number.
    return values[tf.minimum(index, tf.size(values) - 1)]
