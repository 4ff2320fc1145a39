"""What each stage of a prediction costs: multiply-adds, parameters and memory."""

import collections
import dataclasses
import weakref

import tensorflow as tf

from rnnseg import grid

# Two interpolations along one side and one along the other, of one multiply-add each.
_BILINEAR_COST = 3

# Operations whose output is their input, or no tensor that is computed.
_ALIASES = ("Identity", "Reshape", "Squeeze", "ExpandDims", "StopGradient", "PreventGradient")
_FREE = ("Const", "ReadVariableOp", "VarHandleOp", "Shape", "NoOp")
# Operations that TensorFlow lets write into an input which nothing else needs.
_IN_PLACE = frozenset(
    "Add AddV2 BiasAdd Elu Exp FusedBatchNormV3 Maximum Minimum Mul Neg RealDiv Relu Relu6 Rsqrt "
    "Selu Sigmoid Softplus Sub Tanh".split()
)

# The counts of a model follow from its structure, which does not change, and tracing takes seconds.
_COUNTED: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


@dataclasses.dataclass(frozen=True)
class StageCosts:
    """Multiply-adds of the stages for one image (one multiply and one add count as one).

    Attributes:
      encode: the encoder.
      prepare: the features' share of the gates.
      refine: one iteration.
      read: the upsampling to the image's size.
    """

    encode: int
    prepare: int
    refine: int
    read: int

    def total(self, iterations: int) -> int:
        """The whole prediction's multiply-adds after a number of iterations."""
        return self.encode + self.prepare + iterations * self.refine + self.read

    def as_published(self) -> "StageCosts":
        """The same where nothing is computed once for all iterations, as the paper counts."""
        return StageCosts(self.encode, 0, self.prepare + self.refine, self.read)

    def __add__(self, other: "StageCosts") -> "StageCosts":
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return StageCosts(*(mine + its for mine, its in pairs))


@dataclasses.dataclass(frozen=True)
class Stage:
    """What a stage needs beside its multiply-adds.

    Attributes:
      parameters: numbers in all of its weights, batch norm's statistics included.
      memory: bytes of the tensors that exist at the same time, for one image and without
        weights, when every one goes as soon as nothing needs it.
    """

    parameters: int
    memory: int


def stage_costs(model, height: int, width: int) -> StageCosts:
    """Counts what a segmenter does to one image.

    Counted are convolutions and matrix products, as in the papers of the field, and the upsampling;
    activations, normalisation and additions are not. All iterations are counted alike; the first
    from a blank canvas runs fewer, since its products with zeros are left out.

    Args:
      model: a segmenter.
      height: of the image, in pixels.
      width: of the image, in pixels.

    Returns:
      The costs.

    Raises:
      UserError: an image of less than one output stride a side.
    """
    known = _COUNTED.setdefault(model, {})
    if (height, width) in known:
        return known[height, width]
    functions = _stages(model, height, width)
    counts = {
        name: count_multiply_adds(*functions[name]) for name in ("encode", "prepare", "refine")
    }
    known[height, width] = StageCosts(
        **counts, read=_BILINEAR_COST * height * width * model.num_classes
    )
    return known[height, width]


def stages(model, height: int, width: int) -> dict[str, Stage]:
    """Parameters and memory of the stages of a segmenter.

    Args:
      model: a segmenter.
      height: of the image, in pixels.
      width: of the image, in pixels.

    Returns:
      One for each of `encode`, `prepare`, `refine` (one iteration) and `read`.
    """
    result = {}
    for name, (function, *specs) in _stages(model, height, width).items():
        traced = _trace(function, *specs)
        parameters = sum(variable.shape.num_elements() for variable in traced.variables)
        result[name] = Stage(parameters, peak_memory(traced))
    return result


def _stages(model, height: int, width: int) -> dict[str, tuple]:
    """The function of every stage, with what it takes."""
    model.check_image(height, width)
    side = [grid.canvas_size(each, model.output_stride) for each in (height, width)]
    features = tf.TensorSpec((1, *side, model.encoder.channels), model.compute_dtype)
    prepared = _trace(model.prepare, features).structured_outputs

    def iterate(prepared):
        if not model.recurrent:
            return prepared
        weights = model.stack.gate_weights(prepared)  # before the state, as in a prediction's loop
        return model.stack(*model.stack.initial_state(prepared), weights)

    return {
        "encode": (model.encode, tf.TensorSpec((1, height, width, 3), tf.uint8)),
        "prepare": (model.prepare, features),
        "refine": (iterate, tf.TensorSpec(prepared.shape, prepared.dtype)),
        "read": (
            lambda canvas: model.read(canvas, (height, width)),
            tf.TensorSpec((1, *side, model.num_classes)),
        ),
    }


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
    graph = _trace(function, *specs).graph
    return sum(_multiply_adds(operation) for operation in graph.get_operations())


def peak_memory(traced) -> int:
    """The most bytes that the tensors of a traced function take at the same time.

    Its operations run one by one, in the order in which they were traced; a tensor goes after its
    last use. What no output depends on is left out, as it is when TensorFlow runs a function. What
    single operations need inside, and padding of allocations, is not counted.

    Args:
      traced: a `ConcreteFunction` with all sizes known.

    Returns:
      Bytes, inputs and outputs included, weights not.
    """
    owner, size, uses = {}, {}, collections.Counter()
    operations = _needed(traced.graph)
    captured = {tensor.name for tensor in traced.graph.internal_captures}
    for operation in operations:
        for tensor in operation.inputs:
            uses[owner.get(tensor.name, tensor.name)] += 1
        for tensor in operation.outputs:
            if operation.type in _ALIASES:
                owner[tensor.name] = owner.get(operation.inputs[0].name, operation.inputs[0].name)
            else:
                free = operation.type in _FREE or tensor.name in captured
                size[tensor.name] = 0 if free else _bytes(tensor)
    for tensor in traced.graph.outputs:
        uses[owner.get(tensor.name, tensor.name)] += 1  # never goes
    alive = peak = 0
    for operation in operations:
        inputs = [owner.get(tensor.name, tensor.name) for tensor in operation.inputs]
        outputs = [tensor.name for tensor in operation.outputs if tensor.name in size]
        last = {each for each in inputs if uses[each] == inputs.count(each)}
        needed = sum(size[each] for each in outputs)
        reused = 0
        if operation.type in _IN_PLACE and outputs:
            reused = max((size[each] for each in last if size[each] == size[outputs[0]]), default=0)
        peak = max(peak, alive + needed - reused)
        alive += needed
        for each in inputs:
            uses[each] -= 1
        alive -= sum(size[each] for each in last)
        alive -= sum(size[each] for each in outputs if not uses[each])
    return peak


def _needed(graph) -> list[tf.Operation]:
    """The operations that the outputs of a graph depend on, in the order of the graph."""
    needed, waiting = set(), [tensor.op for tensor in graph.outputs]
    while waiting:
        operation = waiting.pop()
        if operation.name not in needed:
            needed.add(operation.name)
            waiting += [tensor.op for tensor in operation.inputs]
    return [operation for operation in graph.get_operations() if operation.name in needed]


def _trace(function, *specs: tf.TensorSpec):
    return tf.function(function, autograph=False).get_concrete_function(*specs)


def _bytes(tensor: tf.Tensor) -> int:
    if tensor.dtype in (tf.resource, tf.variant):
        return 0
    return tensor.shape.num_elements() * tensor.dtype.size


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
