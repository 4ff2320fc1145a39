import keras
import pytest
import tensorflow as tf

import rnnseg
from rnnseg import budgets


def test_resnet101_costs_what_the_paper_s_table_says():
    """Table 3, single-scale, 513x513, stride 16: 61.1 to 94.3 G for one to six iterations."""
    model = rnnseg.RecurrentSegmenter(21, "resnet101", None)
    costs = budgets.stage_costs(model, 513, 513)
    assert costs.prepare + costs.refine == 6_095_588 * 33 * 33
    published = (61.1, 67.7, 74.4, 81.0, 87.7, 94.3)
    for iterations, expected in enumerate(published, start=1):
        # As published: nothing computed once.
        cost = costs.encode + iterations * (costs.prepare + costs.refine)
        assert cost / 1e9 == pytest.approx(expected, rel=0.01)
        assert costs.total(iterations) == (
            costs.encode + costs.prepare + iterations * costs.refine + costs.read
        )


def test_profiler_counts_the_same():
    """TensorFlow's own profiler counts two operations for one multiply-add."""
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(inputs)
    x = keras.layers.DepthwiseConv2D(5, padding="same", use_bias=False)(x)
    x = keras.layers.Conv2D(6, 1, use_bias=False)(x)
    network = keras.Model(inputs, x)
    spec = tf.TensorSpec((1, 40, 56, 3))
    graph = tf.function(network).get_concrete_function(spec).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    profile = tf.compat.v1.profiler.profile(graph, options=options)
    assert 2 * budgets.count_multiply_adds(network, spec) == profile.total_float_ops


def test_dilated_depthwise_convolutions_count_without_padding():
    inputs = keras.Input((None, None, 4))
    outputs = keras.layers.DepthwiseConv2D(3, padding="same", dilation_rate=2)(inputs)
    cost = budgets.count_multiply_adds(keras.Model(inputs, outputs), tf.TensorSpec((1, 33, 33, 4)))
    assert cost == 33 * 33 * 4 * 9


def test_matrix_products_count():
    weights = tf.ones((7, 3))
    cost = budgets.count_multiply_adds(lambda x: tf.matmul(x, weights), tf.TensorSpec((5, 7)))
    assert cost == 5 * 7 * 3
