"""Quantizes LiteRT files: quantize.py KIND FOLDER.

FOLDER holds the files `anytime` and `segment` in float32, which the quantized ones replace, and for
int8 the images to calibrate on, `*.npy`.
"""

import dataclasses
import hashlib
import math
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from ai_edge_litert import interpreter
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer import qtyping, quantizer

_KINDS = {code: kind for kind, code in vars(schema.BuiltinOperator).items() if code is not None}
_HALVED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
# Dynamic-range depthwise convolutions are slower than those in float32.
_DYNAMIC = ("CONV_2D", "FULLY_CONNECTED")
_STATIC = ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "PAD", "MAX_POOL_2D", "HARD_SWISH")

# With dynamic range, kernels with fewer weights stay float32. They make up hardly any of the file,
# and the first layers are among them, whose rounding changes the class map the most.
_LEAST_WEIGHTS = 8192


@dataclasses.dataclass(frozen=True)
class Operator:
    """An operator that computes in float32.

    Attributes:
      kind: its kind, such as CONV_2D.
      output: the name of its output tensor.
      digest: the digest of that tensor, as in `Graph`.
      inputs: the digests of its operands.
      weights: the size of its constant operand; 0 for an operator without one.
      is_last: True if its output is an output of the graph.
    """

    kind: str
    output: str
    digest: str
    inputs: tuple[str, ...]
    weights: int
    is_last: bool


@dataclasses.dataclass(frozen=True)
class Graph:
    """A subgraph of a file.

    Attributes:
      operators: in the order in which they run.
      tensors: the names of tensors by a digest of their computation, down to the weights and the
        types and shapes of the inputs. Equal computations in two graphs have equal digests. What a
        stage of the encoder takes from the stage before has the digests that it has there.
      outputs: the digests of the outputs by their names in the signature.
    """

    operators: tuple[Operator, ...]
    tensors: dict[str, list[str]]
    outputs: dict[str, str]


def read_graphs(file: bytes) -> dict[str, Graph]:
    """Returns the subgraphs of a flat buffer by the names of their signatures, or by their own.

    The stages of the encoder come first, in their order.
    """
    model = schema.ModelT.InitFromPackedBuf(file, 0)
    signatures = {each.subgraphIndex: each for each in model.signatureDefs or ()}
    names = {
        index: (signatures[index].signatureKey if index in signatures else graph.name).decode()
        for index, graph in enumerate(model.subgraphs)
    }
    graphs, before = {}, {}
    for index in sorted(names, key=lambda index: _encode_number(names[index])):
        number = _encode_number(names[index])
        given = before if 0 < number < math.inf else {}
        graph = _read_graph(model, model.subgraphs[index], signatures.get(index), given)
        graphs[names[index]] = graph
        before = graph.outputs
    return graphs


def _encode_number(signature: str) -> float:
    """Returns the number of a stage of the encoder, from 0; infinity for any other signature."""
    match = re.fullmatch(r"encode(?:_(\d+))?", signature)
    return int(match[1] or 0) if match else math.inf


def encode_graphs(graphs: Mapping[str, Graph]) -> dict[str, Graph]:
    """Returns the stages of the encoder, in their order."""
    return {name: each for name, each in graphs.items() if _encode_number(name) < math.inf}


def _read_graph(model, graph, signature, given: Mapping[str, str]) -> Graph:
    """Returns a subgraph; `given` has the digests of inputs by their names in the signature."""
    constants = {}
    for index, tensor in enumerate(graph.tensors):
        data = model.buffers[tensor.buffer].data
        if data is not None and len(data):
            constants[index] = _digest(tensor.type, tuple(tensor.shape), bytes(data))
    digests = constants | {-1: "none"}  # -1 stands for an omitted operand
    inputs, outputs = (
        {each.tensorIndex: each.name.decode() for each in maps or ()}
        for maps in ((signature.inputs, signature.outputs) if signature else ((), ()))
    )
    for index in graph.inputs:
        tensor = graph.tensors[index]
        own = _digest("input", tensor.type, tuple(tensor.shape))
        digests[index] = given.get(inputs.get(index), own)
    operators = []
    for operator in graph.operators:
        kind = _KINDS[model.operatorCodes[operator.opcodeIndex].builtinCode]
        options = operator.builtinOptions
        made_from = _digest(
            kind,
            sorted(vars(options).items()) if options else "",
            [digests[index] for index in operator.inputs],
        )
        digests |= {index: _digest(made_from, n) for n, index in enumerate(operator.outputs)}
        output = operator.outputs[0]
        if graph.tensors[output].type == schema.TensorType.FLOAT32:
            weights = [graph.tensors[i].shape for i in operator.inputs[:2] if i in constants]
            operators.append(
                Operator(
                    kind,
                    graph.tensors[output].name.decode(),
                    digests[output],
                    tuple(digests[index] for index in operator.inputs),
                    int(np.prod(weights[0])) if weights else 0,
                    output in graph.outputs,
                )
            )
    tensors = {}
    for index, digest in digests.items():
        if index >= 0:
            tensors.setdefault(digest, []).append(graph.tensors[index].name.decode())
    named = {name: digests[index] for index, name in outputs.items()}
    return Graph(tuple(operators), tensors, named)


def _digest(*content) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()


class Recipe:
    """The quantization of the operators of a file.

    Args:
      file: the flat buffer, float32.
    """

    def __init__(self, file: bytes):
        self.graphs = read_graphs(file)
        self._file = file
        self._quantizer = quantizer.Quantizer(file)

    def halve(self) -> None:
        """Stores weights as float16; the file converts them to float32 before it computes."""
        weights = qtyping.TensorQuantizationConfig(16, dtype=qtyping.TensorDataType.FLOAT)
        config = qtyping.OpQuantizationConfig(
            weight_tensor_config=weights, explicit_dequantize=True
        )
        for kind in _HALVED:
            self._quantizer.update_quantization_recipe(
                ".*",
                qtyping.TFLOperationName[kind],
                config,
                quantizer.AlgorithmName.FLOAT_CASTING,
            )

    def make_dynamic(self, but: frozenset[str] = frozenset()) -> None:
        """Stores the weights of products as int8, and rounds their inputs at run time.

        The outputs are float32, and so are canvas and cell state.

        Args:
          but: the digests of operators that stay as they are.
        """
        for graph in self.graphs.values():
            chosen = [
                each
                for each in graph.operators
                if each.digest not in but and each.weights >= _LEAST_WEIGHTS
            ]
            for kind, pattern in _patterns(chosen, _DYNAMIC):
                self._quantizer.add_dynamic_config(pattern, kind, num_bits=8)

    def make_static(self, digests: frozenset[str]) -> None:
        """Makes operators compute in int8, with calibrated ranges of their tensors.

        Args:
          digests: the digests of the operators.
        """
        for graph in self.graphs.values():
            chosen = [each for each in graph.operators if each.digest in digests]
            for kind, pattern in _patterns(chosen, _STATIC):
                self._quantizer.add_static_config(pattern, kind, 8, 8)

    def calibrate(self, images: Iterable[np.ndarray]) -> dict[str, dict]:
        """Returns the range of every tensor of the encoder, by name: its mean over the images.

        Args:
          images: uint8, `(1, H, W, 3)`.
        """
        stages = tuple(encode_graphs(self.graphs))
        runners = interpreter.Interpreter(model_content=self._file)
        ranges = []
        for image in images:
            # One by one: over several images the quantizer computes a moving average, in which the
            # first image counts the most.
            ranges.append({})
            inputs = {"image": image}
            for stage in stages:
                known = self._quantizer.calibrate({stage: [inputs]})
                ranges[-1] |= {name: each for name, each in known.items() if each}
                if stage != stages[-1]:
                    inputs = runners.get_signature_runner(stage)(**inputs)
        return {
            name: {key: np.mean([one[name][key] for one in ranges], 0) for key in ("min", "max")}
            for name in ranges[0]
        }

    def quantize(self, calibration: dict[str, dict] | None = None) -> bytes:
        """Returns the quantized flat buffer."""
        result = self._quantizer.quantize(calibration, enable_progress_report=False)
        return bytes(result.quantized_model)


def _patterns(operators: list[Operator], kinds) -> Iterator[tuple[qtyping.TFLOperationName, str]]:
    """Yields each kind with a regular expression for the outputs of its operators."""
    for kind in kinds:
        names = [re.escape(each.output) for each in operators if each.kind == kind]
        if names:
            yield qtyping.TFLOperationName[kind], f"^(?:{'|'.join(names)});?$"


def static_operators(stages: Iterable[Graph]) -> frozenset[str]:
    """Returns the digests of the operators that compute in int8: the middle of the encoder.

    Its outputs stay float32, and so do the first convolution and a depthwise one right behind it.
    Their few weights are large and cancel out, so that rounding them does more harm than rounding
    anything later; in float32 they are no slower. Sums with constants stay float32, too: rounding
    would shift whole channels. So do the products that add up to `prepared`, whose rounding would
    shift the gates of all iterations, or to the canvas.

    Args:
      stages: the graphs of the stages of the encoder, in their order.
    """
    static, first = set(), True
    for graph in stages:
        start = 0
        if first:
            kinds = [each.kind for each in graph.operators]
            start = kinds.index("CONV_2D") + 1
            if kinds[start : start + 1] == ["DEPTHWISE_CONV_2D"]:
                start += 1
            first = False
        prepared = _summands(graph)
        static |= {
            each.digest
            for each in graph.operators[start:]
            if each.kind in _STATIC
            and not each.is_last
            and each.digest not in prepared
            and not (each.kind == "ADD" and each.weights)
        }
    return frozenset(static)


def _summands(encode: Graph) -> set[str]:
    """Returns the digests of what adds up to `prepared` or the canvas: products, and their sums."""
    made_by = {each.digest: each for each in encode.operators}
    outputs = encode.outputs
    found, waiting = set(), [outputs.get(name) for name in ("prepared", "canvas")]
    while waiting:
        digest = waiting.pop()
        if digest in made_by and digest not in found:
            found.add(digest)
            if made_by[digest].kind not in ("CONV_2D", "FULLY_CONNECTED"):
                waiting += made_by[digest].inputs
    return found


def carry_over(
    calibration: dict[str, dict], stages: Iterable[Graph], target: Graph
) -> dict[str, dict]:
    """Transfers the ranges of tensors to a graph that computes the same tensors.

    The quantizer cannot calibrate a graph that contains a loop.

    Args:
      calibration: the ranges by the names of tensors in `stages`.
      stages: the graphs that were calibrated.
      target: the other graph.

    Returns:
      The ranges by the names of tensors in `target`.
    """
    return {
        there: calibration[here]
        for source in stages
        for digest, names in source.tensors.items()
        for here in names
        if here in calibration
        for there in target.tensors.get(digest, ())
    }


def main(kind: str, folder: str) -> None:
    """Quantizes the files in `folder` as float16, dynamic or int8."""
    paths = {name: pathlib.Path(folder, name) for name in ("anytime", "segment")}
    recipes = {name: Recipe(path.read_bytes()) for name, path in paths.items()}
    calibrations = dict.fromkeys(recipes)
    if kind == "float16":
        for recipe in recipes.values():
            recipe.halve()
    elif kind == "dynamic":
        for recipe in recipes.values():
            recipe.make_dynamic()
    else:
        stages = encode_graphs(recipes["anytime"].graphs).values()
        segment = recipes["segment"].graphs["segment"]
        static = static_operators(stages)
        if not static <= segment.tensors.keys():
            sys.exit("segment computes features by other operators than encode")
        for recipe in recipes.values():
            recipe.make_static(static)
            recipe.make_dynamic(but=static)
        images = map(np.load, sorted(pathlib.Path(folder).glob("*.npy")))
        calibrations["anytime"] = recipes["anytime"].calibrate(images)
        calibrations["segment"] = carry_over(calibrations["anytime"], stages, segment)
    for name, recipe in recipes.items():
        paths[name].write_bytes(recipe.quantize(calibrations[name]))


if __name__ == "__main__":
    main(*sys.argv[1:])
