import numpy as np
import pytest
import tensorflow as tf

from rnnseg import UserError
from rnnseg.models import adaptive
from rnnseg.models.encoder import DEEPEST
from tests.support import reference
from tests.support.models import make_model


def make_features(model, batch=2, height=9, width=11, seed=1):
    """Smooth enough for regions of one class, in images of rising contrast."""
    values = np.random.default_rng(seed).normal(size=(batch, 4, 4, model.encoder.channels))
    contrast = 0.5 + 3 * np.arange(batch).reshape(-1, 1, 1, 1)
    return tf.image.resize(np.float32(values * contrast), (height, width))


def make_lively_model(**options):
    """Weights large enough for clear classes and for increments that change."""
    model = make_model(**options)
    model.set_weights([3 * weight for weight in model.get_weights()])
    return model


def margins(outlook):
    """How far an outlook may be wrong, pixel by pixel."""
    batch, height, width, _ = outlook.shape
    classes = outlook.argmax(-1)
    result = np.zeros((batch, height, width))
    for b, y, x in np.ndindex(batch, height, width):
        around = classes[b, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        second, best = np.sort(outlook[b, y, x])[-2:]
        result[b, y, x] = (best - second) * (1 if (around == classes[b, y, x]).all() else 0.2)
    return result


def looks_ahead(canvases, start):
    """Outlook and doubt after every iteration of the reference, if all pixels go on."""
    increments = np.diff(canvases, axis=0, prepend=start[np.newaxis])
    remaining = np.arange(len(canvases))[::-1].reshape(-1, 1, 1, 1, 1)
    change = np.abs(np.diff(increments, axis=0, prepend=0)).max(-1)
    return canvases + remaining * increments, remaining[..., 0] * change


def stop_pixels(canvases, start, threshold):
    """What `refine_pixels` should give, from the canvases of the whole recurrence."""
    outlooks, doubts = looks_ahead(canvases, start)
    outlook, spent = np.zeros_like(outlooks[0]), np.zeros(outlooks.shape[1:4], int)
    going = list(np.ndindex(spent.shape))
    for n in range(1, len(canvases) + 1):
        for place in going:
            spent[place] = n
        if n not in (1, 2, 4, 8):
            continue
        for place in going:
            outlook[place] = outlooks[n - 1][place]
        settled = doubts[n - 1] < threshold * margins(outlook)
        # In the order of the pixels: those that have not settled, then those that have.
        kept = -(-sum(not settled[place] for place in going) // 16) * 16
        if kept < len(going):
            going = sorted(going, key=lambda place: settled[place])[:kept]
    for place in going:
        outlook[place] = canvases[-1][place]
    return outlook, spent


@pytest.mark.parametrize("seeded", [False, True])
@pytest.mark.parametrize(("iterations", "scale"), [(1, None), (3, None), (12, None), (12, 0.5)])
def test_pixels_stop_as_the_reference_says(seeded, iterations, scale):
    model = make_lively_model(increment_scale=scale)
    features = make_features(model)
    canvas = np.float32(np.random.default_rng(2).normal(size=(2, 9, 11, 4))) if seeded else None
    canvases = reference.refine(model.stack, features.numpy(), iterations, canvas)
    start = np.zeros_like(canvases[0]) if canvas is None else canvas
    stops = set()
    for threshold in (0.3, 1.0, 3.0):
        expected, expected_spent = stop_pixels(canvases, start, threshold)
        found, spent = adaptive.refine_pixels(
            model, model.prepare({DEEPEST: features}), iterations, threshold, canvas
        )
        np.testing.assert_array_equal(spent, expected_spent)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        stops |= set(np.unique(spent))
    assert stops >= {1: {1}, 3: {1, 3}, 12: {4, 8, 12}}[iterations]


def test_pixels_that_go_on_get_what_they_get_from_refine():
    model = make_lively_model()
    prepared = model.prepare({DEEPEST: make_features(model)})
    found, spent = adaptive.refine_pixels(model, prepared, 12, 0.5)
    expected, _ = model.refine(prepared, 12)
    last = spent.numpy() == 12
    assert 0.1 < last.mean() < 0.9
    np.testing.assert_allclose(found.numpy()[last], expected.numpy()[last], atol=1e-5)


@pytest.mark.parametrize("refine", [adaptive.refine_pixels, adaptive.refine_images])
def test_threshold_zero_is_refine_to_the_last_bit(refine):
    model = make_lively_model()
    prepared = model.prepare({DEEPEST: make_features(model)})
    canvas = tf.random.normal((2, 9, 11, 4), seed=3)
    for given in (None, canvas):
        found, spent = refine(model, prepared, 7, 0, given)
        np.testing.assert_array_equal(found, model.refine(prepared, 7, given)[0])
        assert (spent.numpy() == 7).all()


@pytest.mark.parametrize("refine", [adaptive.refine_pixels, adaptive.refine_images])
def test_the_higher_the_threshold_the_fewer_iterations(refine):
    model = make_lively_model()
    prepared = model.prepare({DEEPEST: make_features(model, batch=3)})
    thresholds = (1e-6, 0.1, 0.3, 0.9, 3, 1e6)
    spent = [float(np.mean(refine(model, prepared, 12, each)[1])) for each in thresholds]
    assert spent == sorted(spent, reverse=True) and len(set(spent)) >= 4
    assert spent[0] == 12 and spent[-1] < 2


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_every_image_stops_as_if_it_were_alone(kernel_size):
    model = make_lively_model(kernel_size=kernel_size)
    features = make_features(model, batch=4)
    prepared = model.prepare({DEEPEST: features})
    canvases = reference.refine(model.stack, features.numpy(), 12)
    outlooks, doubts = looks_ahead(canvases, np.zeros_like(canvases[0]))
    found, spent = adaptive.refine_images(model, prepared, 12, 0.4)
    for image, n in enumerate(spent.numpy()):
        unsettled = [
            np.mean(doubt[image] >= margins(outlook)[image])
            for outlook, doubt in zip(outlooks, doubts, strict=True)
        ]
        assert n == next((n for n in range(1, 12) if unsettled[n - 1] < 0.4), 12)
        np.testing.assert_allclose(found[image], outlooks[n - 1][image], atol=1e-4)
    assert len(set(spent.numpy())) > 1


@pytest.mark.parametrize("refine", [adaptive.refine_pixels, adaptive.refine_images])
def test_one_trace_serves_all_sizes_and_numbers(refine):
    model = make_lively_model()
    function = tf.function(
        lambda prepared, iterations: refine(model, prepared, iterations),
        input_signature=[
            tf.TensorSpec((None, None, None, 24)),
            tf.TensorSpec((), tf.int32),
        ],
        autograph=False,
    )
    for batch, height, width, iterations in ((1, 3, 1, 1), (2, 9, 11, 6), (3, 5, 20, 12)):
        prepared = model.prepare({DEEPEST: make_features(model, batch, height, width)})
        traced = function(prepared, tf.constant(iterations))
        for found, expected in zip(traced, refine(model, prepared, iterations), strict=True):
            assert found.shape == expected.shape and found.dtype == expected.dtype
            np.testing.assert_allclose(found, expected, atol=1e-4)


def test_learned_start_and_mixed_precision():
    model = make_lively_model(learned_start=True, dtype="mixed_bfloat16")
    prepared = model.prepare({DEEPEST: make_features(model)})
    found, spent = adaptive.refine_pixels(model, prepared, 12)
    expected = model.refine(prepared, 12)[0].numpy()
    assert found.dtype == tf.float32 and len(np.unique(spent)) > 1
    last = spent.numpy() == 12
    np.testing.assert_allclose(found.numpy()[last], expected[last], atol=0.1)
    assert np.mean(found.numpy().argmax(-1) == expected.argmax(-1)) > 0.95


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 30), (2, 30, 1), (3, 7, 8)])
def test_a_class_amid_its_own(shape):
    classes = np.random.default_rng(0).integers(0, 12, shape) // 11
    one_hot = np.eye(2, dtype=np.float32)[classes]
    np.testing.assert_allclose(adaptive._margins(tf.constant(one_hot)), margins(one_hot), rtol=1e-6)


def test_without_a_lead_nothing_has_settled():
    model = make_model()
    canvas, spent = adaptive.refine_pixels(model, tf.zeros((1, 3, 3, 24)), 5, 1e9)
    assert (canvas.numpy() == 0).all() and (spent.numpy() == 5).all()


def test_refine_until_settled_stops_what_can_stop_alone():
    for kernel_size, shape in ((1, (2, 9, 11)), (3, (2,))):
        model = make_lively_model(kernel_size=kernel_size)
        prepared = model.prepare({DEEPEST: make_features(model)})
        canvas, spent = model.refine_until_settled(prepared, 12)
        assert canvas.shape == (2, 9, 11, 4) and spent.shape == shape


def test_wrong_arguments_are_named():
    model = make_lively_model()
    prepared = model.prepare({DEEPEST: make_features(model)})
    for threshold in (-0.1, float("nan")):
        with pytest.raises(UserError, match=f"threshold={threshold}: expected a number"):
            adaptive.refine_pixels(model, prepared, 12, threshold)
    with pytest.raises(UserError, match="iterations=0"):
        adaptive.refine_images(model, prepared, 0)
    with pytest.raises(UserError, match="canvas of shape"):
        adaptive.refine_pixels(model, prepared, 3, canvas=np.zeros((2, 9, 10, 4)))
    larger = make_lively_model(kernel_size=3)
    with pytest.raises(UserError, match="kernel_size=3: .*rnnseg.models.adaptive.refine_images"):
        adaptive.refine_pixels(larger, larger.prepare({DEEPEST: make_features(larger)}), 12)
