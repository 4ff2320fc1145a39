import itertools

import numpy as np
import pytest

from rnnseg import grid
from rnnseg.inference.tiling import blend, spans_of, tiles_of

SIZES = (1, 17, 128, 129, 130, 200, 333, 1000)
STRIDES = ((8, 8), (8, 4), (16, 8), (32, 8))


@pytest.mark.parametrize("strides", STRIDES)
@pytest.mark.parametrize("tile", [256, 300, 511])
def test_spans_cover_a_side_and_their_weights_add_up_to_one(strides, tile):
    output_stride, canvas_stride = strides
    for size in SIZES:
        spans = spans_of(size, tile, *strides)
        total = np.zeros(grid.canvas_size(size, *strides))
        finer = output_stride // canvas_stride
        for span in spans:
            assert span.weights.dtype == np.float32
            total[span.first * finer : span.last * finer + 1] += span.weights
        np.testing.assert_allclose(total, 1, atol=1e-6)
        assert (len(spans) == 1) == (size <= tile or len(total) <= (tile - 1) // canvas_stride + 1)
        if len(spans) > 1:
            (length,) = {span.last - span.first for span in spans}
            assert length * output_stride + 1 <= tile


@pytest.mark.parametrize("strides", STRIDES)
def test_what_lies_near_an_inner_edge_is_not_used(strides):
    finer = strides[0] // strides[1]
    spans = spans_of(5000, 30 * strides[0], *strides)
    assert len(spans) > 2
    for number, span in enumerate(spans):
        first, last = np.flatnonzero(span.weights)[[0, -1]]
        # A margin is 5 of 29 features, the averaged part a quarter of it.
        at_edge = 4 * finer
        assert first >= at_edge if number else first == 0
        behind = len(span.weights) - 1 - last
        assert behind >= at_edge if span is not spans[-1] else behind == 0


@pytest.mark.parametrize("size", [(100, 120), (333, 700), (1000, 260)])
def test_tiles_lie_where_they_lie_in_the_image(size):
    for output_stride, canvas_stride in STRIDES:
        tiles = tiles_of(size, 256, output_stride, canvas_stride)
        covered = np.zeros(size, bool)
        for tile in tiles:
            covered[tile.pixels] = True
            for pixels, canvas, side in zip(tile.pixels, tile.canvas, size, strict=True):
                assert pixels.start % output_stride == 0
                assert pixels.start == canvas_stride * canvas.start
                whole = (pixels.stop - 1 - pixels.start) % output_stride == 0
                assert whole or pixels.stop == side
                assert canvas.stop - canvas.start == grid.canvas_size(
                    pixels.stop - pixels.start, output_stride, canvas_stride
                )
        assert covered.all()
        assert tiles_of(size, None, output_stride, canvas_stride)[0].size == size


def test_the_largest_tile_does_not_grow_with_the_image():
    for side in (2000, 4000, 20000):
        for height, width in itertools.product((300, 3000), (side,)):
            tiles = tiles_of((height, width), 1280, 16, 8)
            assert max(max(tile.size) for tile in tiles) <= 1280


def test_blended_parts_of_a_canvas_are_the_canvas():
    rng = np.random.default_rng(0)
    tiles = tiles_of((500, 700), 256, 16, 8)
    canvas = rng.normal(size=(3, 65, 89, 4)).astype(np.float32)
    bands = list(blend(tiles, lambda tile: canvas[:, *tile.canvas]))
    assert len(bands) == 3 and max(each.shape[1] for each in bands) < 33
    found = np.concatenate(bands, 1)
    np.testing.assert_allclose(found, canvas, atol=1e-5)
    # Where a single tile counts, it is taken as it is.
    alone = np.ones(canvas.shape[1:3], bool)
    for tile in tiles:
        alone[tile.canvas] &= np.isin(tile.weights[..., 0], (0, 1))
    assert 0.5 < alone.mean() < 1
    np.testing.assert_array_equal(found[:, alone], canvas[:, alone])


def test_weights_change_linearly_between_two_tiles():
    tiles = tiles_of((100, 700), 256, 16, 8)
    (found,) = blend(
        tiles, lambda each: np.full((*each.weights.shape[:2], 1), each.pixels[1].start)
    )
    steps = np.diff(found[0, :, 0])
    starts = [tile.pixels[1].start for tile in tiles]
    assert found[0, 0, 0] == 0 and found[0, -1, 0] == starts[-1] and (steps >= 0).all()
    assert steps.max() <= max(np.diff(starts)) / 1.3
