import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnseg.budgets import costs
from rnnseg.models.conv_lstm import ConvLSTM2DCell, ConvLSTMStack, LSTMState
from rnnseg.models.encoder import DEEPEST, Depth
from tests.support import reference


def features_like(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


ONE_DEPTH = (Depth(DEEPEST, 7, 8),)
THREE_DEPTHS = (Depth("fine", 3, 4), Depth("middle", 5, 8), Depth(DEEPEST, 7, 16))


def deepest(values):
    return {DEEPEST: values}


def make_stack(kernel_size=1, dilation_rate=1, depths=ONE_DEPTH, canvas_stride=8, **options):
    keras.utils.set_random_seed(3)
    stack = ConvLSTMStack(depths, canvas_stride, 4, (6, 5), kernel_size, dilation_rate, **options)
    stack.build()
    for weight in stack.weights:  # zero biases would hide a wrong order of gates
        weight.assign(weight + 0.3 * features_like(weight.shape, seed=len(weight.path)))
    return stack


def iterate(stack, features, iterations, canvas=None):
    prepared = stack.prepare(features if isinstance(features, dict) else deepest(features))
    gates = stack.gate_weights(prepared)
    zero, state = stack.initial_state(prepared)
    canvas = zero if canvas is None else canvas
    every = []
    for _ in range(iterations):
        canvas, state = stack(canvas, state, gates)
        every.append(canvas)
    return np.stack(every)


@pytest.mark.parametrize("kernel_size, dilation_rate", [(1, 1), (3, 1), (3, 2)])
@pytest.mark.parametrize("seeded", [False, True])
def test_stack_is_the_reference(kernel_size, dilation_rate, seeded):
    stack = make_stack(kernel_size, dilation_rate)
    features = features_like((2, 5, 6, 7))
    canvas = features_like((2, 5, 6, 4), seed=9) if seeded else None
    expected = reference.refine(stack, features, 3, canvas, dilation_rate)
    np.testing.assert_allclose(iterate(stack, features, 3, canvas), expected, atol=1e-5)


def test_cell_is_one_step_of_keras_own_layer():
    """keras.layers.ConvLSTM2D, over sequences of one image, knows the same equations."""
    cell = ConvLSTM2DCell(5, kernel_size=3)
    cell.build((None, 4, 6, 3))
    cell.convolution.bias.assign(features_like((20,), seed=1))
    x, h, c = (features_like((2, 4, 6, n), seed=n) for n in (3, 5, 6))
    c = c[..., :5]
    layer = keras.layers.ConvLSTM2D(
        5, 3, padding="same", return_state=True, recurrent_activation="sigmoid"
    )
    layer.build((2, 1, 4, 6, 3))
    kernel = cell.convolution.kernel.numpy()
    layer.set_weights([kernel[:, :, :3], kernel[:, :, 3:], cell.convolution.bias.numpy()])
    expected, _, expected_c = layer(x[:, None], initial_state=[tf.constant(h), tf.constant(c)])
    output, state = cell(x, LSTMState(tf.constant(h), tf.constant(c)), cell.gate_weights())
    np.testing.assert_allclose(output, expected, atol=1e-5)
    np.testing.assert_allclose(state.c, expected_c, atol=1e-5)


def test_a_new_cell_remembers():
    """A forget gate of sigmoid(1) where nothing is seen (Jozefowicz et al., 2015)."""
    stack = ConvLSTMStack(ONE_DEPTH, 8, 4, (6,))
    stack.build()
    gates = stack.gate_weights(stack.prepare(deepest(np.zeros((1, 2, 3, 7), np.float32))))
    for cell, weights, width in zip(stack.cells, gates, (6, 4), strict=True):
        channels = cell.convolution.kernel.shape[2] - width
        c = features_like((1, 2, 3, width))
        nothing = np.zeros((1, 2, 3, channels), np.float32)
        _, state = cell(nothing, LSTMState(tf.zeros((1, 2, 3, width)), tf.constant(c)), weights)
        np.testing.assert_allclose(state.c, c / (1 + np.exp(-1)), rtol=1e-5)


def test_prepared_is_unprepared():
    """One convolution over features, canvas and state, inside the loop, gives the same."""
    stack = make_stack(kernel_size=3)
    features = features_like((1, 6, 5, 7))
    whole = ConvLSTM2DCell(6, kernel_size=3)
    whole.build((None, None, None, 7 + 4))
    kernels = [stack.feature_gates.kernel.numpy(), stack.cells[0].convolution.kernel.numpy()]
    whole.convolution.kernel.assign(np.concatenate(kernels, 2))
    whole.convolution.bias.assign(stack.feature_gates.bias)
    canvas, state = stack.initial_state(stack.prepare(deepest(features)))
    for _ in range(12):
        new = []
        output = tf.concat([features, canvas], -1)
        for cell, each in zip([whole, *stack.cells[1:]], state, strict=True):
            output, each = cell(output, each, cell.gate_weights())
            new.append(each)
        canvas, state = canvas + output, new
    np.testing.assert_allclose(iterate(stack, features, 12)[-1], canvas, atol=1e-5)


@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize("seeded", [False, True])
def test_zeros_need_not_be_multiplied(kernel_size, seeded):
    """Without canvas or state an iteration gives what it gives with zeros."""
    stack = make_stack(kernel_size)
    gates = stack.gate_weights(stack.prepare(deepest(features_like((2, 5, 6, 7)))))
    zero, state = stack.initial_state(gates[0].offsets[0])
    canvas = features_like((2, 5, 6, 4), seed=9) if seeded else None
    expected = stack(zero if canvas is None else canvas, state, gates)
    found = stack(canvas, None, gates)
    for one, other in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_first_iteration_has_only_the_products_that_are_not_zero():
    stack = make_stack()
    features = tf.TensorSpec((1, 5, 6, 4 * 6))
    full = costs.count_multiply_adds(
        lambda prepared: stack(*stack.initial_state(prepared), stack.gate_weights(prepared))[0],
        features,
    )
    first = costs.count_multiply_adds(
        lambda prepared: stack(None, None, stack.gate_weights(prepared))[0], features
    )
    assert full == 30 * 4 * (6 * (4 + 6) + 5 * (6 + 5) + 4 * (5 + 4))
    assert first == 30 * 4 * (5 * 6 + 4 * 5)


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_gradients_are_finite_differences(kernel_size):
    stack = make_stack(kernel_size)
    features = features_like((1, 3, 3, 7))
    target = features_like((1, 3, 3, 4), seed=2)

    def loss():
        prepared = stack.prepare(deepest(features))
        gates = stack.gate_weights(prepared)
        canvas, state = stack(None, None, gates)
        _, canvas, _ = tf.while_loop(
            lambda n, *_: n < 3,
            lambda n, canvas, state: (n + 1, *stack(canvas, state, gates)),
            (0, canvas, state),
        )
        return tf.reduce_sum(canvas * target)

    with tf.GradientTape() as tape:
        value = tf.function(loss)()
    gradients = tape.gradient(value, stack.trainable_weights)
    rng = np.random.default_rng(0)
    for weight, gradient in zip(stack.trainable_weights, gradients, strict=True):
        direction = rng.normal(size=weight.shape).astype(np.float32)
        step = 2e-3 / np.linalg.norm(direction)
        values = []
        for sign in (1, -1, -1, 1):
            weight.assign_add(sign * step * direction)
            values.append(float(loss()))
        difference = (values[0] - values[2]) / (2 * step)
        assert difference == pytest.approx(np.sum(direction * gradient), rel=0.02, abs=0.02)


def test_pixels_are_independent_with_kernel_1():
    stack = make_stack()
    features = features_like((1, 4, 4, 7))
    changed = features.copy()
    changed[0, 1, 2] += 1
    different = np.any(iterate(stack, features, 3)[-1] != iterate(stack, changed, 3)[-1], axis=-1)
    assert different[0, 1, 2] and different.sum() == 1


def test_learned_start_begins_at_zero_and_is_trained():
    stack = make_stack(learned_start=False)
    learned = ConvLSTMStack(ONE_DEPTH, 8, 4, (6, 5), learned_start=True)
    learned.build()
    assert len(learned.trainable_weights) == len(stack.trainable_weights) + 7
    canvas, state = learned.initial_state(learned.prepare(deepest(features_like((2, 3, 3, 7)))))
    assert canvas.shape == (2, 3, 3, 4) and not np.any(canvas)
    learned.initial_values["c_1"].assign(np.arange(5.0))
    _, state = learned.initial_state(learned.prepare(deepest(features_like((2, 3, 3, 7)))))
    np.testing.assert_array_equal(state[1].c[1, 2, 0], np.arange(5.0))


@pytest.mark.parametrize(
    "policy, h_type", [("mixed_bfloat16", tf.bfloat16), ("mixed_float16", tf.float16)]
)
def test_canvas_and_cell_state_stay_float32(policy, h_type):
    stack = ConvLSTMStack(ONE_DEPTH, 8, 4, (6, 5), dtype=policy)
    stack.build()
    prepared = stack.prepare(deepest(features_like((1, 3, 3, 7))))
    canvas, state = stack(*stack.initial_state(prepared), stack.gate_weights(prepared))
    assert prepared.dtype == h_type and canvas.dtype == tf.float32
    assert {each.c.dtype for each in state} == {tf.float32}
    assert {each.h.dtype for each in state} == {h_type}


def features_of_depths(height, width):
    """Features for a canvas at stride 4 of `4 * height + 1` by `4 * width + 1` pixels."""
    return {
        each.name: features_like(
            (2, 16 // each.stride * height + 1, 16 // each.stride * width + 1, each.channels)
        )
        for each in THREE_DEPTHS
    }


def test_gates_of_several_depths_are_those_of_upsampled_features():
    """Every depth's share is upsampled; the reference upsamples the features instead."""
    stack = make_stack(depths=THREE_DEPTHS, canvas_stride=4)
    features = features_of_depths(2, 1)
    factors = {"fine": 1, "middle": 2, DEEPEST: 4}
    wide = {name: reference.upsample(features[name], factors[name]) for name in features}
    joined = np.concatenate([wide[each.name] for each in THREE_DEPTHS], -1)
    assert joined.shape == (2, 9, 5, 3 + 5 + 7)
    expected = reference.refine(stack, joined, 3)
    np.testing.assert_allclose(iterate(stack, features, 3), expected, atol=1e-5)


def test_shares_add_up_depth_by_depth():
    stack = make_stack(depths=THREE_DEPTHS, canvas_stride=4)
    features = features_of_depths(1, 2)
    prepared = None
    for name in features:
        prepared = stack.prepare({name: features[name]}, prepared)
    np.testing.assert_allclose(prepared, stack.prepare(features), atol=1e-5)


def test_depths_on_the_same_grid_are_upsampled_once():
    depths = (Depth("fine", 3, 8), Depth("middle", 5, 16), Depth(DEEPEST, 7, 16))
    stack = make_stack(depths=depths, canvas_stride=8)
    features = {
        "fine": features_like((2, 5, 9, 3)),
        "middle": features_like((2, 3, 5, 5)),
        DEEPEST: features_like((2, 3, 5, 7)),
    }
    alone = None
    for name in features:
        alone = stack.prepare({name: features[name]}, alone)
    np.testing.assert_allclose(stack.prepare(features), alone, atol=1e-5)
    specs = {name: tf.TensorSpec((1, *each.shape[1:])) for name, each in features.items()}
    counted = costs.count_multiply_adds(stack.prepare, specs)
    assert counted == 24 * (5 * 9 * 3 + 3 * 5 * (5 + 7)) + 3 * 5 * 9 * 24


def test_features_of_other_widths_are_refused():
    stack = make_stack(depths=THREE_DEPTHS[2:], canvas_stride=16)
    narrow, whole = features_like((1, 3, 3, 4)), features_like((1, 1, 1, 3))
    stack.prepare({DEEPEST: narrow}, whole_image=whole)
    for wrong in (None, whole[..., :2]):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
            stack.prepare({DEEPEST: narrow}, whole_image=wrong)


def test_a_coarse_depth_costs_what_its_own_pixels_cost():
    stack = make_stack(depths=THREE_DEPTHS[1:], canvas_stride=8)
    specs = {"middle": tf.TensorSpec((1, 9, 7, 5)), DEEPEST: tf.TensorSpec((1, 5, 4, 7))}
    upsampling = 3 * 9 * 7 * 24
    counted = costs.count_multiply_adds(stack.prepare, specs)
    assert counted == 24 * (9 * 7 * 5 + 5 * 4 * 7) + upsampling


def test_kernels_of_the_features_are_1x1_off_the_canvas_grid():
    """A kernel of 3 canvas pixels has no meaning on features of another stride."""
    stack = make_stack(kernel_size=3, depths=THREE_DEPTHS, canvas_stride=4)
    assert stack.feature_gates.kernel.shape == (1, 1, 7, 24)
    assert stack.cells[0].convolution.kernel.shape == (3, 3, 4 + 6, 24)
    assert make_stack(kernel_size=3).feature_gates.kernel.shape == (3, 3, 7, 24)


def test_prepared_of_several_depths_stays_in_the_compute_dtype():
    stack = ConvLSTMStack(THREE_DEPTHS, 4, 4, (6, 5), dtype="mixed_bfloat16")
    stack.build()
    assert stack.prepare(features_of_depths(1, 1)).dtype == tf.bfloat16


def test_increments_may_have_a_trained_scale():
    """The canvas of a scaled stack; the recurrent cells see their own, unscaled outputs."""
    features = features_like((1, 4, 5, 7))
    plain, scaled = make_stack(), make_stack(increment_scale=2.5)
    others = [each for each in scaled.weights if each is not scaled.increment_scale]
    for weight, value in zip(others, plain.get_weights(), strict=True):
        weight.assign(value)
    scaled.increment_scale.assign(2.5)
    (first,), (of_scaled,) = iterate(plain, features, 1), iterate(scaled, features, 1)
    np.testing.assert_allclose(of_scaled, 2.5 * first, rtol=1e-6)
    # The later ones see another canvas.
    expected = reference.refine(scaled, features, 4)
    np.testing.assert_allclose(iterate(scaled, features, 4), expected, atol=1e-5)
    with tf.GradientTape() as tape:
        prepared = scaled.prepare(deepest(features))
        canvas, _ = scaled(None, None, scaled.gate_weights(prepared))
        value = tf.reduce_sum(canvas**2)
    gradient = tape.gradient(value, scaled.increment_scale)
    assert float(gradient) == pytest.approx(2 * float(value) / 2.5, rel=1e-4)
