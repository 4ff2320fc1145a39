"""Overlapping tiles of an image, and the canvas of the image from theirs.

Tiles begin and end on pixels of the deepest features, so that every feature lies where it lies in
the whole image. It differs only where its receptive field reaches over the edge of a tile.
Therefore tiles overlap by two margins, and the outer part of every margin is not used. In the
middle of an overlap, the logits of two tiles are averaged, with weights that change linearly from
one to the other.

What a model computes from the whole image, such as the mean of all features in pyramid pooling or
squeeze-and-excitation, it computes from a tile instead: there, maps of tiles differ more from those
of whole images. NumPy alone.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from rnnseg import grid

# The margin, as a share of the side of a tile. For tiles of 1024 pixels it is 160. The receptive
# field of MobileNetV2 at output stride 16 reaches 245 pixels in each direction, but its outer part
# has little weight: of five images of 8 to 13 million pixels, 99.97 % of the pixels or more get the
# class that they get in the whole image.
_MARGIN = 1 / 6

# The share of a margin over which the logits of two tiles are averaged.
_RAMP = 1 / 4


@dataclasses.dataclass(frozen=True)
class Span:
    """One side of a tile, in pixels of the deepest features.

    Attributes:
      first: the first one.
      last: the last one.
      weights: the weight of every canvas pixel of the tile, 0-1, float32; those of all tiles add
        up to 1.
    """

    first: int
    last: int
    weights: np.ndarray


def spans_of(size: int, tile: int, output_stride: int, canvas_stride: int) -> list[Span]:
    """Divides a side of an image into overlapping spans of one length.

    Args:
      size: the side of the image, in pixels.
      tile: the largest side of a tile, in pixels.
      output_stride: image pixels per pixel of the deepest features.
      canvas_stride: image pixels per canvas pixel.

    Returns:
      The spans in their order; a single one if the image is no larger than a tile.
    """
    last = grid.canvas_size(size, output_stride) - 1
    finer = output_stride // canvas_stride
    most = (tile - 1) // output_stride
    if last <= most or size <= tile:
        return [Span(0, last, np.ones(last * finer + 1, np.float32))]
    margin = round(_MARGIN * most)
    count = math.ceil((last - 2 * margin) / (most - 2 * margin))
    length = math.ceil((last + (count - 1) * 2 * margin) / count)
    firsts = [round(each) for each in np.linspace(0, last - length, count)]
    # The canvas pixel in the middle of each overlap.
    middles = [
        finer * (first + before + length) / 2 for before, first in itertools.pairwise(firsts)
    ]
    ramp = max(1.0, _RAMP * margin * finer)
    spans = []
    for number, first in enumerate(firsts):
        pixels = finer * first + np.arange(length * finer + 1)
        weights = np.ones(len(pixels))
        if number:
            weights *= np.clip(0.5 + (pixels - middles[number - 1]) / ramp, 0, 1)
        if number < count - 1:
            weights *= 1 - np.clip(0.5 + (pixels - middles[number]) / ramp, 0, 1)
        spans.append(Span(first, first + length, weights.astype(np.float32)))
    return spans


@dataclasses.dataclass(frozen=True)
class Tile:
    """A tile of an image.

    Attributes:
      pixels: its rows and columns in the image.
      canvas: its rows and columns in the canvas.
      weights: the weight of every canvas pixel, 0-1, float32 `(h, w, 1)`; those of all tiles add up
        to 1.
    """

    pixels: tuple[slice, slice]
    canvas: tuple[slice, slice]
    weights: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """The (height, width), in pixels."""
        return tuple(each.stop - each.start for each in self.pixels)


def tiles_of(
    size: Sequence[int], tile: int | None, output_stride: int, canvas_stride: int
) -> list[Tile]:
    """Divides an image into tiles.

    Args:
      size: the (height, width) of the image, in pixels.
      tile: the largest side of a tile, in pixels; None for a single tile.
      output_stride: image pixels per pixel of the deepest features.
      canvas_stride: image pixels per canvas pixel.
    """
    rows, columns = (spans_of(side, tile or side, output_stride, canvas_stride) for side in size)
    finer = output_stride // canvas_stride
    found = []
    for spans in itertools.product(rows, columns):
        down, across = (
            # The last one ends where the image ends, before its padding.
            slice(output_stride * span.first, min(output_stride * span.last + 1, side))
            for span, side in zip(spans, size, strict=True)
        )
        canvas = [slice(finer * span.first, finer * span.last + 1) for span in spans]
        weights = np.multiply.outer(spans[0].weights, spans[1].weights)[..., np.newaxis]
        found.append(Tile((down, across), (canvas[0], canvas[1]), weights))
    return found


def blend(tiles: Sequence[Tile], compute: Callable[[Tile], np.ndarray]) -> Iterator[np.ndarray]:
    """Puts the canvas of an image together from those of its tiles, in bands.

    Args:
      tiles: from `tiles_of`.
      compute: returns the canvas of a tile, float32 `(..., h, w, classes)`.

    Yields:
      The rows of the canvas from top to bottom, float32 `(..., rows, w, classes)`, as soon as no
      further tile adds to them: the canvas of a large image need not be in memory as a whole.
    """
    if len(tiles) == 1:
        yield compute(tiles[0])
        return
    width = max(each.canvas[1].stop for each in tiles)
    of_rows = [list(each) for _, each in itertools.groupby(tiles, lambda each: each.canvas[0])]
    firsts = [each[0].canvas[0].start for each in of_rows]
    begun = None  # rows that the tiles above have added to
    for first, row, done in zip(firsts, of_rows, [*firsts[1:], None], strict=True):
        band: np.ndarray | None = None
        for tile in row:
            part = compute(tile)
            if band is None:
                band = np.zeros((*part.shape[:-2], width, part.shape[-1]), np.float32)
                if begun is not None:
                    band[..., : begun.shape[-3], :, :] = begun
            band[..., tile.canvas[1], :] += tile.weights * part
        assert band is not None  # a row has tiles
        end = None if done is None else done - first
        yield band[..., :end, :, :]
        begun = None if end is None else band[..., end:, :, :].copy()
