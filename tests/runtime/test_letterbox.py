import importlib
import math

import numpy as np
import pytest
import tensorflow as tf

from rnnseg import UserError, grid
from rnnseg.models import geometry
from rnnseg.runtime import letterbox
from tests.support.litert import make_info

INFO = make_info(size=(41, 57), padding=(9, 8, 7))
STRIDE = INFO.output_stride


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_an_image_of_the_files_size_is_taken_as_it_is():
    image = noise(41, 57)
    boxed = letterbox.letterbox(image, INFO)
    np.testing.assert_array_equal(boxed.image, image[np.newaxis])
    np.testing.assert_array_equal(boxed.rows, np.arange(41) / STRIDE)
    np.testing.assert_array_equal(boxed.columns, np.arange(57) / STRIDE)
    assert boxed.canvas_region == (slice(6), slice(8)) and boxed.size == (41, 57)


@pytest.mark.parametrize("size", [(30, 50), (41, 9), (1, 57), (1, 1)])
def test_a_smaller_image_is_padded(size):
    image = noise(*size)
    boxed = letterbox.letterbox(image, INFO)
    assert boxed.image.shape == (1, 41, 57, 3) and boxed.image.dtype == np.uint8
    np.testing.assert_array_equal(boxed.image[0, : size[0], : size[1]], image)
    around = np.ones((41, 57), bool)
    around[: size[0], : size[1]] = False
    assert (boxed.image[0][around] == INFO.padding).all()
    np.testing.assert_array_equal(boxed.rows, np.arange(size[0]) / STRIDE)
    assert boxed.canvas_region[0].stop == grid.canvas_size(size[0], STRIDE)


@pytest.mark.parametrize(
    ("size", "shown"),
    [((81, 113), (41, 57)), ((82, 100), (41, 50)), ((50, 57), (41, 47)), ((30, 113), (15, 57)),
     ((400, 401), (41, 41)), ((3000, 2), (41, 1)), ((1, 500), (1, 57))],
)  # fmt: skip
def test_a_larger_image_is_scaled_with_its_aspect_and_corners_kept(size, shown):
    boxed = letterbox.letterbox(noise(*size), INFO)
    assert (boxed.image[0] == INFO.padding).all(-1).sum() == 41 * 57 - math.prod(shown)
    assert len(boxed.rows) == size[0] and len(boxed.columns) == size[1]
    assert boxed.rows[0] == boxed.columns[0] == 0
    assert (boxed.rows[-1], boxed.columns[-1]) == ((shown[0] - 1) / STRIDE, (shown[1] - 1) / STRIDE)


@pytest.mark.parametrize("size", [(50, 60), (80, 113), (163, 229), (402, 399)])
def test_pixels_stay_where_they_are(size):
    """A ramp of brightness stays the same ramp when scaled, except for the averages at its ends."""
    rows, columns = np.meshgrid(*map(np.arange, size), indexing="ij")
    image = np.stack([200 * rows / size[0], 200 * columns / size[1], 0 * rows], -1) + 20
    boxed = letterbox.letterbox(np.rint(image).astype(np.uint8), INFO)
    height, width = (round(STRIDE * each[-1]) + 1 for each in (boxed.rows, boxed.columns))
    expected = geometry.resize_aligned(tf.constant(image[np.newaxis], tf.float32), (height, width))
    difference = np.abs(boxed.image[0, :height, :width] - expected[0])
    assert difference[2:-2, 2:-2].max() < 1.2
    assert difference.max() < 200 / min(height, width)  # not even a pixel of the scaled image


def test_scaling_far_down_averages():
    """No pixel is skipped: alternating rows become grey."""
    image = np.zeros((410, 570, 3), np.uint8)
    image[::2] = 250
    shown = letterbox.letterbox(image, INFO).image[0]
    assert np.ptp(shown[1:-1].astype(int)) <= 1 and abs(int(shown[5, 5, 0]) - 125) <= 1


def test_scaling_by_little_is_bilinear():
    image = noise(60, 58)
    boxed = letterbox.letterbox(image, make_info(size=(41, 57)))
    height, width = (round(STRIDE * each[-1]) + 1 for each in (boxed.rows, boxed.columns))
    expected = geometry.resize_aligned(image[np.newaxis].astype(np.float32), (height, width))[0]
    difference = boxed.image[0, :height, :width] - expected.numpy()
    assert np.abs(difference).max() < 0.51


def test_a_file_of_any_size_takes_images_as_they_are():
    info = make_info(size=None)
    for size in ((STRIDE, 30), (500, 700)):
        image = noise(*size)
        boxed = letterbox.letterbox(image, info)
        np.testing.assert_array_equal(boxed.image[0], image)
        assert boxed.columns[-1] == (size[1] - 1) / STRIDE
    with pytest.raises(UserError, match=r"7x30 pixels is smaller than one output stride \(8\)"):
        letterbox.letterbox(noise(7, 30), info)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((9, 8), np.uint8), r"is grey: repeat it by np.stack\(\[grey\] \* 3, -1\)"),
        (np.zeros((9, 8, 1), np.uint8), "is grey"),
        (np.zeros((9, 8, 4), np.uint8), r"fourth channel: leave it out by image\[..., :3\]"),
        (np.zeros((1, 9, 8, 3), np.uint8), "is a batch: give its images one at a time"),
        (np.zeros((9, 8, 3), np.float32), r"\(9, 8, 3\) and float32: .* wrong type: scale it to"),
        (np.zeros((9, 8, 3), np.int32), "wrong type"),
        (np.zeros((0, 8, 3), np.uint8), "is no image"),
        (np.zeros((3, 9, 8), np.uint8), "is no image"),
        (np.zeros(3, np.uint8), "is no image"),
        (None, "is no image"),
        ("photo.jpg", "is no image"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(UserError, match=message) as caught:
        letterbox.letterbox(image, INFO)
    assert len(str(caught.value).splitlines()) == 1 and "expected RGB" in str(caught.value)


def test_old_names_work_for_one_more_release():
    with pytest.warns(DeprecationWarning, match="rnnseg.framing is now rnnseg.runtime.letterbox"):
        framing = importlib.import_module("rnnseg.framing")
    image = noise(30, 50)
    with pytest.warns(DeprecationWarning) as caught:
        boxed = framing.frame(image, INFO)
        fitted, content = framing.fit(image, (41, 57), (9, 8, 7))
        assert framing.fitted_size((30, 50), (41, 57)) == content == (30, 50)
        assert isinstance(boxed, framing.Frame) and boxed.cells == boxed.canvas_region
        assert framing.nearest is letterbox.resize_nearest
    np.testing.assert_array_equal(fitted, boxed.image[0])
    assert {each.filename for each in caught} == {__file__} and len(caught) == 6


@pytest.mark.parametrize("size", [(41, 57), (20, 100), (1, 1), (7, 3)])
def test_a_map_scaled_there_and_back_is_the_same(size):
    classes = np.random.default_rng(0).integers(0, 5, size)
    larger = letterbox.resize_nearest(classes, (3 * size[0], 2 * size[1] + 1))
    assert larger.shape == (3 * size[0], 2 * size[1] + 1)
    np.testing.assert_array_equal(letterbox.resize_nearest(larger, size), classes)
    np.testing.assert_array_equal(larger[[0, 0, -1, -1], [0, -1, 0, -1]],
                                  classes[[0, 0, -1, -1], [0, -1, 0, -1]])  # fmt: skip
