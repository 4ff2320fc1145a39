"""Multi-scale evaluation: the mean of the logits of several views of an image.

A view is the image at one scale, possibly mirrored. The views are segmented one by one and their
logits averaged (McIntosh et al., 2017). The corners of a view are the corners of the image, so that
the canvas pixels of each view form a regular grid on the image, with a spacing of its own. Each
canvas is therefore interpolated only once, from its canvas pixels to the pixels of the image.
"""

import dataclasses
import functools
import math
import operator
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from rnnseg import grid
from rnnseg.budgets import scaling
from rnnseg.budgets.costs import StageCosts
from rnnseg.errors import UserError
from rnnseg.models.base import SegmentationModel

# Rows of pixels per matrix product: the fastest of 32, 64 and 128.
_BAND = 64


@dataclasses.dataclass(frozen=True)
class View:
    """An image at one scale, possibly mirrored.

    Attributes:
      scale: the factor of the distance between the first and the last pixel of a side.
      mirrored: True if left and right are swapped.
    """

    scale: float = 1.0
    mirrored: bool = False

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Returns the (height, width) of the view of an image of this size, in pixels."""
        return scaling.scaled_size(height, width, self.scale)

    def of(self, image: np.ndarray | tf.Tensor) -> tf.Tensor:
        """Makes the view of an image.

        Args:
          image: RGB 0-255, uint8 or float, `(h, w, 3)`.

        Returns:
          The view, float32, `(h', w', 3)`.
        """
        image = scaling.scale_images(image[tf.newaxis], self.scale)[0]
        return tf.reverse(image, [1]) if self.mirrored else image


def make_views(scales: Sequence[float], flip: bool) -> tuple[View, ...]:
    """Returns the views of a multi-scale evaluation, by falling scale.

    The largest view comes first: it needs the most memory, and while a view is segmented, the
    canvases of the views before it are held.

    Args:
      scales: the scales, as in `View`.
      flip: True to add the mirrored view at every scale.

    Raises:
      UserError: no scales, or a scale that is not a finite number above 0.
    """
    if not scales or not all(0 < scale < math.inf for scale in scales):
        raise UserError(f"scales {','.join(map(str, scales))}: expected numbers above 0")
    sides = (False, True) if flip else (False,)
    return tuple(View(scale, side) for scale in sorted(scales, reverse=True) for side in sides)


class MeanReader:
    """Reads class maps from the mean of the logits of several views.

    The logits at the size of the image are never held for all classes. Class by class, they are
    interpolated by two matrix products and compared with the highest logits so far.

    Args:
      views: the views.
      num_classes: the number of classes, which is the width of the canvases.
      output_stride: image pixels per pixel of the deepest features.
      canvas_stride: image pixels per canvas pixel.
    """

    def __init__(
        self, views: Sequence[View], num_classes: int, output_stride: int, canvas_stride: int
    ):
        self._views = tuple(views)
        self._strides = output_stride, canvas_stride
        # Most data sets have one or two sizes of images; VOC has too many to keep all matrices.
        self._matrices = functools.lru_cache(maxsize=8)(self._make_matrices)
        any_matrix = tf.TensorSpec((None, None))
        self._read = tf.function(
            _read,
            input_signature=[
                [tf.TensorSpec((1, None, None, num_classes))] * len(self._views),
                [any_matrix] * len(self._views),
                tf.TensorSpec((None, None), tf.int32),
                tf.TensorSpec((None, None, None)),
            ],
            autograph=False,
        )

    def __call__(self, canvases: Sequence[tf.Tensor], size: tuple[int, int]) -> np.ndarray:
        """Reads the class map of one image.

        Args:
          canvases: one canvas per view, `(1, h, w, classes)`.
          size: the `(height, width)` of the image, in pixels.

        Returns:
          Class map, int32, `(height, width)`; among classes with equal logits, the first.
        """
        return self._read(list(canvases), *self._matrices(*size)).numpy()[: size[0]]

    def _make_matrices(self, height: int, width: int) -> tuple[list, np.ndarray, np.ndarray]:
        """Computes the matrices that interpolate the canvases to the size of an image.

        Returns:
          A matrix `(w, width)` per view, which interpolates along the rows. For each band of rows
          of the image, the indices `(bands, n)` of the rows that it needs, among the rows of all
          canvases put one below the other. For each band, a matrix `(_BAND, n)` that interpolates
          along the columns and sums over the views; the highest sum is the highest mean.
        """
        across = [
            _interpolation(width, view, *self._strides, view.mirrored) for view in self._views
        ]
        down = np.concatenate(
            [_interpolation(height, view, *self._strides, False) for view in self._views]
        )
        bands = -(-height // _BAND)
        down = np.pad(down, ((0, 0), (0, bands * _BAND - height))).reshape(-1, bands, _BAND)
        used = down.any(2).T
        # Every band gets the same number of rows; rows that it does not need have weight zero.
        rows = np.argsort(~used, axis=1, kind="stable")[:, : used.sum(1).max()]
        down = np.take_along_axis(down.transpose(1, 2, 0), rows[:, np.newaxis], 2)
        across = [tf.constant(matrix) for matrix in across]
        return across, tf.constant(rows, tf.int32), tf.constant(down)


def _interpolation(
    size: int, view: View, output_stride: int, canvas_stride: int, mirrored: bool
) -> np.ndarray:
    """Returns the matrix from canvas pixels to image pixels along one side.

    Args:
      size: image pixels.
      view: the view of the canvas.
      output_stride: image pixels per pixel of the deepest features.
      canvas_stride: image pixels per canvas pixel.
      mirrored: True if the view is mirrored along this side.

    Returns:
      Float32 `(canvas pixels, size)`.
    """
    scaled = grid.scaled_size(size, view.scale)
    canvas_pixels = np.arange(grid.canvas_size(scaled, output_stride, canvas_stride))
    place = np.linspace(0, (scaled - 1) / canvas_stride, size)
    place = place[::-1] if mirrored else place
    # The weight of a canvas pixel falls from one at its place to zero at its neighbours.
    weight = 1 - np.abs(place - canvas_pixels[:, np.newaxis])
    return np.maximum(weight, 0).astype(np.float32)


def _read(canvases, across, rows, down):
    """Returns the argmax over the classes of the sum of all views, `(bands * _BAND, width)`."""
    canvases = [tf.transpose(canvas[0], (2, 0, 1)) for canvas in canvases]
    pairs = list(zip(canvases, across, strict=True))

    def logits(number):
        wide = [tf.matmul(canvas[number], matrix) for canvas, matrix in pairs]
        return tf.matmul(down, tf.gather(tf.concat(wide, 0), rows))

    def body(number, best, classes):
        own = logits(number)
        return number + 1, tf.maximum(own, best), tf.where(own > best, number, classes)

    best = logits(0)
    classes = tf.zeros(tf.shape(best), tf.int32)
    _, _, classes = tf.while_loop(
        lambda number, *_: number < canvases[0].shape[0],
        body,
        (tf.constant(1), best, classes),
        parallel_iterations=1,
    )
    return tf.reshape(classes, (-1, tf.shape(classes)[2]))


def multi_scale_costs(
    model: SegmentationModel, height: int, width: int, scales: Sequence[float], flip: bool
) -> StageCosts:
    """Sums the multiply-adds of all views of a multi-scale evaluation.

    Args:
      model: the model.
      height: of the image, in pixels.
      width: of the image, in pixels.
      scales: the scales, as in `View`.
      flip: True if every scale is also evaluated mirrored.

    Raises:
      UserError: no scales, or a scale that is not a finite number above 0; or a side of a scaled
        image is below one output stride.
    """
    costs = [
        scaling.scaled_costs(model, height, width, view.scale)
        for view in make_views(scales, flip=False)
    ]
    return functools.reduce(operator.add, costs + costs if flip else costs)
