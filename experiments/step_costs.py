"""Estimates of a training step, counted on its graph: multiply-adds and memory."""

import dataclasses
import functools
from collections.abc import Mapping

import tensorflow as tf

import rnnseg
from rnnseg.budgets.costs import peak_memory, stage_costs
from rnnseg.training.config import TrainingConfig


@dataclasses.dataclass(frozen=True)
class StepCosts:
    """The needs of a training step.

    Attributes:
      parameters: the number of weights.
      trainable: the number of trained weights.
      multiply_adds: of one image, forward and backward.
      memory: bytes by the number of images on a device.
    """

    parameters: int
    trainable: int
    multiply_adds: int
    memory: Mapping[int, int]


@functools.cache
def step_costs(config: TrainingConfig, classes: int, images: tuple[int, ...]) -> StepCosts:
    """Estimates the needs of a step of a run.

    Multiply-adds are those of `rnnseg.budgets`. The backward pass computes every product of the
    forward pass twice, for the gradients of its two factors, except before the first trained
    weight. Memory is that of all weights and of the optimizer's momentum, in float32, and
    `rnnseg.budgets.costs.peak_memory` of the graph of the whole step. The workspace of a device's
    operations and the fragmentation of its allocator come on top.

    With checkpointing (`recompute`) the backward pass holds the activations of all n iterations on
    1/n of the canvas pixels at a time. That is as much as one iteration holds on all of them, and
    so the graph with one iteration is the one whose memory is counted.

    Args:
      config: of the run, of a recurrent model on whole images.
      classes: the number of classes of the data.
      images: the numbers of images per device.
    """
    model = build_unrolled(config, classes)
    costs = stage_costs(model, *config.crop)
    iterating = config.iterations * costs.refine
    multiply_adds = 3 * (iterating + costs.read) + iterating * config.recompute
    if config.train_encoder:
        multiply_adds += 3 * (costs.encode + costs.prepare)
    else:
        multiply_adds += costs.encode + 2 * costs.prepare
    parameters = model.count_params()
    trainable = sum(weight.value.shape.num_elements() for weight in model.trainable_weights)
    memory = {
        number: 4 * (parameters + trainable) + peak_memory(trace_step(model, config.crop, number))
        for number in images
    }
    return StepCosts(parameters, trainable, multiply_adds, memory)


def build_unrolled(config: TrainingConfig, classes: int) -> "UnrolledSegmenter":
    """Builds the untrained model of a run with its loop unrolled.

    Args:
      config: of the run; with `recompute` the model has one iteration, as in `step_costs`.
      classes: the number of classes of the data.
    """
    options = config.model_options | {"encoder_weights": None, "recompute": False}
    if config.recompute:
        options |= {"iterations": 1, "iteration_weights": None, "early_iterations": ()}
    return UnrolledSegmenter(classes, **options, dtype=config.precision)


def trace_step(model: rnnseg.RecurrentSegmenter, crop: tuple[int, int], batch_size: int):
    """Traces a step up to the gradients.

    Args:
      model: the model to train.
      crop: (height, width) of the images.
      batch_size: the number of images.

    Returns:
      A `ConcreteFunction` of images and labels, whose outputs are the gradients.
    """
    loss = rnnseg.SegmentationLoss()

    def step(images, labels):
        with tf.GradientTape() as tape:
            value = loss(labels, model(images, training=True)) + sum(model.losses)
        return tape.gradient(value, model.trainable_variables)

    return tf.function(step, autograph=False).get_concrete_function(
        tf.TensorSpec((batch_size, *crop, 3), tf.uint8),
        tf.TensorSpec((batch_size, *crop), tf.uint8),
    )


def profiled_multiply_adds(traced) -> float:
    """Returns half of the operations that TensorFlow's profiler counts for the outputs.

    Args:
      traced: a `ConcreteFunction` with all sizes known.
    """
    outputs = [tensor.op.name for tensor in traced.graph.outputs]
    definition = traced.graph.as_graph_def(add_shapes=True)
    needed = tf.Graph()
    with needed.as_default():
        part = tf.compat.v1.graph_util.extract_sub_graph(definition, outputs)
        tf.import_graph_def(part, name="")
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation() | {"output": "none"}
    return tf.compat.v1.profiler.profile(needed, options=options).total_float_ops / 2


class UnrolledSegmenter(rnnseg.RecurrentSegmenter):
    """The same model with its loop unrolled: a graph does not tell what happens inside a loop."""

    def encode(self, images, training=False):
        """Computes the features; a frozen encoder's gradient is not traced."""
        features = super().encode(images, training)
        if self.encoder.trainable:
            return features
        return {name: tf.stop_gradient(each) for name, each in features.items()}

    def _canvases(self, prepared, iterations, canvas, kept):
        weights = [self.stack.gate_weights(each) for each in prepared]
        canvas, state = self.stack.initial_state(prepared[0])
        for number in range(1, iterations + 1):
            canvas, state = self.stack(canvas, state, weights[self.stages_for(number) - 1])
        return canvas[tf.newaxis]
