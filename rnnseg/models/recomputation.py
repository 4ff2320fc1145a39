"""Gradients from inputs alone: less memory in training, for one more pass forward."""

from collections.abc import Callable

import tensorflow as tf


def recomputed(function: Callable[..., tf.Tensor], parts, *inputs) -> tf.Tensor:
    """`function(*inputs)`, with the same gradient but nothing kept for it except the inputs.

    The way back runs the function again, on one part of the rows after the other, and never holds
    more than what one part leaves behind (checkpointing as in Chen et al., 2016, "Training Deep
    Nets with Sublinear Memory Cost", but across independent rows instead of along the depth, so
    that one repetition is enough).

    Args:
      function: takes tensors whose rows, along the first axis, do not see one another, and gives a
        tensor with these rows along its second axis. It may use trainable variables.
      parts: into how many parts to divide the rows; a number, or a scalar int32 tensor. With more
        parts than rows every row is a part. 1 is the function itself.
      *inputs: floating-point tensors, `(rows, ...)`.

    Returns:
      `(..., rows, ...)`, what the function gives.
    """
    if not tf.is_tensor(parts) and parts == 1:
        return function(*inputs)  # a repetition would spare nothing

    @tf.custom_gradient
    def run(*inputs):
        def gradient(upstream, variables=()):
            return _gradient_by_parts(function, parts, inputs, upstream, list(variables))

        return function(*inputs), gradient

    return run(*inputs)


def _gradient_by_parts(function, parts, inputs, upstream, variables):
    """Gradients with respect to the inputs, and with respect to the variables."""
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

    count = -(-rows // size)  # less than `parts` where rounding up has left the last ones empty
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
