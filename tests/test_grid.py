import numpy as np
import pytest
import tensorflow as tf

from rnnseg import grid


@pytest.mark.parametrize(
    "size, stride, expected",
    [(513, 16, 33), (512, 16, 33), (514, 16, 34), (360, 16, 24), (16, 16, 2), (65, 8, 9),
     (1, 8, 1), (2, 8, 2)],
)  # fmt: skip
def test_canvas_size(size, stride, expected):
    assert grid.canvas_size(size, stride) == expected
    assert int(grid.canvas_size(tf.constant(size), stride)) == expected


def test_a_canvas_covers_its_image_and_no_stride_more():
    for stride in (8, 16, 32):
        for size in range(1, 100):
            covered = grid.covered_size(grid.canvas_size(size, stride), stride)
            assert size <= covered < size + stride
            # Of an image that lies on the grid, the first and the last pixel have a canvas pixel.
            assert grid.canvas_size(covered, stride) == len(np.arange(0, covered, stride))


def test_scaled_size():
    """The paper's views, of round(512 * scale) + 1 pixels; a single pixel stays one."""
    for scale in (0.5, 0.75, 1, 1.25, 1.5, 1.75):
        assert grid.scaled_size(513, scale) == round(512 * scale) + 1
    assert [grid.scaled_size(side, 0.5) for side in (9, 17, 1)] == [5, 9, 1]
