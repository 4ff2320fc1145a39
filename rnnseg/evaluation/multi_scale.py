"""Views of an image, scaled and mirrored, and reading the mean of what is made of them.

Several views are segmented one by one and the logits of all averaged, as in McIntosh et al., 2017.
A view's corners are the image's corners, so its grid of canvas cells lies on the image at the
view's own spacing; each canvas is interpolated once, from its cells to the image's pixels,
whatever the size of the view was.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from rnnseg import grid
from rnnseg.budgets.costs import StageCosts, stage_costs
from rnnseg.errors import UserError
from rnnseg.models import geometry

# Rows of pixels that go through one matrix product: of 32, 64 and 128 the quickest.
_BAND = 64


@dataclasses.dataclass(frozen=True)
class View:
    """One way to look at an image.

    Attributes:
      scale: factor of its sides less one.
      mirrored: whether left and right are swapped.
    """

    scale: float = 1.0
    mirrored: bool = False

    def size(self, height: int, width: int) -> tuple[int, int]:
        """The size of the view of an image, in pixels."""
        return grid.scaled_size(height, self.scale), grid.scaled_size(width, self.scale)

    def of(self, image) -> tf.Tensor:
        """Makes the view of an image.

        Args:
          image: RGB 0-255, uint8 or float, `(h, w, 3)`.

        Returns:
          The view, float32, `(h', w', 3)`.
        """
        image = tf.cast(image, tf.float32)
        if self.scale != 1:
            size = self.size(*image.shape[:2])
            image = geometry.resize_aligned(image[tf.newaxis], size)[0]
        return tf.reverse(image, [1]) if self.mirrored else image


def make_views(scales: Sequence[float], flip: bool) -> tuple[View, ...]:
    """All views of an evaluation, the largest first: it needs the most memory beside the others.

    Args:
      scales: factors of an image's sides less one.
      flip: whether every scale is there mirrored, too.

    Raises:
      UserError: no scales, or one that is not above 0.
    """
    if not scales or not all(0 < scale < math.inf for scale in scales):
        raise UserError(f"scales {','.join(map(str, scales))}: expected numbers above 0")
    sides = (False, True) if flip else (False,)
    return tuple(View(scale, side) for scale in sorted(scales, reverse=True) for side in sides)


class MeanReader:
    """Reads class maps from the mean of the logits of several views.

    The logits at the image's size are never there as a whole: class by class they are
    interpolated, as two products with matrices, and compared with the best so far.

    Args:
      views: of the images.
      num_classes: width of the canvases.
      stride: output stride, in pixels.
    """

    def __init__(self, views: Sequence[View], num_classes: int, stride: int):
        self._views = tuple(views)
        self._stride = stride
        # Most data sets have a size or two; matrices of VOC's many sizes come and go.
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
        """The class map of one image.

        Args:
          canvases: one for each view, `(1, h, w, classes)`.
          size: the image's `(height, width)`, in pixels.

        Returns:
          Class map, int32, `(height, width)`; of classes that are level, the first one.
        """
        return self._read(list(canvases), *self._matrices(*size)).numpy()[: size[0]]

    def _make_matrices(self, height, width):
        """What interpolates canvases to an image's size.

        Returns:
          A matrix `(w, width)` for each view; for each band of rows, which of the rows of all
          canvases, one after the other, it needs, `(bands, n)`, and a matrix `(bands, _BAND, n)`
          that interpolates these and adds up the views. The greatest sum is the greatest mean.
        """
        across = [_interpolation(width, view, self._stride, view.mirrored) for view in self._views]
        down = np.concatenate(
            [_interpolation(height, view, self._stride, False) for view in self._views]
        )
        bands = -(-height // _BAND)
        down = np.pad(down, ((0, 0), (0, bands * _BAND - height))).reshape(-1, bands, _BAND)
        used = down.any(2).T
        # As many rows for every band: where it has less, the others have weight zero in it.
        rows = np.argsort(~used, axis=1, kind="stable")[:, : used.sum(1).max()]
        down = np.take_along_axis(down.transpose(1, 2, 0), rows[:, np.newaxis], 2)
        across = [tf.constant(matrix) for matrix in across]
        return across, tf.constant(rows, tf.int32), tf.constant(down)


def _interpolation(size: int, view: View, stride: int, mirrored: bool) -> np.ndarray:
    """The matrix from canvas cells to pixels along one side, float32 `(cells, size)`."""
    scaled = grid.scaled_size(size, view.scale)
    cells = grid.canvas_size(scaled, stride)
    place = np.linspace(0, (scaled - 1) / stride, size)
    place = place[::-1] if mirrored else place
    # A cell's weight falls from one at its place to zero at its neighbours'.
    weight = 1 - np.abs(place - np.arange(cells)[:, np.newaxis])
    return np.maximum(weight, 0).astype(np.float32)


def _read(canvases, across, rows, down):
    """The argmax over the classes of the sum of all views, `(bands * _BAND, width)`."""
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
    model, height: int, width: int, scales: Sequence[float], flip: bool
) -> StageCosts:
    """Adds up what the images of a multi-scale evaluation cost.

    Args:
      model: a segmenter.
      height: of the image, in pixels.
      width: of the image, in pixels.
      scales: factors of its sides less one: 0.5 makes 257 of 513, which keeps the grids aligned.
      flip: whether every scale is evaluated mirrored, too.

    Raises:
      UserError: no scales, or one that is not above 0; or a scaled image of less than one output
        stride a side.
    """
    costs = StageCosts(0, 0, 0, 0)
    for view in make_views(scales, flip=False):
        once = stage_costs(model, *view.size(height, width))
        costs += once + once if flip else once
    return costs
