import types

import numpy as np
import pytest

from rnnseg import VideoSegmenter
from rnnseg.models.registry import MODELS
from rnnseg.runtime import letterbox, segmenter
from rnnseg.video.engines import KerasEngine, LiteRTEngine, open_engine
from tests.support.litert import make_info, write_anytime
from tests.support.models import make_lively_model, make_model
from tests.video.clips import scene

# The strides of canvas and features are the same, or a canvas pixel is half as wide and the encoder
# has two stages, of which videos with one iteration per frame need the first.
STRIDES = {
    "one stride": {},
    "two strides": dict(
        output_stride=16,
        canvas_stride=8,
        skip_layers=("stride8_conv2_relu",),
        early_iterations=(1,),
    ),
}


@pytest.fixture(scope="module", params=STRIDES)
def model(request):
    model = make_model(learned_start=True, iterations=3, **STRIDES[request.param])
    rng = np.random.default_rng(0)
    for weight in model.stack.initial_values.values():
        weight.assign(rng.normal(size=weight.shape))
    return model


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    return segmenter.Segmenter(write_anytime(model, (49, 65), tmp_path_factory.mktemp("export")))


def test_a_litert_file_segments_a_video_as_its_model_does(model, file):
    frames = scene(4, size=(49, 65)) + scene(2, size=(49, 65), seed=1)
    for options in ({}, {"decay": 0.2, "motion": False}, {"iterations": 1}):
        pairs = zip(
            *(map(VideoSegmenter(each, **options), frames) for each in (model, file)), strict=True
        )
        for expected, result in pairs:
            assert (result.iterations, result.cut) == (expected.iterations, expected.cut)
            np.testing.assert_allclose(result.canvas, expected.canvas, atol=1e-4)
            assert np.mean(result.classes == expected.classes) > 0.999


def test_spacing_is_that_of_the_image(model, file, monkeypatch):
    monkeypatch.setattr(letterbox, "scale_and_pad", None)  # which would take long
    assert open_engine(model).spacing(np.zeros((99, 51, 3), np.uint8)) == (8, 8)
    engine = open_engine(file)
    assert engine.spacing(np.zeros((49, 33, 3), np.uint8)) == (8, 8)
    # Scaled down to half the size, 48 and 64 pixels between the first and the last.
    assert engine.spacing(np.zeros((97, 129, 3), np.uint8)) == (16, 16)
    down, right = engine.spacing(np.zeros((97, 50, 3), np.uint8))
    assert down == 16 and right == pytest.approx(16, rel=0.03)
    assert engine.spacing(np.zeros((1, 65, 3), np.uint8)) == (8, 8)


def test_spacing_is_that_of_the_canvas():
    """For a canvas as coarse as the features, 16 pixels; scaled down to half the size, 32."""
    model = make_model(output_stride=16, canvas_stride=16)
    assert open_engine(model).spacing(np.zeros((99, 51, 3), np.uint8)) == (16, 16)
    info = make_info(output_stride=32, canvas_stride=16, size=(49, 65))
    engine = LiteRTEngine(types.SimpleNamespace(info=info))
    assert engine.spacing(np.zeros((97, 129, 3), np.uint8)) == (32, 32)


class Earlier:
    """An engine that was written for the first version: `initial_canvas` was called start."""

    recurrent, iterations, colors = True, 3, ((0, 0, 0), (9, 9, 9))
    start = np.float32([0.5, -0.5])

    def spacing(self, frame):
        return (8.0, 8.0)

    def run(self, frame, iterations, seed):
        canvas = np.full((7, 9, 2), iterations, np.float32) if seed is None else seed
        return canvas, np.zeros(frame.shape[:2], np.int32)


def test_an_engine_of_the_first_version_works_for_one_more_release():
    with pytest.warns(DeprecationWarning, match="start of an engine is now called initial_canvas"):
        video = VideoSegmenter(Earlier(), motion=False, decay=0.5)
    first, second = (video(frame) for frame in scene(2, size=(49, 65)))
    np.testing.assert_array_equal(second.canvas, Earlier.start + (first.canvas - Earlier.start) / 2)


def test_a_feed_forward_file_segments_every_frame_by_itself(tmp_path):
    model = MODELS["deeplabv3"](4, encoder="small_cnn", encoder_weights=None, output_stride=8)
    file = segmenter.Segmenter(write_anytime(model, (49, 65), tmp_path))
    video, reference = VideoSegmenter(file), VideoSegmenter(model)
    for frame in scene(3, size=(49, 65)):
        result, expected = video(frame), reference(frame)
        assert result.iterations == 1
        np.testing.assert_allclose(result.canvas, expected.canvas, atol=1e-4)


def test_large_frames_in_tiles_and_at_a_smaller_size():
    model = make_lively_model()
    frames = scene(3, size=(120, 360))
    tiled = VideoSegmenter(KerasEngine(model, tile=256))
    for result, expected in zip(
        map(tiled, frames), map(VideoSegmenter(model), frames), strict=True
    ):
        assert len(np.unique(expected.classes)) > 1
        np.testing.assert_allclose(result.canvas, expected.canvas, atol=1e-3)
        assert np.mean(result.classes == expected.classes) > 0.999
    frames = scene(3, size=(120, 160))
    engine = KerasEngine(model, max_size=80)
    assert engine.spacing(frames[0]) == (16, 16)
    for number, result in enumerate(map(VideoSegmenter(engine), frames)):
        assert result.classes.shape == (120, 160) and result.canvas.shape[:2] == (9, 11)
        assert result.iterations == (6, 2, 2)[number]
