"""What a training step needs, counted on its graph: multiply-adds and memory."""

import dataclasses
import functools
from collections.abc import Mapping

import tensorflow as tf

import rnnseg
from rnnseg.budgets.costs import peak_memory, stage_costs
from rnnseg.training.config import TrainingConfig


@dataclasses.dataclass(frozen=True)
class StepCosts:
    """What a step of training takes.

    Attributes:
      parameters: numbers in all weights.
      trainable: numbers in those that are trained.
      multiply_adds: of one image, forward and back.
      memory: bytes by the number of images on a device.
    """

    parameters: int
    trainable: int
    multiply_adds: int
    memory: Mapping[int, int]


@functools.cache
def step_costs(config: TrainingConfig, classes: int, images: tuple[int, ...]) -> StepCosts:
    """Estimates what a step of a run takes.

    Multiply-adds are those of `rnnseg.budgets`. On the way back every product of the forward pass
    is there twice, for the gradients of its two factors, but for what lies before the first thing
    that is trained. Memory is that of all weights and of the optimizer's momentum, in float32, and
    `rnnseg.budgets.peak_memory` of the whole step, traced: what a device needs inside its
    operations, and what its allocator wastes, come on top.

    Args:
      config: of the run; of a recurrent model, on whole images.
      classes: of the data.
      images: numbers of them on a device.
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
    """The untrained model of a run, with its loops written out.

    Args:
      config: of the run.
      classes: of the data.
    """
    return UnrolledSegmenter(
        classes,
        encoder=config.encoder,
        encoder_weights=None,
        output_stride=config.output_stride,
        hidden_channels=config.hidden_channels,
        context_channels=config.context_channels,
        iterations=config.iterations,
        recompute=config.recompute,
        train_encoder=config.train_encoder,
        freeze_batch_norm=config.freeze_batch_norm,
        l2=config.l2,
        dtype=config.precision,
    )


def trace_step(model: rnnseg.RecurrentSegmenter, crop: tuple[int, int], batch_size: int):
    """The graph of a step up to the gradients.

    Args:
      model: what is trained.
      crop: (height, width) of the images.
      batch_size: how many images.

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
    """Half of the operations that TensorFlow's profiler counts in what the outputs depend on.

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
    """The same, with its loops written out, since nothing tells what goes on inside a loop."""

    def encode(self, images, training=False):
        """As it is; but what no gradient needs is not traced."""
        features = super().encode(images, training)
        return features if self.encoder.trainable else tf.stop_gradient(features)

    def _canvases(self, prepared, iterations, canvas, kept):
        gates = self.stack.gate_weights(prepared)
        canvas, state = self.stack.initial_state(prepared)
        for _ in range(iterations):
            canvas, state = self.stack(canvas, state, gates)
        return canvas[tf.newaxis]

    def _checkpointed_canvases(self, prepared, iterations, canvas, kept):
        """On the way back the first part of the pixels stands for all others, one by one."""
        place = prepared.shape[:3]
        prepared = tf.reshape(prepared, (-1, 1, 1, prepared.shape[3]))

        @tf.custom_gradient
        def run(prepared):
            def gradient(upstream, variables):
                size = -(-prepared.shape[0] // iterations)
                with tf.GradientTape() as tape:
                    part = prepared[:size]
                    tape.watch(part)
                    canvases = self._canvases(part, iterations, None, kept)
                found = tape.gradient(canvases, [part, *variables], upstream[:, :size])
                return tf.concat([found[0]] * iterations, 0)[: prepared.shape[0]], found[1:]

            return self._canvases(prepared, iterations, None, kept), gradient

        return tf.reshape(run(prepared), (1, *place, self.num_classes))
