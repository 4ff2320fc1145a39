"""Mean-field inference of a conditional random field, as iterations on a canvas.

A conditional random field with Gaussian edges (Krähenbühl and Koltun, 2011) gives every pair of
pixels an energy for having different classes: a large one where the two are near and of like
colours. Mean-field inference approximates its distribution by one that is independent per pixel,
and improves it iteration by iteration. As a layer with weights it can be trained (Zheng et al.,
2015, CRF-RNN).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from rnnseg.models.inspection import InspectedLayer


class Widths(NamedTuple):
    """The standard deviations of the two Gaussian kernels.

    Attributes:
      far: of the appearance kernel in space, in image pixels (theta alpha).
      color: of the appearance kernel in colour, in units of RGB 0-255 (theta beta).
      near: of the smoothness kernel in space, in image pixels (theta gamma).
    """

    far: float
    color: float
    near: float


class MeanField(InspectedLayer):
    r"""One iteration of mean-field inference on the canvas of an image.

    With unary logits U, which a network has computed, and a canvas y of logits,

        q = softmax(y)
        y' = U - C (w_a * A q + w_s * S q)

    where A and S are the means over the surroundings of a pixel, weighted by two kernels,

        a(i, j) = exp(-|p_i - p_j|^2 / (2 far^2) - |I_i - I_j|^2 / (2 color^2))
        s(i, j) = exp(-|p_i - p_j|^2 / (2 near^2))

    of the places p and the colours I, divided by their sum over j. w_a and w_s are one weight per
    class, and C is a matrix of classes by classes, the compatibility, which is minus the identity
    at first. That is Potts' model, which charges pairs of different classes alike, up to a number
    that is the same for all classes.

    Published systems sum over all pixels j of the image, approximately, on a lattice. Here they are
    those in a window around i, as in ConvCRF (Teichmann and Cipolla, 2018), on the canvas instead
    of the image. That needs nothing but TensorFlow, has gradients, and runs on devices. Within the
    window the sum is exact; a window that covers the image gives dense inference. As in the
    published systems a pixel is among its own surroundings.

    From a canvas of zeros q is uniform, and the first iteration gives U, plus a number per class
    that is zero for the weights at first. So one iteration is the answer of the network, and every
    further one a step of inference.

    Args:
      num_classes: the number of classes.
      canvas_stride: image pixels per canvas pixel.
      window: the side of the window in canvas pixels, odd.
      widths: the widths of the kernels at first.
      appearance_weight: the weight of the appearance kernel at first.
      smoothness_weight: the weight of the smoothness kernel at first.
      **kwargs: as in Keras; with `trainable=True` weights, compatibility and widths are trained.
    """

    def __init__(
        self,
        num_classes: int,
        canvas_stride: int,
        window: int,
        widths: Widths,
        appearance_weight: float,
        smoothness_weight: float,
        **kwargs: Any,
    ) -> None:
        # Exponentials of squared differences of colours need float32 under every policy.
        kwargs |= {"dtype": "float32", "autocast": False}
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.canvas_stride = canvas_stride
        self.window = window
        self._initial = widths, appearance_weight, smoothness_weight

    def build(
        self,
        canvas_shape: Sequence[int | None],
        unary_shape: Sequence[int | None],
        kernel_shape: Sequence[int | None],
    ) -> None:
        """Creates the weights."""
        widths, appearance, smoothness = self._initial
        per_class = (self.num_classes,)

        def weight(name, shape, values):
            initial = keras.initializers.Constant(np.float32(values))
            return self.add_weight(name=name, shape=shape, initializer=initial)

        # Widths stay positive.
        self.log_widths = weight("log_widths", (3,), np.log(widths))
        self.appearance_weight = weight("appearance_weight", per_class, appearance)
        self.smoothness_weight = weight("smoothness_weight", per_class, smoothness)
        shape = 2 * per_class
        self.compatibility = weight("compatibility", shape, -np.eye(self.num_classes))
        self.built = True

    @property
    def widths(self) -> Widths:
        """The widths of the kernels, scalars."""
        return Widths(*tf.unstack(tf.exp(tf.convert_to_tensor(self.log_widths))))

    def shrink(self, images: tf.Tensor) -> tf.Tensor:
        """Averages the colours of the image pixels around every canvas pixel.

        Args:
          images: RGB 0-255, float32 `(batch, H, W, 3)`, with `H = k * canvas_stride + 1`.

        Returns:
          `(batch, h, w, 3)`.
        """
        stride = self.canvas_stride
        return tf.nn.avg_pool2d(images, stride + 1, stride, "SAME")

    def kernel(self, colors: tf.Tensor) -> tf.Tensor:
        """Computes the appearance kernel, which is the same in all iterations.

        Args:
          colors: from `shrink`.

        Returns:
          `(batch, h, w, window^2)`: the weights of the canvas pixels in the window around each, row
          by row, which sum to 1.
        """
        count = self.window**2
        shape = tf.shape(colors)
        widths = self.widths
        # A fourth channel tells the canvas from what lies beyond it.
        colors = tf.concat([colors, tf.ones_like(colors[..., :1])], -1)
        around = windows(colors, self.window)
        around = tf.reshape(around, [shape[0], shape[1], shape[2] * count, 4])
        own = tf.reshape(tf.tile(colors, [1, 1, 1, count]), tf.shape(around))
        squared = tf.reduce_sum(tf.square((around - own)[..., :3]), -1, keepdims=True)
        weights = tf.exp(-squared / (2 * tf.square(widths.color))) * around[..., 3:]
        weights = tf.reshape(weights, [-1, shape[1], shape[2], count])
        weights *= tf.exp(-self._squared_distances() / (2 * tf.square(widths.far)))
        return weights / tf.reduce_sum(weights, -1, keepdims=True)

    def call(self, canvas: tf.Tensor, unary: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Runs one iteration.

        Args:
          canvas: logits, float32 `(batch, h, w, classes)`.
          unary: logits of the network, likewise.
          kernel: from `kernel`.

        Returns:
          The new canvas.
        """
        q = tf.nn.softmax(canvas)
        near = _smoothed(q, self._near_kernel())
        near /= _smoothed(tf.ones_like(q[..., :1]), self._near_kernel())
        seen = self.appearance_weight * weighted_sum(kernel, q, self.window)
        seen += self.smoothness_weight * near
        return unary - _by_class(seen, self.compatibility)

    def first(self, unary: tf.Tensor) -> tf.Tensor:
        """Runs an iteration on a canvas of zeros, which needs no sums over surroundings.

        Args:
          unary: logits of the network, float32 `(batch, h, w, classes)`.

        Returns:
          The new canvas.
        """
        seen = (self.appearance_weight + self.smoothness_weight) / self.num_classes
        return unary - tf.linalg.matvec(self.compatibility, seen)

    def _squared_distances(self) -> tf.Tensor:
        """Returns the squared distances to the pixels of a window, in image pixels, `(count,)`."""
        place = self.canvas_stride * (np.arange(self.window) - self.window // 2)
        return tf.constant((place[:, np.newaxis] ** 2 + place**2).ravel(), tf.float32)

    def _near_kernel(self) -> tf.Tensor:
        """Returns the smoothness kernel along one axis, `(window,)`."""
        place = self.canvas_stride * (np.arange(self.window) - self.window // 2)
        squared = tf.constant(place**2, tf.float32)
        return tf.exp(-squared / (2 * tf.square(self.widths.near)))


def windows(images: tf.Tensor, side: int) -> tf.Tensor:
    """Puts the pixels around every pixel side by side.

    Args:
      images: `(batch, h, w, channels)`.
      side: the side of the window, odd.

    Returns:
      `(batch, h, w, side * side * channels)`: the windows row by row; zeros beyond the images.
    """
    # TensorFlow's operator for this has no counterpart in LiteRT.
    margin = side // 2
    height, width = (images.shape[axis] or tf.shape(images)[axis] for axis in (1, 2))
    padded = tf.pad(images, [[0, 0], [margin, margin], [margin, margin], [0, 0]])
    rows = [padded[:, :, start : start + width] for start in range(side)]
    columns = tf.concat(rows, -1)
    return tf.concat([columns[:, start : start + height] for start in range(side)], -1)


def weighted_sum(kernel: tf.Tensor, values: tf.Tensor, side: int) -> tf.Tensor:
    """Sums the values in the window around every pixel by the weights of that window.

    Its gradient puts the windows together again instead of storing them, which take `side^2` times
    the memory of the values.

    Args:
      kernel: `(batch, h, w, side * side)`.
      values: `(batch, h, w, channels)`.
      side: the side of the window, odd.

    Returns:
      `(batch, h, w, channels)`.
    """

    @tf.custom_gradient
    def summed(kernel, values):
        def gradient(upstream):
            around = _pixels(windows(values, side), side**2)
            to_kernel = tf.matmul(around, tf.reshape(upstream, [tf.shape(around)[0], -1, 1]))
            # Pixel j gets from i what i has seen of j: a sum over the same windows, with the
            # weights that j's neighbours have for j.
            weights = _transposed(kernel, side)
            return tf.reshape(to_kernel, tf.shape(kernel)), _window_sum(weights, upstream, side)

        return _window_sum(kernel, values, side), gradient

    return summed(kernel, values)


def _window_sum(kernel, values, side):
    around = _pixels(windows(values, side), side**2)
    weights = tf.reshape(kernel, [-1, 1, side**2])
    return tf.ensure_shape(tf.reshape(weights @ around, tf.shape(values)), values.shape)


def _pixels(windows, count):
    """Returns windows as one matrix per pixel, `(pixels, count, channels)`."""
    return tf.reshape(windows, [-1, count, windows.shape[-1] // count])


def _transposed(kernel, side):
    """Returns the weights that the pixels of every window have for its centre."""
    margin = side // 2
    height, width = (tf.shape(kernel)[axis] for axis in (1, 2))
    padded = tf.pad(kernel, [[0, 0], [margin, margin], [margin, margin], [0, 0]])
    found = []
    for row in range(side):
        for column in range(side):
            there = padded[:, row : row + height, column : column + width]
            opposite = (side - 1 - row) * side + (side - 1 - column)
            found.append(there[..., opposite])
    return tf.stack(found, -1)


def _smoothed(images, kernel):
    """Convolves every channel with a kernel along both axes."""
    channels = images.shape[-1]
    along = tf.tile(tf.reshape(kernel, [-1, 1, 1, 1]), [1, 1, channels, 1])
    for each in (along, tf.transpose(along, [1, 0, 2, 3])):
        images = tf.nn.depthwise_conv2d(images, each, [1, 1, 1, 1], "SAME")
    return images


def _by_class(values, matrix):
    """Multiplies the vector of every pixel by a matrix of classes by classes."""
    kernel = tf.transpose(matrix)[tf.newaxis, tf.newaxis]
    return tf.nn.conv2d(values, kernel, 1, "SAME")
