"""Gradients with checkpointing: less memory in training, for a second forward pass."""

from collections.abc import Callable

import tensorflow as tf


def recomputed(
    function: Callable[..., tf.Tensor], parts: int | tf.Tensor, *inputs: tf.Tensor
) -> tf.Tensor:
    """Computes `function(*inputs)` and stores nothing for the gradient except the inputs.

    The backward pass runs the function again, on one part of the rows after the other, and never
    holds more than the activations of one part. (This is checkpointing as in Chen et al., 2016,
    "Training Deep Nets with Sublinear Memory Cost", but over independent rows instead of along the
    depth, so that a single repetition is enough.) The gradient is the same.

    Args:
      function: takes tensors with independent rows along the first axis, and returns a tensor with
        these rows along its second axis. It may use trainable variables.
      parts: the number of parts to divide the rows into; a number, or a scalar int32 tensor. If
        there are fewer rows, every row is a part. With 1 this is the function itself.
      *inputs: floating-point tensors, `(rows, ...)`.

    Returns:
      `(..., rows, ...)`, the result of the function.
    """
    if not tf.is_tensor(parts) and parts == 1:
        return function(*inputs)  # a repetition would save nothing

    @tf.custom_gradient
    def run(*inputs):
        def gradient(upstream, variables=()):
            return _gradient_by_parts(function, parts, inputs, upstream, list(variables))

        return function(*inputs), gradient

    return run(*inputs)


def _gradient_by_parts(function, parts, inputs, upstream, variables):
    """Computes the gradients with respect to the inputs and to the variables."""
    rows = tf.shape(inputs[0])[0]
    size = -(-rows // parts)

    def body(part, of_variables, of_inputs):
        chosen = slice(part * size, (part + 1) * size)
        pieces = [each[chosen] for each in inputs]
        with tf.GradientTape() as tape:
            tape.watch(pieces)
            outputs = function(*pieces)
        found = tape.gradient(
            outputs,
            pieces + variables,
            output_gradients=upstream[:, chosen],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        of_inputs = [
            array.write(part, piece)
            for array, piece in zip(of_inputs, found[: len(inputs)], strict=True)
        ]
        of_variables = [
            total + share for total, share in zip(of_variables, found[len(inputs) :], strict=True)
        ]
        return part + 1, of_variables, of_inputs

    count = -(-rows // size)  # fewer than `parts` if rounding up leaves the last ones empty
    _, of_variables, of_inputs = tf.while_loop(
        lambda part, *_: part < count,
        body,
        (
            tf.constant(0),
            [tf.zeros(each.shape, each.dtype) for each in variables],
            [
                # The last part may have fewer rows.
                tf.TensorArray(
                    each.dtype, count, element_shape=(None, *each.shape[1:]), infer_shape=False
                )
                for each in inputs
            ],
        ),
        parallel_iterations=1,
    )
    joined = [
        tf.ensure_shape(array.concat(), each.shape)
        for array, each in zip(of_inputs, inputs, strict=True)
    ]
    return joined, of_variables
