"""Counts the multiply-adds, parameters and memory of each stage of a prediction."""

import collections
import dataclasses
import functools
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from rnnseg.errors import UserError
from rnnseg.models.base import SegmentationModel

BILINEAR_COST = 3
"""The multiply-adds per value of a bilinear interpolation: three linear ones."""

# Operations whose output shares the memory of their input.
_ALIASES = ("Identity", "Reshape", "Squeeze", "ExpandDims", "StopGradient", "PreventGradient")
# Operations that compute no tensor.
_FREE = ("Const", "ReadVariableOp", "VarHandleOp", "Shape", "NoOp")
# Operations that TensorFlow may run in place, in the memory of an input that nothing else needs.
_IN_PLACE = frozenset(
    "Add AddV2 BiasAdd Elu Exp FusedBatchNormV3 Maximum Minimum Mul Neg RealDiv Relu Relu6 Rsqrt "
    "Selu Sigmoid Softplus Sub Tanh".split()
)

# The costs of each model by (height, width). They follow from the structure of the model, which
# does not change; counting them anew would take seconds.
_COUNTED: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


class EarlyCosts(NamedTuple):
    """The multiply-adds of the encoder's first stages, which the first iterations need.

    Attributes:
      iterations: the last iteration that needs no further stage.
      encode: the encoder up to this stage.
      prepare: the loop-invariant part up to this stage.
    """

    iterations: int
    encode: int
    prepare: int


@dataclasses.dataclass(frozen=True)
class StageCosts:
    """The multiply-adds of the stages for one image; a multiplication and an addition count as one.

    Attributes:
      encode: the whole encoder.
      prepare: the loop-invariant part of the iterations.
      refine: one iteration.
      read: the upsampling to the size of the image.
      early: the costs of the encoder's stages before the last, from the first.
    """

    encode: int
    prepare: int
    refine: int
    read: int
    early: tuple[EarlyCosts, ...] = ()

    def total(self, iterations: int) -> int:
        """Returns the multiply-adds of a whole prediction with a number of iterations."""
        seen = next((each for each in self.early if iterations <= each.iterations), self)
        return seen.encode + seen.prepare + iterations * self.refine + self.read

    def as_published(self) -> "StageCosts":
        """Returns the costs as the paper counts them.

        There, every iteration computes the loop-invariant part again.
        """
        if self.early:
            raise UserError("as published: the paper's model has no early iterations")
        return StageCosts(self.encode, 0, self.prepare + self.refine, self.read)

    def __add__(self, other: "StageCosts") -> "StageCosts":
        return StageCosts(
            self.encode + other.encode,
            self.prepare + other.prepare,
            self.refine + other.refine,
            self.read + other.read,
            tuple(
                EarlyCosts(mine.iterations, mine.encode + its.encode, mine.prepare + its.prepare)
                for mine, its in zip(self.early, other.early, strict=True)
            ),
        )


@dataclasses.dataclass(frozen=True)
class Stage:
    """The parameters and memory of a stage.

    Attributes:
      parameters: the number of values in all of its weights, the statistics of batch norm included.
      memory: the bytes of its tensors for one image, as `peak_memory` simulates them.
    """

    parameters: int
    memory: int


def stage_costs(model: SegmentationModel, height: int, width: int) -> StageCosts:
    """Counts the multiply-adds of a prediction for one image.

    The count includes convolutions and matrix products, as in the papers of the field, and the
    upsampling. It leaves out activations, normalization and additions. All iterations count alike,
    although the first iteration on the initial canvas omits its products with zeros.

    Args:
      model: the model. Its costs are kept for the next call, as long as the model exists.
      height: of the image, in pixels.
      width: of the image, in pixels.

    Raises:
      UserError: a side of the image is below one output stride.
    """
    known = _COUNTED.setdefault(model, {})
    if (height, width) in known:
        return known[height, width]
    traced = _stages(model, height, width)
    counts = {name: _count(traced[name]) for name in ("encode", "prepare", "refine")}
    known[height, width] = StageCosts(
        **counts,
        read=BILINEAR_COST * height * width * model.num_classes,
        early=_early_costs(model, height, width),
    )
    return known[height, width]


def _early_costs(model: SegmentationModel, height: int, width: int) -> tuple[EarlyCosts, ...]:
    """Counts the stages of the encoder before the last, each together with those before it."""
    found, encode, prepare, inputs = [], 0, 0, _image_spec(height, width)
    given: list[Any] = []
    for number, iterations in enumerate(model.first_iterations[1:]):
        stage = _trace(functools.partial(model.encode_stage, number), inputs)
        encode += _count(stage)
        inputs = _specs(stage)
        part = _trace(model.prepare, inputs, *given)
        prepare += _count(part)
        given = [_specs(part)]
        found.append(EarlyCosts(iterations, encode, prepare))
    return tuple(found)


def stages(model: SegmentationModel, height: int, width: int) -> dict[str, Stage]:
    """Counts the parameters and the memory of the stages.

    Args:
      model: the model.
      height: of the image, in pixels.
      width: of the image, in pixels.

    Returns:
      The stages `encode`, `prepare`, `refine` (one iteration) and `read`, by name.

    Raises:
      UserError: a side of the image is below one output stride.
    """
    result = {}
    for name, traced in _stages(model, height, width).items():
        parameters = sum(variable.shape.num_elements() for variable in traced.variables)
        result[name] = Stage(parameters, peak_memory(traced))
    return result


def _stages(
    model: SegmentationModel, height: int, width: int
) -> dict[str, tf.types.experimental.ConcreteFunction]:
    """Returns the traced function of every stage, by name; each is traced once: it takes time."""
    model.check_image(height, width)
    encode = _trace(model.encode, _image_spec(height, width))

    def prepare_in_stages(features):
        # As predictions do: depths on the same grid are upsampled together within a stage.
        left = dict(features)
        prepared: list[tf.Tensor] = []
        for names in model.encoder.stages[:-1]:
            seen = {name: left.pop(name) for name in names}
            prepared = [model.prepare(seen, *prepared)]
        return model.prepare(left, *prepared)

    prepare = _trace(prepare_in_stages, _specs(encode))
    canvas = tf.TensorSpec((1, *model.canvas_size(height, width), model.num_classes))
    return {
        "encode": encode,
        "prepare": prepare,
        "refine": _trace(model.iterate, _specs(prepare)),
        "read": _trace(lambda canvas: model.read(canvas, (height, width)), canvas),
    }


def _image_spec(height: int, width: int) -> tf.TensorSpec:
    return tf.TensorSpec((1, height, width, 3), tf.uint8)


def _specs(traced: tf.types.experimental.ConcreteFunction):
    """Returns the types of the outputs of a traced function, in their structure."""
    return tf.nest.map_structure(
        lambda each: tf.TensorSpec(each.shape, each.dtype), traced.structured_outputs
    )


def count_multiply_adds(function: Callable, *specs: Any) -> int:
    """Counts the multiply-adds of convolutions, matrix products and bilinear interpolations.

    The convolutions are two-dimensional: plain, depthwise and transposed. Operations inside a
    nested function, such as the signature of a SavedModel, are not counted.

    Args:
      function: a function of one argument per spec.
      *specs: the `tf.TensorSpec` of each argument, or a structure of them, with all sizes known.

    Returns:
      The multiply-adds of one call.
    """
    return _count(_trace(function, *specs))


def _count(traced: tf.types.experimental.ConcreteFunction) -> int:
    """Returns the multiply-adds of one call of a traced function."""
    return sum(_multiply_adds(operation) for operation in traced.graph.get_operations())


def peak_memory(traced: tf.types.experimental.ConcreteFunction) -> int:
    """Simulates the most bytes that the tensors of a traced function take at the same time.

    The memory is simulated rather than measured, because models are also counted that are never
    run, for images and machines of any size. TensorFlow measures only the memory of GPUs, and the
    resident memory of a process includes the runtime and the reserves of its allocator.

    The operations run one by one, in the order in which they were traced, and a tensor is freed
    after its last use. Operations that no output depends on are left out, as in TensorFlow. The
    workspace inside single operations and the padding of allocations are not counted.

    Args:
      traced: the function, with all sizes known.

    Returns:
      Bytes, with inputs and outputs, without weights.
    """
    owner: dict[str, str] = {}
    size: dict[str, int] = {}
    uses: collections.Counter[str] = collections.Counter()
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
        uses[owner.get(tensor.name, tensor.name)] += 1  # never freed
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


def _needed(graph: tf.Graph) -> list[tf.Operation]:
    """Returns the operations that the outputs of a graph depend on, in the order of the graph."""
    needed, waiting = set(), [tensor.op for tensor in graph.outputs]
    while waiting:
        operation = waiting.pop()
        if operation.name not in needed:
            needed.add(operation.name)
            waiting += [tensor.op for tensor in operation.inputs]
    return [operation for operation in graph.get_operations() if operation.name in needed]


def _trace(function, *specs) -> tf.types.experimental.ConcreteFunction:
    return tf.function(function, autograph=False).get_concrete_function(*specs)


def _bytes(tensor: tf.Tensor) -> int:
    if tensor.dtype in (tf.resource, tf.variant):
        return 0
    return tensor.shape.num_elements() * tensor.dtype.size


def _multiply_adds(operation: tf.Operation) -> int:
    """Returns the multiply-adds of an operation; 0 for the types that are not counted."""
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
    elif operation.type == "ResizeBilinear":
        per_output = BILINEAR_COST
    else:
        return 0
    output = operation.outputs[0]
    # A dilated depthwise convolution runs on a rearranged, padded copy. The pixels that count are
    # those that are left when the arrangement is undone and the padding cut off.
    users = output.consumers()
    if len(users) == 1 and users[0].type == "BatchToSpaceND":
        output = users[0].outputs[0]
    return per_output * output.shape.num_elements()
