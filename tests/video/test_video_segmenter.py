import numpy as np
import pytest
import tensorflow as tf

from rnnseg import UserError, VideoSegmenter
from rnnseg.models.registry import MODELS
from rnnseg.video import segmenter, sources
from tests.support.models import make_model
from tests.video.clips import scene


@pytest.fixture(scope="module")
def model():
    return make_model(learned_start=True, iterations=3)


@pytest.fixture(scope="module", autouse=True)
def _start_is_not_zero(model):
    rng = np.random.default_rng(0)
    for weight in model.stack.initial_values.values():
        weight.assign(rng.normal(size=weight.shape))


def refined(model, frame, iterations, canvas=None):
    prepared = model.prepare(model.encode(frame[np.newaxis]))
    seed = None if canvas is None else canvas[np.newaxis]
    return model.refine(prepared, iterations, canvas=seed)[0][0].numpy()


def test_a_frame_starts_from_what_is_kept_of_the_canvas(model):
    frames = scene(3)
    video = VideoSegmenter(model, decay=0.4, motion=False)
    start = model.stack.initial_values["canvas"].numpy()
    canvas = refined(model, frames[0], 3)
    for number, frame in enumerate(frames):
        if number:
            canvas = refined(model, frame, 2, start + 0.6 * (canvas - start))
        result = video(frame)
        assert result.iterations == (2 if number else 3) and not result.cut
        np.testing.assert_allclose(result.canvas, canvas, atol=1e-5)
        classes = model.read(result.canvas[np.newaxis], frame.shape[:2])[0]
        np.testing.assert_array_equal(result.classes, classes)
        assert result.classes.dtype == np.int32


def test_motion_moves_the_canvas_along():
    # The camera moves by 8 pixels from the first to the second frame, the width of a canvas pixel.
    model = make_model()
    first, *_, second = scene(5, size=(96, 160))
    still, moved = (
        [video(frame) for frame in (first, second)][1]
        for video in (VideoSegmenter(model, 1, decay=0, motion=m) for m in (False, True))
    )
    before = VideoSegmenter(model, 1)(first).canvas
    inner = (slice(2, -2), slice(2, -3))
    expected = refined(model, second, 1, np.concatenate([before[:, 1:], before[:, -1:]], 1))
    errors = [np.abs(each.canvas - expected)[inner].mean() for each in (moved, still)]
    assert errors[0] < 0.3 * errors[1]


def test_with_everything_forgotten_every_frame_is_an_image_of_its_own(model):
    video = VideoSegmenter(model, iterations=2, first_iterations=2, decay=1)
    for frame in scene(3):
        np.testing.assert_allclose(video(frame).canvas, refined(model, frame, 2), atol=1e-5)


def test_starts_anew_at_a_cut_and_nowhere_else(model):
    frames = scene(6, seed=1) + scene(6, seed=2)
    video = VideoSegmenter(model)
    results = [video(frame) for frame in frames]
    assert [number for number, result in enumerate(results) if result.cut] == [6]
    assert [result.iterations for result in results] == 2 * [3, 2, 2, 2, 2, 2]
    np.testing.assert_array_equal(results[6].canvas, VideoSegmenter(model)(frames[6]).canvas)
    never = VideoSegmenter(model, cut_threshold=1)
    assert not any(never(frame).cut for frame in frames)


def test_starts_anew_at_another_size_and_after_reset(model):
    video = VideoSegmenter(model)
    small, large = scene(2), scene(2, size=(50, 71))
    assert [video(frame).iterations for frame in (*small, *large)] == [3, 2, 3, 2]
    assert video(large[0][:48, :64]).iterations == 3
    video.reset()
    result = video(large[0][:48, :64])
    assert result.iterations == 3 and not result.cut


def test_feed_forward_models_segment_every_frame_by_itself():
    model = MODELS["deeplabv3"](4, encoder="small_cnn", encoder_weights=None, output_stride=8)
    video = VideoSegmenter(model, iterations=2)
    for frame in scene(2):
        result = video(frame)
        expected = model.read(model.prepare(model.encode(frame[np.newaxis])), frame.shape[:2])[0]
        np.testing.assert_array_equal(result.classes, expected)
        assert result.iterations == 1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"iterations": 0}, "iterations=0: expected a whole number"),
        ({"first_iterations": 1.5}, "first_iterations=1.5: expected a whole number"),
        ({"decay": 1.1}, "decay=1.1: expected a number from 0 to 1"),
        ({"cut_threshold": "0.3"}, "cut_threshold=0.3: expected a number"),
    ],
)
def test_wrong_arguments_are_refused(model, options, message):
    with pytest.raises(UserError, match=message):
        VideoSegmenter(model, **options)


def test_other_things_are_no_models_and_no_frames(model):
    with pytest.raises(UserError, match="a Dense cannot segment video"):
        VideoSegmenter(tf.keras.layers.Dense(1))
    video = VideoSegmenter(model)
    with pytest.raises(UserError, match="wrong type"):
        video(np.zeros((48, 64, 3), np.float32))
    with pytest.raises(UserError, match="smaller than one output stride"):
        video(np.zeros((48, 7, 3), np.uint8))


def test_old_names_work_for_one_more_release():
    with pytest.warns(DeprecationWarning, match="Result is now .*segmenter.VideoResult"):
        assert segmenter.Result is segmenter.VideoResult
    with pytest.warns(DeprecationWarning, match="Source is now .*sources.FrameSource"):
        assert sources.Source is sources.FrameSource
    with pytest.warns(DeprecationWarning, match="FrameSource.sound is now called has_audio"):
        assert sources.FrameSource(iter(()), 25, 1, has_audio=True).sound is True
