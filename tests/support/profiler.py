"""TensorFlow's profiler, which counts the operations of a graph by means of its own."""

import pytest
import tensorflow as tf

import rnnseg
from rnnseg.budgets import costs


def float_operations(function, spec, *kinds: str) -> int:
    """Returns what the profiler counts in a function: two operations for one multiply-add.

    Args:
      function: of one tensor.
      spec: the tensor's shape and type.
      *kinds: the types of operations that count; none: all that the profiler knows.
    """
    graph = tf.function(function, autograph=False).get_concrete_function(spec).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    if kinds:
        options["account_type_regexes"] = ["|".join(kinds)]
    return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops


def check_stages(encoder: str, output_stride: int) -> None:
    """Compares the counts of a segmenter's stages with the profiler's, whose padding is 1 % off."""
    model = rnnseg.RecurrentSegmenter(
        5,
        encoder=encoder,
        encoder_weights=None,
        output_stride=output_stride,
        hidden_channels=(8,),
    )
    # 16x12 features: TensorFlow pads what it dilates to a multiple of the rate, which the profiler
    # counts, too; these are multiples of all rates.
    height, width = 15 * output_stride + 1, 11 * output_stride + 1
    counted = costs.stage_costs(model, height, width)
    functions = costs._stages(model, height, width)
    for stage in ("encode", "prepare", "refine"):
        kinds = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2")
        profiled = float_operations(*functions[stage], *kinds) / 2
        assert getattr(counted, stage) == pytest.approx(profiled, rel=0.01), stage
