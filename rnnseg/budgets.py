"""What each stage of a prediction costs, in multiply-adds."""

import dataclasses

import tensorflow as tf

from rnnseg import geometry

# Two interpolations along one side and one along the other, of one multiply-add each.
_BILINEAR_COST = 3


@dataclasses.dataclass(frozen=True)
class StageCosts:
    """Multiply-adds of the stages for one picture (one multiply and one add count as one).

    Attributes:
      encode: the encoder.
      prepare: the features' share of the gates.
      refine: one iteration.
      read: the upsampling to the picture's size.
    """

    encode: int
    prepare: int
    refine: int
    read: int

    def total(self, iterations: int) -> int:
        """The whole prediction's multiply-adds after a number of iterations."""
        return self.encode + self.prepare + iterations * self.refine + self.read


def stage_costs(model, height: int, width: int) -> StageCosts:
    """Counts what a segmenter does to one picture.

    Counted are convolutions and matrix products, as in the papers of the field, and the upsampling;
    activations, normalisation and additions are not.

    Args:
      model: a `RecurrentSegmenter`.
      height: of the picture, in pixels.
      width: of the picture, in pixels.

    Returns:
      The costs.
    """
    side = [geometry.canvas_size(each, model.output_stride) for each in (height, width)]
    image = tf.TensorSpec((1, height, width, 3), tf.uint8)
    features = tf.TensorSpec((1, *side, model.encoder.channels), tf.float32)
    gates = tf.TensorSpec((1, *side, 4 * model.stack.widths[0]), model.compute_dtype)

    def iterate(prepared):
        return model.stack(prepared, *model.stack.start(prepared))[0]

    return StageCosts(
        encode=count_multiply_adds(model.encode, image),
        prepare=count_multiply_adds(model.prepare, features),
        refine=count_multiply_adds(iterate, gates),
        read=_BILINEAR_COST * height * width * model.num_classes,
    )


def count_multiply_adds(function, *specs: tf.TensorSpec) -> int:
    """Multiply-adds of the convolutions and matrix products in a function.

    Counted are two-dimensional convolutions, plain, depthwise and transposed, and products of
    matrices; not what runs inside a nested function, such as the signature of a SavedModel.

    Args:
      function: takes one tensor for each spec.
      *specs: with all sizes known.

    Returns:
      The number for one call.
    """
    graph = tf.function(function, autograph=False).get_concrete_function(*specs).graph
    return sum(_multiply_adds(operation) for operation in graph.get_operations())


def _multiply_adds(operation: tf.Operation) -> int:
    if operation.type == "Conv2D":
        height, width, channels, _ = operation.inputs[1].shape
        per_output = height * width * channels
    elif operation.type == "DepthwiseConv2dNative":
        height, width, _, _ = operation.inputs[1].shape
        per_output = height * width
    elif operation.type == "Conv2DBackpropInput":  # a transposed convolution
        height, width, channels, _ = operation.inputs[1].shape
        return height * width * channels * operation.inputs[2].shape.num_elements()
    elif operation.type == "MatMul":
        rows, columns = operation.inputs[0].shape
        per_output = rows if operation.get_attr("transpose_a") else columns
    elif operation.type == "BatchMatMulV2":
        *_, rows, columns = operation.inputs[0].shape
        per_output = rows if operation.get_attr("adj_x") else columns
    else:
        return 0
    output = operation.outputs[0]
    # A dilated depthwise convolution runs on a rearranged, padded copy; what it is worth is what
    # comes out after the way back.
    users = output.consumers()
    if len(users) == 1 and users[0].type == "BatchToSpaceND":
        output = users[0].outputs[0]
    return per_output * output.shape.num_elements()
