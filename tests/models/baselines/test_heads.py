"""The heads of the baselines, written a second time in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnseg import UserError
from rnnseg.budgets import costs
from rnnseg.models.baselines import pspnet
from rnnseg.models.registry import MODELS
from tests.support.reference import convolve

OPTIONS = dict(encoder="mobilenet_v2_0.35", encoder_weights=None)


def build(kind, **options):
    keras.utils.set_random_seed(3)
    model = MODELS[kind](4, head_channels=8, **(OPTIONS | options))
    # Statistics and offsets that do nothing would hide mistakes.
    for layer in model.head._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            for weight in layer.weights:
                weight.assign(tf.random.uniform(weight.shape, 0.5, 1.5))
    return model


def block(layer, x):
    """A convolution, its batch norm and ReLU."""
    convolution = layer.convolution
    bias = np.float64(convolution.bias) if convolution.use_bias else None
    (rate, _) = convolution.dilation_rate
    x = convolve(x, np.float64(convolution.kernel), bias, rate)
    if layer.batch_norm is not None:
        norm = layer.batch_norm
        gamma, beta, mean, variance = (
            np.float64(each)
            for each in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
        )
        x = (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta
    return np.maximum(x, 0)


def classify(head, x):
    return convolve(x, np.float64(head.classify.kernel), np.float64(head.classify.bias))


def spread(x, height, width):
    """Bilinear interpolation with aligned corners."""
    for axis, length in ((1, height), (2, width)):
        places = np.linspace(0, x.shape[axis] - 1, length)
        x = np.apply_along_axis(
            lambda line, at=places: np.interp(at, np.arange(len(line)), line), axis, x
        )
    return x


def random_features(model, height=9, width=11):
    shape = (2, height, width, model.encoder.channels)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("stride", "rates"), [(16, (6, 12, 18)), (8, (12, 24, 36))])
def test_deeplabv3_equals_its_definition(stride, rates):
    model = build("deeplabv3", output_stride=stride)
    features = random_features(model)
    x = np.float64(features)
    head = model.head
    found = tuple(branch.convolution.dilation_rate[0] for branch in head.branches[1:])
    assert found == rates
    seen = [block(branch, x) for branch in head.branches]
    mean = block(head.image_level, x.mean((1, 2), keepdims=True))
    seen.append(np.broadcast_to(mean, seen[0].shape))
    expected = classify(head, block(head.project, np.concatenate(seen, -1)))
    np.testing.assert_allclose(model.prepare(features), expected, rtol=1e-3, atol=1e-4)


def test_pspnet_equals_its_definition():
    model = build("pspnet")
    features = random_features(model)
    x = np.float64(features)
    seen = [x]
    for bins, level in zip((1, 2, 3, 6), model.head.levels, strict=True):
        seen.append(spread(block(level, regions(x, bins)), 9, 11))
    expected = classify(model.head, block(model.head.fuse, np.concatenate(seen, -1)))
    np.testing.assert_allclose(model.prepare(features), expected, rtol=1e-3, atol=1e-4)


def regions(x, bins):
    height, width = x.shape[1:3]
    out = np.empty((x.shape[0], bins, bins, x.shape[3]))
    for i in range(bins):
        rows = slice(i * height // bins, -(-(i + 1) * height // bins))
        for j in range(bins):
            columns = slice(j * width // bins, -(-(j + 1) * width // bins))
            out[:, i, j] = x[:, rows, columns].mean((1, 2))
    return out


@pytest.mark.parametrize(("height", "width"), [(6, 6), (7, 13), (1, 2)])
def test_regions_cover_every_size(height, width):
    x = np.random.default_rng(1).normal(size=(2, height, width, 3)).astype(np.float32)
    pool = tf.function(
        lambda features: pspnet.pool_regions(features, 6),
        input_signature=[tf.TensorSpec((None, None, None, 3))],
    )
    np.testing.assert_allclose(pool(x), regions(x, 6), rtol=1e-4, atol=1e-5)


def test_head_trains_in_training_mode_alone():
    model = build("deeplabv3")
    features = random_features(model)
    before = [weight.numpy() for weight in model.head.non_trainable_weights]
    assert np.array_equal(model.prepare(features), model.prepare(features))
    model.prepare(features, training=True)
    after = model.head.non_trainable_weights
    assert any(not np.array_equal(*pair) for pair in zip(before, after, strict=True))
    # The mean over the image has no statistics.
    assert model.head.image_level.batch_norm is None


def test_costs_stand_beside_the_paper_s(paper_model):
    """Table 3, single-scale: PSPNet's 260 G at stride 8; DeepLabv3's head by hand."""
    network = paper_model.encoder.network
    deep = costs.stage_costs(
        MODELS["deeplabv3"](21, encoder=network, encoder_weights=None), 513, 513
    )
    pixels = 33 * 33
    pyramid = 2048 * 256 + 3 * 9 * 2048 * 256 + 5 * 256 * 256 + 256 * 21
    assert deep.prepare == pixels * pyramid + 2048 * 256
    assert deep.refine == 0 and deep.total(1) == deep.encode + deep.prepare + deep.read
    pspnet_model = MODELS["pspnet"](21, encoder="resnet101", encoder_weights=None, output_stride=8)
    scene = costs.stage_costs(pspnet_model, 513, 513)
    assert scene.total(1) / 1e9 == pytest.approx(260, rel=0.01)


@pytest.mark.parametrize("kind", ["deeplabv3", "pspnet"])
def test_there_is_one_iteration_and_no_seed(kind):
    model = build(kind)
    images = np.zeros((1, 40, 56, 3), np.uint8)
    logits = model(images)
    assert logits.shape == (1, 40, 56, 4)
    assert np.array_equal(logits, model(images, iterations=1))
    canvas = model.unroll(images)[0]
    assert np.array_equal(logits, model.logits(canvas, (40, 56)))
    with pytest.raises(UserError, match=f"iterations=2: {kind} is feed-forward"):
        model(images, iterations=2)
    with pytest.raises(UserError, match="starts from the features"):
        model(images, canvas=canvas)


@pytest.mark.parametrize("kind", ["deeplabv3", "pspnet"])
def test_a_saved_model_gives_the_same(kind, tmp_path):
    model = build(kind, class_names=("a", "b", "c", "d"))
    images = np.random.default_rng(2).integers(0, 256, (1, 40, 56, 3), np.uint8)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model) and loaded.class_names == model.class_names
    assert np.array_equal(loaded(images), model(images))


def test_mixed_precision_keeps_the_canvas_float32():
    for kind in ("deeplabv3", "pspnet"):
        model = build(kind, dtype="mixed_bfloat16")
        assert model.unroll(np.zeros((1, 40, 56, 3), np.uint8)).dtype == tf.float32
