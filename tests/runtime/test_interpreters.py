"""The stages of a file beside the same stages of its model."""

import numpy as np
import pytest
import tensorflow as tf

from rnnseg import UserError
from rnnseg.models.registry import MODELS
from rnnseg.runtime.interpreters import LiteRTStages
from rnnseg.runtime.model_info import ModelInfo
from rnnseg.stages import Stages
from tests.support.litert import write_anytime


@pytest.fixture(scope="module")
def feed_forward(tmp_path_factory):
    model = MODELS["deeplabv3"](4, encoder="small_cnn", encoder_weights=None, output_stride=8)
    return model, open_stages(write_anytime(model, (41, 57), tmp_path_factory.mktemp("ff")))


def open_stages(path):
    return LiteRTStages(path, ModelInfo.load(path), 1)


@pytest.fixture(params=["fixed", "any_size"])
def file(request):
    return open_stages(request.getfixturevalue(f"{request.param}_file"))


@pytest.fixture
def image():
    blocks = np.random.default_rng(0).integers(0, 256, (3, 3, 3), np.uint8)
    return blocks.repeat(20, 0).repeat(20, 1)[np.newaxis, :41, :57]


def close(found, expected):
    assert isinstance(found, np.ndarray) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_attributes_are_those_of_the_model(file, model):
    assert isinstance(file, Stages)
    names = "recurrent iterations num_classes output_stride canvas_stride early_iterations"
    for name in names.split():
        assert getattr(file, name) == getattr(model, name)
    assert file.class_names == tuple("abcd") and len(file.class_colors) == 4


def test_every_stage_computes_what_the_models_does(file, model, image):
    stages = model.compiled_stages
    prepared = file.prepare(file.encode(image))
    expected = stages.prepare(stages.encode(image))
    np.testing.assert_allclose(prepared, expected, atol=1e-3 * np.abs(expected).max())
    canvas, state = file.refine(prepared, 2)
    expected_canvas, expected_state = stages.refine(expected, 2)
    close(canvas, expected_canvas)
    # Continued, with the state and without it, which are not the same.
    close(file.refine(prepared, 3, canvas, state)[0], stages.refine(expected, 5)[0])
    seeded, _ = stages.refine(expected, 3, expected_canvas)
    close(file.refine(prepared, 3, canvas)[0], seeded)
    assert np.abs(seeded - stages.refine(expected, 5)[0]).max() > 0.01
    assert len(state) == 2 * len(expected_state)
    classes = file.read(canvas, (41, 57))
    assert classes.dtype == np.int32 and classes.shape == (1, 41, 57)
    assert np.mean(classes == stages.read(expected_canvas, (41, 57))) > 0.998
    np.testing.assert_array_equal(file.read(canvas, (30, 57)), classes[:, :30])


def test_stages_of_the_encoder_are_run_one_by_one(staged_file, staged_model, image):
    file, stages = open_stages(staged_file), staged_model.compiled_stages
    assert file.first_iterations == (0, 2, 3) == stages.first_iterations
    assert (file.output_stride, file.canvas_stride) == (16, 8)
    features, expected, prepared, expected_prepared = image, image, None, None
    for number in range(3):
        features = file.encode_stage(number, features)
        expected = stages.encode_stage(number, expected)
        prepared = file.prepare(features, prepared)
        expected_prepared = stages.prepare(expected, expected_prepared)
        for name in features.keys() - {"prepared"}:
            close(features[name], expected[name])
        atol = 1e-3 * np.abs(expected_prepared).max()
        np.testing.assert_allclose(prepared, expected_prepared, atol=atol)
    np.testing.assert_array_equal(file.prepare(file.encode(image)), prepared)
    close(file.unroll(image, 5), staged_model.unroll(image, 5))


def test_unrolling_has_every_canvas(file, model, image):
    canvases = file.unroll(image, 4)
    close(canvases, model.unroll(image, 4))
    seed = np.random.default_rng(1).normal(size=canvases[0].shape).astype(np.float32)
    close(file.unroll(image, 2, seed), model.unroll(image, 2, tf.constant(seed)))


def test_an_earlier_call_does_not_matter(file, image):
    """The initial state is shared by all calls; no call may change it."""
    prepared = file.prepare(file.encode(image))
    first, state = file.refine(prepared, 1)
    file.refine(prepared, 2, first, state)
    np.testing.assert_array_equal(file.refine(prepared, 1)[0], first)


def test_a_feed_forward_file_goes_through_the_same_stages(feed_forward, image):
    model, file = feed_forward
    prepared = file.prepare(file.encode(image))
    canvas, state = file.refine(prepared, 5)
    assert not file.recurrent and not state
    close(canvas, model.unroll(image)[0])
    close(file.unroll(image, 5), model.unroll(image))


def test_wrong_numbers_and_sizes_are_refused(file, image):
    prepared = file.prepare(file.encode(image))
    for iterations in (0, 1.5):
        with pytest.raises(UserError, match=f"iterations={iterations}: expected a whole number"):
            file.refine(prepared, iterations)
        with pytest.raises(UserError, match="expected a whole number"):
            file.unroll(image, iterations)
    canvas, _ = file.refine(prepared, 1)
    with pytest.raises(UserError, match=r"size \(42, 57\): a canvas of 6x8 covers 41x57 pixels"):
        file.read(canvas, (42, 57))
