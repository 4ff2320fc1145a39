"""The heads of the baselines, written a second time in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnseg import UserError
from rnnseg.budgets import costs
from rnnseg.models.baselines import pspnet
from rnnseg.models.encoder import DEEPEST
from rnnseg.models.registry import MODELS
from tests.support.profiler import traced_operations
from tests.support.reference import convolve

OPTIONS = dict(encoder="mobilenet_v2_0.35", encoder_weights=None)
BASELINES = [name for name, kind in MODELS.items() if not kind.recurrent]


def build(kind, **options):
    keras.utils.set_random_seed(3)
    if hasattr(MODELS[kind].options_type, "head_channels"):
        options = {"head_channels": 8} | options
    model = MODELS[kind](4, **(OPTIONS | options))
    for weight in model.head.trainable_weights:
        if "classify" in weight.path:  # some are zero at first
            weight.assign(tf.random.normal(weight.shape))
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
        x = normalize(layer.batch_norm, x)
    return np.maximum(x, 0)


def separable_block(layer, x):
    """A depthwise convolution, its batch norm and ReLU, and the block of a 1x1 convolution."""
    kernel = np.float64(layer.depthwise.kernel)
    (rate, _) = layer.depthwise.dilation_rate
    channels = [
        convolve(x[..., [index]], kernel[:, :, [index]], None, rate) for index in range(x.shape[-1])
    ]
    x = np.maximum(normalize(layer.batch_norm, np.concatenate(channels, -1)), 0)
    return block(layer.pointwise, x)


def normalize(norm, x):
    gamma, beta, mean, variance = (
        np.float64(each) for each in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    )
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def classify(layer, x):
    return convolve(x, np.float64(layer.kernel), np.float64(layer.bias))


def pyramid(layer, x, branch_block):
    """Atrous spatial pyramid pooling."""
    first, *others = layer.branches
    seen = [block(first, x), *(branch_block(branch, x) for branch in others)]
    mean = block(layer.image_level, x.mean((1, 2), keepdims=True))
    seen.append(np.broadcast_to(mean, seen[0].shape))
    return block(layer.project, np.concatenate(seen, -1))


def spread(x, height, width):
    """Bilinear interpolation with aligned corners."""
    for axis, length in ((1, height), (2, width)):
        places = np.linspace(0, x.shape[axis] - 1, length)
        x = np.apply_along_axis(
            lambda line, at=places: np.interp(at, np.arange(len(line)), line), axis, x
        )
    return x


def random_features(model, height=9, width=11):
    """Features of all depths, the deepest of this size."""
    rng = np.random.default_rng(0)
    features = {}
    for depth in model.encoder.depths:
        factor = model.output_stride // depth.stride
        shape = (2, (height - 1) * factor + 1, (width - 1) * factor + 1, depth.channels)
        features[depth.name] = rng.normal(size=shape).astype(np.float32)
    return features


@pytest.mark.parametrize(("stride", "rates"), [(16, (6, 12, 18)), (8, (12, 24, 36))])
def test_deeplabv3_equals_its_definition(stride, rates):
    model = build("deeplabv3", output_stride=stride)
    features = random_features(model)
    head = model.head
    found = tuple(branch.convolution.dilation_rate[0] for branch in head.branches[1:])
    assert found == rates
    expected = classify(head.classify, pyramid(head, np.float64(features[DEEPEST]), block))
    np.testing.assert_allclose(model.prepare(features), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("stride", "rates"), [(16, (6, 12, 18)), (8, (12, 24, 36))])
def test_deeplabv3_plus_equals_its_definition(stride, rates):
    model = build("deeplabv3_plus", output_stride=stride)
    features = random_features(model, 5, 6)
    low, deepest = (np.float64(each) for each in features.values())
    head = model.head
    found = tuple(branch.depthwise.dilation_rate[0] for branch in head.pyramid.branches[1:])
    assert found == rates
    x = spread(pyramid(head.pyramid, deepest, separable_block), *low.shape[1:3])
    x = np.concatenate([x, block(head.reduce, low)], -1)
    assert x.shape[-1] == 8 + 48
    for layer in head.refine:
        x = separable_block(layer, x)
    expected = classify(head.classify, x)
    assert model.canvas_stride == 4 and expected.shape[1:3] == model.canvas_size(
        4 * stride + 1, 5 * stride + 1
    )
    np.testing.assert_allclose(model.prepare(features), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("stride", [16, 8])
def test_lr_aspp_equals_its_definition(stride):
    model = build("lr_aspp", output_stride=stride)
    features = random_features(model)
    low, deepest = (np.float64(each) for each in features.values())
    head = model.head
    gate = convolve(deepest.mean((1, 2), keepdims=True), np.float64(head.gate.kernel))
    x = block(head.near, deepest) / (1 + np.exp(-gate))
    expected = classify(head.classify, spread(x, *low.shape[1:3])) + classify(
        head.classify_low, low
    )
    assert model.canvas_stride == 8 and low.shape[1] == 1 + 8 * stride // 8
    np.testing.assert_allclose(model.prepare(features), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("strides", "seen"),
    [
        ({"output_stride": 32}, (8, 16, 32)),
        ({"output_stride": 32, "canvas_stride": 16}, (16, 32)),
        ({"output_stride": 32, "canvas_stride": 32}, (32,)),
        ({}, (8, 16, 16)),
    ],
    ids=["FCN-8s", "FCN-16s", "FCN-32s", "atrous"],
)
def test_fcn_equals_its_definition(strides, seen):
    model = build("fcn", **strides)
    assert tuple(depth.stride for depth in model.encoder.depths) == seen
    assert model.canvas_stride == seen[0]
    features = random_features(model, 4, 5)
    *skips, summed = [
        classify(layer, np.float64(each))
        for layer, each in zip(model.head.scores, features.values(), strict=True)
    ]
    for scores in reversed(skips):
        summed = scores + spread(summed, *scores.shape[1:3])
    np.testing.assert_allclose(model.prepare(features), summed, rtol=1e-3, atol=1e-4)


def test_fcn_on_vgg_has_as_many_parameters_as_published():
    """Long et al., 2015, Table 1: 134 M for FCN-VGG16, whose fc6 and fc7 belong to the encoder."""

    def convolved(x, channels, side):
        # Random values of this many weights would take seconds.
        options = dict(padding="same", activation="relu", kernel_initializer="zeros")
        return keras.layers.Conv2D(channels, side, **options)(x)

    image = x = keras.Input((None, None, 3))
    for count, channels in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        for _ in range(count):
            x = convolved(x, channels, 3)
        x = keras.layers.MaxPooling2D(2, padding="same")(x)
    vgg = keras.Model(image, convolved(convolved(x, 4096, 7), 4096, 1))
    model = MODELS["fcn"](21, encoder=vgg, output_stride=32, canvas_stride=32)
    assert round(model.count_params() / 1e6) == 134


def test_fcn_starts_from_the_deepest_scores():
    model = MODELS["fcn"](4, **OPTIONS)
    features = random_features(model, 4, 5)
    deepest = {name: each if name == DEEPEST else 0 * each for name, each in features.items()}
    assert np.array_equal(model.prepare(features), model.prepare(deepest))


def test_pspnet_equals_its_definition():
    model = build("pspnet")
    features = random_features(model)
    x = np.float64(features[DEEPEST])
    seen = [x]
    for bins, level in zip((1, 2, 3, 6), model.head.levels, strict=True):
        seen.append(spread(block(level, regions(x, bins)), 9, 11))
    fused = block(model.head.fuse, np.concatenate(seen, -1))
    expected = classify(model.head.classify, fused)
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


@pytest.mark.parametrize("kind", [each for each in BASELINES if each != "fcn"])
def test_head_trains_in_training_mode_alone(kind):
    model = build(kind)
    features = random_features(model)
    before = [weight.numpy() for weight in model.head.non_trainable_weights]
    assert np.array_equal(model.prepare(features), model.prepare(features))
    model.prepare(features, training=True)
    after = model.head.non_trainable_weights
    assert any(not np.array_equal(*pair) for pair in zip(before, after, strict=True))


def test_the_mean_over_the_image_has_no_statistics():
    for head in (build("deeplabv3").head, build("deeplabv3_plus").head.pyramid):
        assert head.image_level.batch_norm is None


def test_costs_stand_beside_the_paper_s(paper_model):
    """Table 3, single-scale: PSPNet's 260 G at stride 8; DeepLabv3's head by hand."""
    network = paper_model.encoder.network
    same = keras.Model(network.input, network.output)  # normalisation costs nothing
    deep = costs.stage_costs(MODELS["deeplabv3"](21, encoder=same), 513, 513)
    pixels = 33 * 33
    pyramid = 2048 * 256 + 3 * 9 * 2048 * 256 + 5 * 256 * 256 + 256 * 21
    assert deep.prepare == pixels * pyramid + 2048 * 256
    assert deep.refine == 0 and deep.total(1) == deep.encode + deep.prepare + deep.read
    pspnet_model = MODELS["pspnet"](21, encoder="resnet101", encoder_weights=None, output_stride=8)
    scene = costs.stage_costs(pspnet_model, 513, 513)
    assert scene.total(1) / 1e9 == pytest.approx(260, rel=0.01)


@pytest.mark.parametrize(
    ("kind", "interpolated"),
    # The values that are interpolated, by hand.
    [
        ("deeplabv3", 0),
        ("deeplabv3_plus", 8 * 141 * 141),
        ("fcn", 4 * 71 * 71),
        ("lr_aspp", 8 * 71 * 71),
    ],
)
def test_profiler_counts_the_same(kind, interpolated):
    model = build(kind)
    # 36 features per side: TensorFlow pads what it dilates to a multiple of the rate, which the
    # profiler counts, too; this is a multiple of 6, 12 and 18.
    counted = costs.stage_costs(model, 561, 561).prepare
    prepare = costs._stages(model, 561, 561)["prepare"]
    kinds = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2")
    profiled = traced_operations(prepare, *kinds) / 2
    assert counted - 3 * interpolated == pytest.approx(profiled, rel=1e-3)


@pytest.mark.parametrize("kind", ["deeplabv3_plus", "lr_aspp"])
def test_shallow_features_are_those_of_a_layer(kind):
    model = build(kind)
    (low, _) = model.encoder.depths
    usual = {"deeplabv3_plus": ("block_2_add", 4), "lr_aspp": ("block_5_add", 8)}[kind]
    assert (low.name, low.stride) == usual == (model.options.low_level_layer, model.canvas_stride)
    # The same layer at another output stride: the shallow features have lost no stride.
    fine = model.at_output_stride(8)
    assert fine.options.low_level_layer == low.name and fine.canvas_stride == low.stride
    other = build(
        kind, low_level_layer="block_4_add" if kind == "deeplabv3_plus" else "block_2_add"
    )
    assert other.canvas_stride == {"deeplabv3_plus": 8, "lr_aspp": 4}[kind]
    images = np.zeros((1, 40, 56, 3), np.uint8)
    assert other.unroll(images).shape[2:4] == other.canvas_size(40, 56)
    with pytest.raises(UserError, match="has no layer 'block_99'"):
        build(kind, low_level_layer="block_99")


def test_an_encoder_without_a_shallow_layer_is_refused():
    with pytest.raises(
        UserError, match="lr_aspp sees features at stride 8, too; encoder='small_cnn"
    ):
        build("lr_aspp", encoder="small_cnn", output_stride=8)


@pytest.mark.parametrize("kind", ["deeplabv3_plus", "lr_aspp"])
def test_a_custom_encoder_names_its_shallow_layer(kind, tmp_path):
    inputs = x = keras.Input((None, None, 3))
    for name, stride in (("quarter", 4), ("eighth", 2), ("last", 2)):
        x = keras.layers.Conv2D(5, 5, strides=stride, padding="same", name=name)(x)
    encoder = keras.Model(inputs, x)
    with pytest.raises(UserError, match="low_level_layer=None: .* name the layer of the encoder"):
        build(kind, encoder=encoder)
    model = build(kind, encoder=encoder, low_level_layer="eighth")
    assert model.canvas_stride == 8
    model.save(tmp_path / "model.keras")
    images = np.random.default_rng(2).integers(0, 256, (1, 40, 56, 3), np.uint8)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(loaded(images), model(images))


@pytest.mark.parametrize("kind", BASELINES)
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


@pytest.mark.parametrize("kind", BASELINES)
def test_a_saved_model_gives_the_same(kind, tmp_path):
    model = build(kind, class_names=("a", "b", "c", "d"))
    images = np.random.default_rng(2).integers(0, 256, (1, 40, 56, 3), np.uint8)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model) and loaded.class_names == model.class_names
    assert np.array_equal(loaded(images), model(images))


def test_mixed_precision_keeps_the_canvas_float32():
    for kind in BASELINES:
        model = build(kind, dtype="mixed_bfloat16")
        assert model.unroll(np.zeros((1, 40, 56, 3), np.uint8)).dtype == tf.float32
