import numpy as np
import pytest
import tensorflow as tf

from rnnseg.models.recomputation import recomputed


@pytest.fixture
def function():
    """Independent rows, a loop and a variable; it notes how many rows it was given."""
    kernel = tf.Variable(np.float32(np.random.default_rng(0).normal(size=(3, 3)) / 2))

    def run(x, y):
        run.rows.append(x.shape[0])
        last = tf.while_loop(
            lambda step, _: step < 3,
            lambda step, x: (step + 1, tf.tanh(x @ kernel) + y),
            (0, x),
        )[1]
        return tf.stack([last, last * y])

    run.kernel, run.rows = kernel, []
    return run


def value_and_gradients(function, apply, inputs):
    inputs = [tf.convert_to_tensor(each) for each in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = apply(*inputs)
        loss = tf.reduce_sum(tf.sin(value) * np.float32([[[1]], [[2]]]))
    return value, *tape.gradient(loss, [*inputs, function.kernel])


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("parts", [2, 3, 5, 7, 100, "tensor"])
def test_value_and_gradients_are_the_function_s_own(function, parts, graph):
    parts = tf.constant(3) if parts == "tensor" else parts
    rng = np.random.default_rng(1)
    inputs = [np.float32(rng.normal(size=(7, 3))) for _ in range(2)]
    plain = value_and_gradients(function, function, inputs)

    def run(*inputs):
        return value_and_gradients(function, lambda *x: recomputed(function, parts, *x), inputs)

    found = (tf.function(run, autograph=False) if graph else run)(*inputs)
    for ours, expected in zip(found, plain, strict=True):
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_the_way_back_sees_a_part_at_a_time(function):
    inputs = [np.ones((7, 3), np.float32)] * 2
    value_and_gradients(function, lambda *x: recomputed(function, 3, *x), inputs)
    assert function.rows == [7, 3, 3, 1]


def test_one_part_is_the_function_itself(function):
    inputs = [np.ones((7, 3), np.float32)] * 2
    value_and_gradients(function, lambda *x: recomputed(function, 1, *x), inputs)
    assert function.rows == [7]


def test_what_has_no_gradient_gets_zeros(function):
    constant = tf.Variable(1.0)
    inputs = [tf.ones((4, 3)), tf.ones((4, 3))]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = recomputed(
            lambda x, y: function(x, tf.ones_like(x)) + tf.stop_gradient(constant), 2, *inputs
        )
    gradients = tape.gradient(value, [*inputs, constant, function.kernel])
    assert [bool(tf.reduce_any(each != 0)) for each in gradients] == [True, False, False, True]
