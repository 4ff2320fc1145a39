"""TensorFlow's profiler, which counts the operations of a graph by means of its own."""

import itertools
import math

import pytest
import tensorflow as tf

import rnnseg
from rnnseg import grid
from rnnseg.budgets import costs
from rnnseg.models import cutting

_KINDS = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2")


def float_operations(function, spec, *kinds: str) -> int:
    """Returns what the profiler counts in a function: two operations for one multiply-add.

    Args:
      function: of one tensor.
      spec: the tensor's shape and type.
      *kinds: the types of operations that count; none: all that the profiler knows.
    """
    traced = tf.function(function, autograph=False).get_concrete_function(spec)
    return traced_operations(traced, *kinds)


def traced_operations(traced, *kinds: str) -> int:
    """Returns what `float_operations` returns, for a traced function."""
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    if kinds:
        options["account_type_regexes"] = ["|".join(kinds)]
    return tf.compat.v1.profiler.profile(traced.graph, options=options).total_float_ops


def check_stages(encoder: str, output_stride: int, **options) -> None:
    """Compares the counts of a segmenter's stages with the profiler's, whose padding is 1 % off.

    Args:
      encoder: the name of the encoder.
      output_stride: the output stride of the segmenter.
      **options: further options of the segmenter.
    """
    model = rnnseg.RecurrentSegmenter(
        5,
        encoder=encoder,
        encoder_weights=None,
        output_stride=output_stride,
        hidden_channels=(8,),
        **options,
    )
    # 16x12 features: TensorFlow pads what it dilates to a multiple of the rate, which the profiler
    # counts, too; these are multiples of all rates.
    height, width = 15 * output_stride + 1, 11 * output_stride + 1
    counted = costs.stage_costs(model, height, width)
    traced = costs._stages(model, height, width)
    for stage in ("encode", "prepare", "refine"):
        expected = traced_operations(traced[stage], *_KINDS) / 2
        if stage == "prepare":
            expected += resized(model, model.encoder.stages, height, width)
        assert getattr(counted, stage) == pytest.approx(expected, rel=0.01), stage
    check_early_stages(model, height, width)


def check_early_stages(model, height: int, width: int) -> None:
    """Compares the counts of the encoder's stages before the last with the profiler's."""
    counted = costs.stage_costs(model, height, width).early
    assert len(counted) == len(model.early_iterations)
    layers = {depth.name: depth for depth in model.encoder.depths}
    for number, (early, before) in enumerate(zip(counted, model.first_iterations[1:], strict=True)):
        assert early.iterations == before
        stages = model.encoder.stages[: number + 1]
        seen = list(itertools.chain(*stages))
        # Skip layers lie behind one another, and these sizes need no padding.
        network = cutting.up_to(model.encoder.network, seen[-1])
        expected = profiled(network, tf.TensorSpec((1, height, width, 3)))
        assert early.encode == pytest.approx(expected, rel=0.01)
        expected = resized(model, stages, height, width)
        for depth in (layers[name] for name in seen):
            sides = [grid.canvas_size(side, depth.stride) for side in (height, width)]
            expected += math.prod(sides) * depth.channels * 4 * model.stack.widths[0]
        assert early.prepare == expected


def profiled(function, *specs) -> float:
    """Returns the multiply-adds of convolutions and matrix products, by the profiler."""
    return float_operations(function, *specs, *_KINDS) / 2


def resized(model, stages, height: int, width: int) -> int:
    """Returns the multiply-adds that bring the depths of stages to the canvas.

    No profiler counts them: three linear interpolations per value of the first layer's four gates,
    once for all depths of a stage that have the same stride.
    """
    pixels = math.prod(model.canvas_size(height, width))
    strides = {depth.name: depth.stride for depth in model.encoder.depths}
    each = [{strides[name] for name in names} for names in stages]
    coarser = sum(stride > model.canvas_stride for those in each for stride in those)
    return coarser * 3 * pixels * 4 * model.stack.widths[0]
