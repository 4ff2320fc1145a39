import numpy as np
import pytest

from rnnseg import UserError
from rnnseg.video import libraries
from rnnseg.video.motion import Follower, SmallFrame, color_change, interpolate
from tests.video.clips import scene


def test_color_change_is_that_of_cuts_not_of_motion_or_light():
    frames, other = scene(40, seed=1), scene(1, seed=2)[0]
    small = SmallFrame(frames[0])
    assert color_change(small, small) == 0
    assert color_change(small, SmallFrame(frames[1])) < 0.1
    assert color_change(small, SmallFrame(other)) > 0.4
    grey = np.full((48, 64, 3), 94, np.uint8)
    assert color_change(SmallFrame(grey), SmallFrame(grey + 6)) < 0.3
    black, white = (SmallFrame(np.full((48, 64, 3), value, np.uint8)) for value in (0, 255))
    assert color_change(black, white) == pytest.approx(1)


@pytest.mark.parametrize("size", [(9, 400), (400, 9), (1, 1)])
def test_any_shape_of_frames_can_be_followed(size):
    small = SmallFrame(np.zeros((*size, 3), np.uint8))
    canvas = np.ones((2, 2, 3), np.float32)
    moved, weight = Follower().follow(canvas, small, small, (8.0, 8.0))
    np.testing.assert_array_equal(moved, canvas)
    np.testing.assert_array_equal(weight, np.ones((2, 2, 1)))


def test_follows_motion_and_does_not_rely_on_what_came_in():
    # The camera moves by 8 pixels, the width of a canvas pixel; by half of that on the small frame.
    before, *_, after = scene(5, size=(192, 320))
    canvas = np.random.default_rng(0).normal(size=(25, 41, 2)).astype(np.float32)
    moved, weight = Follower().follow(canvas, SmallFrame(before), SmallFrame(after), (8.0, 8.0))
    inner = np.s_[3:-3, 3:-4]
    np.testing.assert_allclose(moved[inner], canvas[:, 1:][inner[0], 3:-3], atol=0.25)
    assert np.mean(weight[inner]) > 0.9
    assert np.all(weight[:, -1] < 0.01)


def test_a_fine_canvas_moves_by_as_many_image_pixels():
    """The same ramp, seen every 8 pixels and every 4, is the same where both see it."""
    before, *_, after = map(SmallFrame, scene(5, size=(192, 320)))
    coarse, fine = (
        Follower().follow(
            np.indices((192 // stride + 1, 320 // stride + 1), np.float32).transpose(1, 2, 0)
            * np.float32(stride),
            before,
            after,
            (float(stride),) * 2,
        )
        for stride in (8, 4)
    )
    np.testing.assert_allclose(fine[0][::2, ::2][1:-1, 1:-2], coarse[0][1:-1, 1:-2], atol=1e-3)
    assert np.mean(coarse[0][3:-3, 3:-4, 1] - 8 * np.arange(41)[3:-4]) == pytest.approx(8, abs=0.5)


def test_what_comes_in_is_not_relied_on_though_it_is_dark():
    before, *_, after = (frame // 12 for frame in scene(5, size=(192, 320)))
    canvas = np.ones((25, 41, 1), np.float32)
    _, weight = Follower().follow(canvas, SmallFrame(before), SmallFrame(after), (8.0, 8.0))
    assert np.all(weight[:, -1] < 0.01)


def test_relies_less_on_what_looks_otherwise():
    before = np.full((192, 320, 3), 100, np.uint8)
    after = before.copy()
    after[:, 160:] += 40
    canvas = np.ones((25, 41, 1), np.float32)
    _, weight = Follower().follow(canvas, SmallFrame(before), SmallFrame(after), (8.0, 8.0))
    np.testing.assert_allclose(weight[:, :20], 1, atol=1e-3)
    assert np.all(weight[:, 21:] < 0.01)


def test_interpolate_is_bilinear_and_stays_inside():
    rows, columns = np.indices((3, 4), np.float32)
    values = np.stack([rows + 10 * columns, rows * columns], -1)
    places = np.float32([[-1, 0.5, 1.25, 9]]), np.float32([[0, 1.5, 2.75, 9]])
    inside = np.clip(places[0], 0, 2), np.clip(places[1], 0, 3)
    expected = np.stack([inside[0] + 10 * inside[1], inside[0] * inside[1]], -1)
    np.testing.assert_allclose(interpolate(values, *places), expected, rtol=1e-6)


def test_missing_libraries_say_how_to_install_them():
    with pytest.raises(UserError, match=r"needs the package cv2.*pip install 'rnnseg\[video\]'"):
        with libraries():
            raise ImportError("No module named 'cv2'", name="cv2")
    with pytest.raises(ImportError), libraries():
        raise ImportError("No module named 'other'", name="other")
