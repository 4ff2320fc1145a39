"""Mean-field inference against a published library, and against dense sums in NumPy."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from rnnseg.models.mean_field import MeanField, Widths, weighted_sum

# Made by pydensecrf2 1.1, which has the authors' code of dense inference on a lattice: an image of
# 12x12 pixels of three noisy colours, logits of 4 classes, and the probabilities after 1 and 5
# steps, with kernels divided by their sums (NORMALIZE_AFTER). It is kept in a file since the
# library cannot be built on Python 3.13.
LIBRARY = np.load(pathlib.Path(__file__).parent / "files" / "dense_crf.npz")
SIZE, CLASSES = 12, 4


def make_field(window, canvas_stride=1, widths=(8.0, 20.0, 2.0), random=True):
    field = MeanField(CLASSES, canvas_stride, window, Widths(*widths), 4.0, 3.0)
    build(field)
    if random:  # equal weights would hide mistakes
        rng = np.random.default_rng(3)
        for weight in (field.appearance_weight, field.smoothness_weight, field.compatibility):
            weight.assign(rng.normal(size=weight.shape) + weight.numpy())
    return field


def build(field):
    canvas = (None, None, None, CLASSES)
    field.build(canvas, canvas, (None, None, None, field.window**2))


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def dense_step(field, canvas, unary, colors, window):
    """One iteration, by matrices of pixels by pixels."""
    places = np.stack(np.mgrid[:SIZE, :SIZE], -1).reshape(-1, 2)
    steps = places[:, np.newaxis] - places
    inside = (np.abs(steps) <= window // 2).all(-1)
    squared = (steps**2).sum(-1) * field.canvas_stride**2
    flat = colors.reshape(-1, 3).astype(np.float64)
    differences = ((flat[:, np.newaxis] - flat) ** 2).sum(-1)
    far, color, near = (float(each) for each in field.widths)
    appearance = inside * np.exp(-squared / (2 * far**2) - differences / (2 * color**2))
    smoothness = inside * np.exp(-squared / (2 * near**2))
    q = softmax(canvas.reshape(-1, CLASSES).astype(np.float64))
    seen = 0
    for kernel, weight in (
        (appearance, field.appearance_weight),
        (smoothness, field.smoothness_weight),
    ):
        seen = seen + weight.numpy() * (kernel @ q) / kernel.sum(1, keepdims=True)
    result = unary.reshape(-1, CLASSES) - seen @ field.compatibility.numpy().T
    return result.reshape(canvas.shape)


def batch(array):
    return tf.constant(array[np.newaxis].astype(np.float32))


def test_dense_inference_is_that_of_the_library():
    assert LIBRARY["image"].shape == (SIZE, SIZE, 3)
    field = MeanField(
        CLASSES, 1, 2 * SIZE - 1, Widths(*LIBRARY["widths"]), *map(float, LIBRARY["weights"])
    )
    build(field)
    kernel, unary = field.kernel(batch(LIBRARY["image"])), batch(LIBRARY["unary"])
    found, canvas = {}, unary
    for step in range(1, 6):
        canvas = field(canvas, unary, kernel)
        found[step] = tf.nn.softmax(canvas)[0].numpy()
    before = softmax(LIBRARY["unary"])
    for step, expected in zip(LIBRARY["steps"], LIBRARY["probabilities"], strict=True):
        # The lattice is an approximation: up to 2 %, where inference has moved 15 % on average.
        assert np.abs(found[step] - expected).max() < 0.03
        assert np.abs(found[step] - expected).mean() < 0.02 * np.abs(before - expected).mean()
        assert np.array_equal(found[step].argmax(-1), expected.argmax(-1))


@pytest.mark.parametrize(("window", "canvas_stride"), [(5, 1), (5, 4), (2 * SIZE - 1, 1)])
def test_a_step_equals_its_definition(window, canvas_stride):
    field = make_field(window, canvas_stride)
    rng = np.random.default_rng(0)
    canvas, unary = rng.normal(size=(2, SIZE, SIZE, CLASSES))
    colors = rng.integers(0, 60, (SIZE, SIZE, 3))
    found = field(batch(canvas), batch(unary), field.kernel(batch(colors)))
    expected = dense_step(field, canvas, unary, colors, window)
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-4)


def test_a_blank_canvas_gives_the_logits_of_the_network():
    field = make_field(5)
    rng = np.random.default_rng(1)
    unary = batch(rng.normal(size=(SIZE, SIZE, CLASSES)))
    kernel = field.kernel(batch(rng.integers(0, 256, (SIZE, SIZE, 3))))
    found = field.first(unary)
    np.testing.assert_allclose(found, field(tf.zeros_like(unary), unary, kernel), atol=1e-5)
    # A number per class, which is the same at every pixel and, at first, for every class.
    assert np.ptp((found - unary).numpy(), axis=(0, 1, 2)).max() < 1e-5
    fresh = make_field(5, random=False)
    assert np.ptp((fresh.first(unary) - unary).numpy(), axis=-1).max() < 1e-5


def test_windows_have_the_gradients_of_dense_sums():
    """The gradient is written by hand; TensorFlow's is that of a matrix product."""
    side, shape = 3, (2, 4, 5)
    rng = np.random.default_rng(2)
    kernel = tf.Variable(rng.normal(size=(*shape, side**2)).astype(np.float32))
    values = tf.Variable(rng.normal(size=(*shape, 3)).astype(np.float32))
    factors = tf.constant(rng.normal(size=(*shape, 3)).astype(np.float32))

    def dense():
        padded = tf.pad(values, [[0, 0], [1, 1], [1, 1], [0, 0]])
        total = 0.0
        for place in range(side**2):
            row, column = divmod(place, side)
            there = padded[:, row : row + shape[1], column : column + shape[2]]
            total += kernel[..., place, tf.newaxis] * there
        return total

    for function in (dense, lambda: weighted_sum(kernel, values, side)):
        with tf.GradientTape() as tape:
            result = function()
            loss = tf.reduce_sum(factors * result)
        gradients = tape.gradient(loss, [kernel, values])
        if function is dense:
            expected = result, *gradients
        else:
            for mine, its in zip((result, *gradients), expected, strict=True):
                np.testing.assert_allclose(mine, its, atol=1e-5)


def test_all_weights_are_trained():
    field = make_field(5, canvas_stride=2)
    rng = np.random.default_rng(4)
    unary = batch(rng.normal(size=(SIZE, SIZE, CLASSES)))
    colors = batch(rng.integers(0, 40, (SIZE, SIZE, 3)))

    def loss():
        kernel = field.kernel(colors)
        canvas = field.first(unary)
        for _ in range(3):
            canvas = field(canvas, unary, kernel)
        return tf.reduce_mean(tf.square(tf.nn.softmax(canvas)[..., 0]))

    with tf.GradientTape() as tape:
        value = loss()
    for weight, gradient in zip(
        field.trainable_weights, tape.gradient(value, field.trainable_weights), strict=True
    ):
        # Against a difference along the gradient.
        step = 1e-2 / np.linalg.norm(gradient)
        before = weight.numpy()
        weight.assign(before + step * gradient.numpy())
        above = loss()
        weight.assign(before - step * gradient.numpy())
        slope = float(above - loss()) / 2
        weight.assign(before)
        expected = float(step * tf.reduce_sum(tf.square(gradient)))
        assert slope == pytest.approx(expected, rel=0.02), weight.path


def test_colors_are_means_around_the_canvas_pixels():
    field = make_field(3, canvas_stride=4)
    image = np.random.default_rng(5).integers(0, 256, (9, 13, 3))
    found = field.shrink(batch(image))[0].numpy()
    assert found.shape == (3, 4, 3)
    for row in range(3):
        for column in range(4):
            rows = slice(max(0, 4 * row - 2), 4 * row + 3)
            columns = slice(max(0, 4 * column - 2), 4 * column + 3)
            expected = image[rows, columns].mean((0, 1))
            np.testing.assert_allclose(found[row, column], expected, rtol=1e-5)
