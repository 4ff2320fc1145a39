import keras
import numpy as np
import pytest

from rnnseg import UserError
from rnnseg.budgets import costs as budgets
from rnnseg.models.context import Context
from rnnseg.models.encoder import DEEPEST
from tests.support.models import make_model
from tests.support.reference import convolve

FEATURES = np.random.default_rng(0).normal(size=(2, 9, 11, 5)).astype(np.float32)


def make_context(stride=16, channels=3, rates=(6, 12)):
    keras.utils.set_random_seed(1)
    layer = Context(channels, stride, rates, name="context")
    layer.build((None, None, None, 5))
    for weight in layer.weights:  # biases start from zero
        weight.assign(keras.random.normal(weight.shape))
    return layer


@pytest.mark.parametrize(
    ("stride", "given", "rates"),
    [
        (8, (6, 12), (12, 24)),
        (16, (6, 12), (6, 12)),
        (32, (6, 12), (3, 6)),
        (8, (3,), (6,)),
        (16, (), ()),
    ],
)
def test_context_stands_beside_the_features(stride, given, rates):
    layer = make_context(stride, rates=given)
    x = np.float64(FEATURES)
    seen = [x]
    for branch, rate in zip(layer.branches, rates, strict=True):
        seen.append(convolve(x, np.float64(branch.kernel), np.float64(branch.bias), rate))
    whole = layer.image_level
    mean = convolve(x.mean((1, 2), keepdims=True), np.float64(whole.kernel), np.float64(whole.bias))
    seen.append(np.broadcast_to(mean, (*x.shape[:3], 3)))
    expected = np.concatenate([x, *(np.maximum(each, 0) for each in seen[1:])], -1)
    np.testing.assert_allclose(layer(FEATURES), expected, rtol=1e-4, atol=1e-4)
    assert layer.compute_output_shape(FEATURES.shape) == expected.shape


def test_the_context_of_a_part_is_that_of_the_whole_image():
    layer = make_context(rates=())
    mean = FEATURES.mean((1, 2), keepdims=True)
    part = layer(FEATURES[:, 2:4, 5:9], mean=mean)
    np.testing.assert_allclose(part, layer(FEATURES)[:, 2:4, 5:9], rtol=1e-5)


def test_recurrence_with_context_is_the_recurrence_on_wider_features():
    model = make_model(context_channels=3)
    images = np.random.default_rng(1).integers(0, 256, (1, 40, 48, 3), np.uint8)
    features = model.encode(images)
    prepared = model.stack.prepare({DEEPEST: model.context(features[DEEPEST])})
    np.testing.assert_array_equal(model.prepare(features), prepared)
    canvas, _ = model.refine(prepared, 3)
    np.testing.assert_array_equal(model(images, iterations=3), model.logits(canvas, (40, 48)))
    # The work is done once per image; an iteration costs what it costs without.
    costs, plain = (budgets.stage_costs(each, 40, 48) for each in (model, make_model()))
    channels, pixels = model.encoder.channels, 6 * 7
    context = pixels * 2 * 9 * channels * 3 + channels * 3
    wider = pixels * 9 * 4 * 6
    assert costs.prepare - plain.prepare == context + wider
    assert (costs.encode, costs.refine) == (plain.encode, plain.refine)


def test_the_context_of_the_whole_image_is_computed_once_per_image():
    model = make_model(context_channels=3, context_rates=())
    images = np.random.default_rng(1).integers(0, 256, (2, 40, 48, 3), np.uint8)
    features = model.encode(images)
    at_every_pixel = model.stack.prepare({DEEPEST: model.context(features[DEEPEST])})
    np.testing.assert_allclose(model.prepare(features), at_every_pixel, rtol=1e-4, atol=1e-5)
    costs, plain = (budgets.stage_costs(each, 40, 48) for each in (model, make_model()))
    assert costs.prepare - plain.prepare == model.encoder.channels * 3 + 3 * 4 * 6


def test_the_context_of_the_whole_image_ends_where_larger_kernels_reach_the_border():
    model = make_model(context_channels=3, context_rates=(), kernel_size=3)
    images = np.random.default_rng(1).integers(0, 256, (1, 40, 48, 3), np.uint8)
    features = model.encode(images)
    at_every_pixel = model.stack.prepare({DEEPEST: model.context(features[DEEPEST])})
    np.testing.assert_array_equal(model.prepare(features), at_every_pixel)


def test_context_is_saved_and_trained(tmp_path):
    model = make_model(context_channels=3)
    images = np.random.default_rng(1).integers(0, 256, (2, 40, 48, 3), np.uint8)
    model.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = [weight.numpy() for weight in model.context.weights]
    model.fit(images, np.ones((2, 40, 48), np.int32), verbose=0)
    for old, new in zip(before, model.context.weights, strict=True):
        assert not np.array_equal(old, new)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(loaded(images), model(images))


def test_a_negative_width_is_refused():
    with pytest.raises(UserError, match="context_channels=-1: expected"):
        make_model(context_channels=-1)
