import functools

import keras
import pytest
import tensorflow as tf

import rnnseg
from rnnseg import UserError
from rnnseg.budgets import costs as budgets
from rnnseg.evaluation.multi_scale import multi_scale_costs
from tests.support.profiler import check_stages, float_operations


def test_resnet101_costs_what_the_paper_s_table_says(paper_model):
    """Table 3, single-scale, 513x513, stride 16: 61.1 to 94.3 G for one to six iterations."""
    costs = budgets.stage_costs(paper_model, 513, 513)
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
    assert 2 * budgets.count_multiply_adds(network, spec) == float_operations(network, spec)


def test_dilated_depthwise_convolutions_count_without_padding():
    inputs = keras.Input((None, None, 4))
    outputs = keras.layers.DepthwiseConv2D(3, padding="same", dilation_rate=2)(inputs)
    cost = budgets.count_multiply_adds(keras.Model(inputs, outputs), tf.TensorSpec((1, 33, 33, 4)))
    assert cost == 33 * 33 * 4 * 9


def test_matrix_products_count():
    weights = tf.ones((7, 3))
    cost = budgets.count_multiply_adds(lambda x: tf.matmul(x, weights), tf.TensorSpec((5, 7)))
    assert cost == 5 * 7 * 3


@pytest.mark.parametrize(
    ("encoder", "output_stride"),
    [
        ("resnet50", 8),
        ("mobilenet_v2_0.5", 16),
        ("mobilenet_v3_small", 16),
        ("efficientnet_v2_b0", 8),
        ("small_cnn", 32),
    ],
)
def test_profiler_counts_the_same_for_one_encoder_of_each_family(encoder, output_stride):
    """`test_every_encoder` has all of them."""
    check_stages(encoder, output_stride)


@pytest.mark.parametrize(("encoder", "early"), [("mobilenet_v2_0.35", (1, 1)), ("resnet50", (2,))])
def test_profiler_counts_the_same_for_the_first_stages(encoder, early):
    check_stages(encoder, 16, early_iterations=early)


@pytest.mark.parametrize("early", [(1, 1), (2,), (1,)])
def test_costs_with_early_iterations(early):
    """They never fall, and with the last stage they are those of everything."""
    model = rnnseg.RecurrentSegmenter(
        5,
        encoder="mobilenet_v2_0.35",
        encoder_weights=None,
        hidden_channels=(8, 6),
        early_iterations=early,
    )
    costs = budgets.stage_costs(model, 97, 130)
    totals = [costs.total(number) for number in range(1, 9)]
    assert totals == sorted(totals)
    for number in range(sum(early) + 1, 9):
        assert totals[number - 1] == (
            costs.encode + costs.prepare + number * costs.refine + costs.read
        )
    for number in range(1, sum(early) + 1):
        assert totals[number - 1] < totals[sum(early)] - costs.refine
    encoded = [each.encode for each in costs.early] + [costs.encode]
    prepared = [each.prepare for each in costs.early] + [costs.prepare]
    assert encoded == sorted(encoded) and prepared == sorted(prepared)
    assert (costs + costs).total(1) == 2 * totals[0]
    with pytest.raises(UserError, match="no early iterations"):
        costs.as_published()


def test_stages_of_an_encoder_run_one_after_the_other_cost_the_whole():
    """Nothing is computed twice, and nothing left out."""
    model = rnnseg.RecurrentSegmenter(
        5, encoder="mobilenet_v2_0.35", encoder_weights=None, early_iterations=(1, 1)
    )
    inputs, counted = tf.TensorSpec((1, 65, 97, 3), tf.uint8), []
    for number in range(3):
        stage = functools.partial(model.encode_stage, number)
        counted.append(budgets.count_multiply_adds(stage, inputs))
        inputs = budgets._specs(budgets._trace(stage, inputs))
    assert sum(counted) == budgets.stage_costs(model, 65, 97).encode
    assert min(counted) > 0


def test_multi_scale_costs_what_the_paper_s_table_says(paper_model):
    """Table 3, multi-scale: six scales and their mirror images."""
    scales = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    costs = multi_scale_costs(paper_model, 513, 513, scales, flip=True).as_published()
    for iterations, expected in enumerate((1040, 1160, 1269, 1380, 1500, 1610), start=1):
        assert costs.total(iterations) / 1e9 == pytest.approx(expected, rel=0.01)


def test_as_published_only_the_first_iteration_costs_the_same():
    costs = budgets.StageCosts(encode=1000, prepare=100, refine=10, read=1)
    assert costs.total(1) == costs.as_published().total(1) == 1111
    assert costs.total(3) == 1131 and costs.as_published().total(3) == 1331
    assert costs + costs == budgets.StageCosts(2000, 200, 20, 2)


@pytest.mark.parametrize("options", [{"canvas_stride": 16}, {"early_iterations": (1,)}])
def test_parameters_are_those_of_the_model(options):
    model = rnnseg.RecurrentSegmenter(5, encoder_weights=None, hidden_channels=(16, 8), **options)
    stages = budgets.stages(model, 97, 129)
    assert sum(stage.parameters for stage in stages.values()) == model.count_params()
    assert stages["encode"].parameters == model.encoder.count_params()
    channels = sum(depth.channels for depth in model.encoder.depths)
    assert stages["prepare"].parameters == channels * 4 * 16 + 4 * 16
    assert stages["read"].parameters == 0


def _peak(function, *shapes):
    specs = [tf.TensorSpec(shape) for shape in shapes]
    return budgets.peak_memory(tf.function(function).get_concrete_function(*specs))


def test_peak_memory_counted_by_hand():
    kilobyte = (256,)  # float32
    weights = tf.Variable(tf.ones((1024, 256)))
    # The input and the output; then the wide one and what it becomes; weights do not count.
    assert _peak(lambda x: tf.concat([x, x], 0), kilobyte) == 3 * 1024
    assert _peak(lambda x: tf.concat([x, x, x], 0)[:256], kilobyte) == 4 * 1024
    assert _peak(lambda x: tf.matmul(x, weights), (1, 1024)) == 5 * 1024
    # Written into the input, which nothing else needs, or beside it.
    assert _peak(lambda x: tf.nn.relu(tf.concat([x, x], 0)), kilobyte) == 3 * 1024
    assert _peak(lambda x: (tf.nn.relu(x), x), kilobyte) == 2 * 1024
    # A different view of the same bytes keeps them alive.
    assert _peak(lambda x: tf.concat([tf.reshape(x, (256,)), x[0]], 0), (1, 256)) == 4 * 1024
    # The first result goes before the third comes.
    chain = lambda x: tf.sort(tf.sort(tf.sort(x)))  # noqa: E731
    assert _peak(chain, kilobyte) < 4 * 1024
