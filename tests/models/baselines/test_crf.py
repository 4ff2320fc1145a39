"""Networks with a conditional random field: their heads, their iterations, their training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnseg import SegmentationLoss, UserError
from rnnseg.budgets import costs
from rnnseg.models.encoder import DEEPEST
from rnnseg.models.registry import MODELS
from tests.models.baselines.test_heads import random_features, spread
from tests.support.profiler import traced_operations
from tests.support.reference import convolve

KINDS = ("crf_rnn", "deeplab")
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 40, 56, 3), np.uint8)
LABELS = np.random.default_rng(1).integers(0, 4, (2, 40, 56), np.uint8)


def build(kind, **options):
    keras.utils.set_random_seed(3)
    options = dict(encoder="small_cnn", encoder_weights=None, crf_window=5) | options
    model = MODELS[kind](4, **options)
    for weight in model.head.trainable_weights:
        if "kernel" in weight.path:  # some are zero at first
            weight.assign(tf.random.normal(weight.shape))
    return model


@pytest.mark.parametrize(
    ("stride", "rates"), [(8, (6, 12, 18, 24)), (16, (3, 6, 9, 12)), (32, (1, 3, 4, 6))]
)
def test_deeplab_sums_the_scores_of_its_pyramid(stride, rates):
    model = build("deeplab", output_stride=stride)
    features = random_features(model, 5, 6)
    assert model.canvas_stride == 4
    expected = sum(
        convolve(np.float64(features[DEEPEST]), np.float64(layer.kernel), None, rate)
        for layer, rate in zip(model.head.scores, rates, strict=True)
    )
    found = model.head(features[DEEPEST])
    factor = stride // 4
    expected = spread(expected, 4 * factor + 1, 5 * factor + 1)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_iteration_is_the_answer_of_the_network(kind):
    model = build(kind)
    features = {name: each for name, each in model.encode(IMAGES).items() if name != "colors"}
    network = model._run_head(features, False)
    found = model.unroll(IMAGES, 3)
    assert np.ptp((found[0] - network).numpy(), axis=-1).max() < 1e-5
    assert not np.allclose(found[2], found[1], atol=1e-3)


def test_the_scores_of_crf_rnn_are_those_of_an_fcn():
    fcn = MODELS["fcn"](4, encoder="mobilenet_v2_0.35", encoder_weights=None, class_names="abcd")
    for weight in fcn.head.weights:
        weight.assign(tf.random.normal(weight.shape))
    model = MODELS["crf_rnn"].from_model(fcn, canvas_stride=4)
    assert model.transfer.left == ("field",)
    of_fcn = fcn(IMAGES)
    found = model(IMAGES, iterations=1)
    # Up to a number that is the same for all classes. The finer canvas changes nothing: it has been
    # interpolated as the coarser one is when it is read.
    difference = (found - of_fcn).numpy()
    assert np.ptp(difference, axis=-1).max() < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_iterations_go_on_from_a_canvas(kind):
    model = build(kind)
    canvases = model.unroll(IMAGES, 5)
    prepared = model.prepare(model.encode(IMAGES))
    canvas, state = model.refine(prepared, 2)
    np.testing.assert_allclose(canvas, canvases[1], atol=1e-5)
    canvas, _ = model.refine(prepared, 3, canvas, state)
    np.testing.assert_allclose(canvas, canvases[4], atol=1e-5)
    np.testing.assert_allclose(model.canvas_of(IMAGES, 5), canvas, atol=1e-5)
    single = model.iterate(prepared, canvases[3])[0]
    np.testing.assert_allclose(single, canvases[4], atol=1e-5)
    with pytest.raises(UserError, match="iterations=0"):
        model.refine(prepared, 0)
    with pytest.raises(UserError, match=f"stop_when_settled: in {kind} every pixel depends"):
        model.predict_classes(IMAGES, stop_when_settled=True)


@pytest.mark.parametrize(("kind", "trained"), [("crf_rnn", True), ("deeplab", False)])
def test_what_is_trained(kind, trained):
    model = build(kind, iterations=3)
    model.compile(keras.optimizers.SGD(0.1), SegmentationLoss())
    field = model.field.get_weights()
    before = model.head.get_weights()
    with tf.GradientTape() as tape:
        logits = model(IMAGES, training=True)
        loss = model.compute_loss(IMAGES, LABELS, logits)
    assert all(each is not None for each in tape.gradient(loss, model.trainable_variables))
    # The loss of DeepLab is that of the scores, before any inference.
    last = model(IMAGES, iterations=3 if trained else 1)
    np.testing.assert_allclose(logits, last, rtol=1e-3, atol=1e-3)
    model.fit(IMAGES, LABELS, batch_size=2, epochs=1, verbose=0)
    changed = [
        not np.array_equal(*pair) for pair in zip(field, model.field.get_weights(), strict=True)
    ]
    assert changed == [trained] * 4
    assert not all(map(np.array_equal, before, model.head.get_weights()))


@pytest.mark.parametrize("kind", KINDS)
def test_profiler_counts_the_same(kind):
    model = build(kind)
    # 36 features per side of the deepest: a multiple of the rates, as the profiler counts padding.
    side = 35 * 16 + 1
    counted = costs.stage_costs(model, side, side)
    kinds = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2")
    stages = costs._stages(model, side, side)
    pixels = model.canvas_size(side, side)[0] ** 2
    for name in ("prepare", "refine"):
        profiled = traced_operations(stages[name], *kinds) / 2
        interpolated = {"crf_rnn": 4 * (71**2 + 141**2), "deeplab": 4 * 141**2}[kind]
        profiled += 3 * interpolated if name == "prepare" else 0
        assert getattr(counted, name) == pytest.approx(profiled, rel=1e-3), name
    # A window of 5x5 and two kernels of 5 per class, those for their sum, classes by classes.
    assert counted.refine == pixels * (4 * 25 + 4 * 10 + 10 + 4 * 4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_gives_the_same(kind, tmp_path):
    model = build(kind, iterations=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model) and loaded.iterations == 2
    assert np.array_equal(loaded(IMAGES), model(IMAGES))


@pytest.mark.parametrize("kind", KINDS)
def test_another_stride_keeps_weights_and_canvas(kind):
    model = build(kind, encoder="mobilenet_v2_0.35")
    fine = model.at_output_stride(8)
    assert fine.canvas_stride == model.canvas_stride == 4
    assert all(map(np.array_equal, fine.get_weights(), model.get_weights()))
    assert fine(IMAGES, iterations=2).shape == model(IMAGES, iterations=2).shape


def test_an_even_window_is_refused():
    with pytest.raises(UserError, match="crf_window=4: expected an odd number"):
        build("crf_rnn", crf_window=4)
