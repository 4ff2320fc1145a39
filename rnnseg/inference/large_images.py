"""Large images with little memory: in overlapping tiles, or made smaller first.

The memory of a prediction grows with the image, since the first layers of an encoder hold many
channels at nearly its size. Computed in tiles (`rnnseg.inference.tiling`), it grows with a tile.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from PIL import Image

from rnnseg import grid
from rnnseg.budgets.costs import BILINEAR_COST, StageCosts, stage_costs
from rnnseg.budgets.scaling import scale_images, scaled_costs, scaled_size
from rnnseg.checks import check_positive
from rnnseg.errors import UserError
from rnnseg.inference.tiling import Tile, blend, tiles_of
from rnnseg.models.base import SegmentationModel
from rnnseg.runtime import reading

TILE = 1024
"""The side of the tiles of images that are too large to be computed whole, in pixels."""

MOST_WHOLE = 2**21
"""The number of pixels up to which images are computed whole if no side of tiles is given."""

# A tile needs some features between its margins.
_LEAST_FEATURES = 8

# Class maps are read in bands of about so many pixels.
_BAND = 2**21


class LargeImages:
    """Computes canvases of images in tiles or at a smaller size, and reads them at full size.

    Args:
      model: the model.
      tile: the side of tiles, in pixels; 0 for no tiles. None: images of more than `MOST_WHOLE`
        pixels in tiles of `TILE` pixels.
      max_size: the largest side at which images are segmented, in pixels; larger ones are made
        smaller, and their class maps have the size of the image. None: the size of the image.

    Raises:
      UserError: numbers that are too small for the model.
    """

    def __init__(
        self, model: SegmentationModel, tile: int | None = None, max_size: int | None = None
    ):
        if tile:
            check_positive("tile", tile)
            least = _LEAST_FEATURES * model.output_stride
            if tile < least:
                raise UserError(
                    f"tile={tile}: expected 0 for no tiles, or at least {least} pixels, "
                    f"{_LEAST_FEATURES} output strides of the model"
                )
        if max_size is not None:
            check_positive("max_size", max_size)
            if max_size < model.output_stride:
                raise UserError(
                    f"max_size={max_size}: expected at least one output stride of the model, "
                    f"{model.output_stride} pixels"
                )
        self._model = model
        self._tile = tile
        self._max_size = max_size

    # --- how an image is segmented ---

    def reduced_size(self, height: int, width: int) -> tuple[int, int]:
        """Returns the (height, width) to which an image is made smaller, or its own.

        Raises:
          UserError: it has a side below one output stride.
        """
        longest = max(height, width)
        if self._max_size is None or longest <= self._max_size:
            return height, width
        size = (
            max(1, round(height * self._max_size / longest)),
            max(1, round(width * self._max_size / longest)),
        )
        if min(size) < self._model.output_stride:
            raise UserError(
                f"max_size={self._max_size}: an image of {height}x{width} pixels becomes "
                f"{size[0]}x{size[1]}, smaller than one output stride "
                f"({self._model.output_stride}): choose more"
            )
        return size

    def is_plain(self, height: int, width: int, scale: float = 1.0) -> bool:
        """True if an image is segmented whole and at its own size, or at that times a scale."""
        return self.reduced_size(height, width) == (height, width) and not self.is_tiled(
            *scaled_size(height, width, scale)
        )

    def is_tiled(self, height: int, width: int) -> bool:
        """True if an image of this size is computed in several tiles."""
        # The model of a LiteRT file has no tiles, and no canvas to divide.
        size = height, width
        return bool(self._tile_for(size)) and len(self._tiles(size)) > 1

    def _tile_for(self, size: tuple[int, int]) -> int | None:
        """Returns the side of the tiles of an image of a (height, width); 0 or None for none."""
        is_large = math.prod(size) > MOST_WHOLE
        return TILE if self._tile is None and is_large else self._tile

    def _tiles(self, size: tuple[int, int]) -> list[Tile]:
        """Returns the tiles of an image of a (height, width); a single one if it is whole."""
        strides = self._model.output_stride, self._model.canvas_stride
        return tiles_of(size, self._tile_for(size), *strides)

    def costs(self, height: int, width: int, scale: float = 1.0) -> StageCosts:
        """Counts the multiply-adds of a prediction, those of overlaps included.

        Args:
          height: of the image, in pixels.
          width: of the image, in pixels.
          scale: the scale of the image, or of the smaller one.

        Raises:
          UserError: the image to segment has a side below one output stride.
        """
        if self.is_plain(height, width, scale):
            return scaled_costs(self._model, height, width, scale)
        reduced = self.reduced_size(height, width)
        size = scaled_size(*reduced, scale)
        costs = [stage_costs(self._model, *tile.size) for tile in self._tiles(size)]
        total = sum(costs[1:], costs[0])
        resized = [each for each, before in ((reduced, (height, width)), (size, reduced))
                   if each != before]  # fmt: skip
        resizing = sum(BILINEAR_COST * 3 * each[0] * each[1] for each in resized)
        return dataclasses.replace(
            total,
            encode=total.encode + resizing,
            read=BILINEAR_COST * height * width * self._model.num_classes,
            early=tuple(each._replace(encode=each.encode + resizing) for each in total.early),
        )

    # --- segmenting ---

    def class_map(
        self,
        image: np.ndarray,
        iterations: int,
        scale: float = 1.0,
        canvas: np.ndarray | None = None,
        stop_when_settled: bool = False,
    ) -> np.ndarray:
        """Segments an image.

        Args:
          image: RGB 0-255, uint8 or float, `(H, W, 3)`.
          iterations: the number of iterations.
          scale: the scale of the image, or of the smaller one.
          canvas: logits to start from, `(h, w, classes)`; None for the initial canvas.
          stop_when_settled: True to stop where further iterations would hardly change anything.

        Returns:
          The class map, `(H, W)`, in the smallest unsigned integers that hold the classes.
        """
        image = np.asarray(image)
        run = self._runner(iterations, stop_when_settled)
        return self._read(self._compute(run, image, scale, canvas), image.shape[:2], scale)

    def canvas_of(
        self,
        image: np.ndarray,
        iterations: int,
        scale: float = 1.0,
        canvas: np.ndarray | None = None,
        stop_when_settled: bool = False,
    ) -> np.ndarray:
        """Computes the canvas of an image, float32 `(h, w, classes)`; as `class_map`."""
        run = self._runner(iterations, stop_when_settled)
        return _joined(self._compute(run, image, scale, canvas))

    def _runner(self, iterations: int, stop_when_settled: bool) -> Callable:
        stages = self._model.compiled_stages

        def run(part, canvas):
            return stages.canvas_of(part, iterations, canvas, stop_when_settled)[0].numpy()

        return run

    def unroll(self, image: np.ndarray, iterations: int, scale: float = 1.0) -> np.ndarray:
        """Computes the canvas of every iteration, float32 `(iterations, h, w, classes)`."""
        stages = self._model.compiled_stages

        def run(part, canvas):
            return stages.unroll(part, iterations, canvas)[:, 0].numpy()

        return _joined(self._compute(run, image, scale))

    def read(self, canvas: np.ndarray, size: tuple[int, int], scale: float = 1.0) -> np.ndarray:
        """Reads the class map of an image from its canvas.

        Args:
          canvas: finite logits, float32, `(h, w, classes)`.
          size: the `(height, width)` of the image, in pixels.
          scale: as in `canvas_of`.

        Returns:
          The class map, `(height, width)`, as `class_map`.

        Raises:
          UserError: logits that are not finite.
        """
        return self._read([canvas], size, scale)

    def _read(self, bands: Iterable[np.ndarray], size: tuple[int, int], scale: float) -> np.ndarray:
        """Reads the class map of an image from the bands of its canvas, from top to bottom."""
        rows, columns = (
            self._positions(side, part, scale)
            for side, part in zip(size, self.reduced_size(*size), strict=True)
        )
        classes = np.empty(size, np.min_scalar_type(self._model.num_classes - 1))
        patches = rows.astype(np.intp)
        at_once = max(1, _BAND * (patches[-1] + 1) // math.prod(size))
        canvas, first, done = np.empty((0, 0, 0)), 0, 0

        def read(end):
            for patch in range(done, end, at_once):
                last = min(patch + at_once, end)
                start, stop = np.searchsorted(patches, (patch, last))
                part = canvas[patch - first : last - first + 1]
                classes[start:stop] = reading.read_at(part, rows[start:stop] - patch, columns)

        for band in bands:
            # The patches below the last row need the first row of the next band, too.
            first += max(0, len(canvas) - 1)
            canvas = np.concatenate([canvas[-1:], band]) if len(canvas) else band
            end = min(first + len(canvas), patches[-1] + 1) - 1
            read(end)
            done = end
        read(patches[-1] + 1)
        return classes

    def _positions(self, side: int, reduced: int, scale: float) -> np.ndarray:
        """Returns the positions of the pixels of a side on the canvas, in canvas pixels."""
        stride = self._model.canvas_stride
        last = grid.scaled_size(reduced, scale) - 1
        if reduced == side:
            return np.arange(side) / stride if scale == 1 else np.linspace(0, last / stride, side)
        # The smaller image covers the same area; its pixels are the means of some of the image.
        pixels = np.clip((np.arange(side) + 0.5) * reduced / side - 0.5, 0, reduced - 1)
        return pixels * (last / (reduced - 1)) / stride

    def _compute(
        self, run: Callable, image: np.ndarray, scale: float, canvas: np.ndarray | None = None
    ) -> Iterator[np.ndarray]:
        """Calls a function for every tile, and yields the bands of the whole canvas."""
        image = np.asarray(image)
        reduced = self.reduced_size(*image.shape[:2])
        if reduced != image.shape[:2]:
            image = shrink(image, reduced)
        if scale != 1:
            image = scale_images(image[np.newaxis], scale)[0].numpy()
        if canvas is not None:
            canvas = self._checked(canvas, image.shape[:2])

        def compute(tile):
            given = None if canvas is None else canvas[tile.canvas][np.newaxis]
            return run(image[tile.pixels][np.newaxis], given)

        return blend(self._tiles(image.shape[:2]), compute)

    def _checked(self, canvas: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        canvas = np.asarray(canvas, np.float32)
        expected = (*self._model.canvas_size(*size), self._model.num_classes)
        if canvas.shape != expected:
            raise UserError(
                f"canvas of shape {canvas.shape}: expected {expected}, the logits of "
                f"{expected[-1]} classes at a stride of {self._model.canvas_stride}"
            )
        return canvas


def _joined(bands: Iterable[np.ndarray]) -> np.ndarray:
    """Returns a whole canvas, or several of them, `(..., h, w, classes)`."""
    first, *others = bands
    return np.concatenate([first, *others], -3) if others else first


def shrink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Makes an image smaller, by means over the area of each new pixel.

    Args:
      image: RGB 0-255, uint8 or float, `(H, W, 3)`.
      size: the `(height, width)`, in pixels.

    Returns:
      `(height, width, 3)`, uint8 or float32.
    """

    def resized(pixels):
        # Pillow widens the filter by the factor, so that nothing is left out.
        return np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))

    if image.dtype == np.uint8:
        return resized(image)
    channels = np.moveaxis(image.astype(np.float32), -1, 0)
    return np.stack([resized(np.ascontiguousarray(each)) for each in channels], -1)
