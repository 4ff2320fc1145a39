"""Quantizes LiteRT files: quantize.py KIND FOLDER.

FOLDER holds the files `anytime` and `segment` in float32, which the quantized ones replace, and for
int8 the images to calibrate on, `*.npy`.
"""

import dataclasses
import hashlib
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator

import numpy as np
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
      weights: the size of its constant operand; 0 for an operator without one.
      is_last: True if its output is an output of the graph.
    """

    kind: str
    output: str
    digest: str
    weights: int
    is_last: bool


@dataclasses.dataclass(frozen=True)
class Graph:
    """A subgraph of a file.

    Attributes:
      operators: in the order in which they run.
      tensors: the names of tensors by a digest of their computation, down to the weights and the
        types and shapes of the inputs. Equal computations in two graphs have equal digests.
    """

    operators: tuple[Operator, ...]
    tensors: dict[str, list[str]]


def read_graphs(file: bytes) -> dict[str, Graph]:
    """Returns the subgraphs of a flat buffer by the names of their signatures, or by their own."""
    model = schema.ModelT.InitFromPackedBuf(file, 0)
    names = {each.subgraphIndex: each.signatureKey for each in model.signatureDefs or ()}
    return {
        names.get(index, graph.name).decode(): _read_graph(model, graph)
        for index, graph in enumerate(model.subgraphs)
    }


def _read_graph(model, graph) -> Graph:
    constants = {}
    for index, tensor in enumerate(graph.tensors):
        data = model.buffers[tensor.buffer].data
        if data is not None and len(data):
            constants[index] = _digest(tensor.type, tuple(tensor.shape), bytes(data))
    digests = constants | {-1: "none"}  # -1 stands for an omitted operand
    for index in graph.inputs:
        tensor = graph.tensors[index]
        digests[index] = _digest("input", tensor.type, tuple(tensor.shape))
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
                    int(np.prod(weights[0])) if weights else 0,
                    output in graph.outputs,
                )
            )
    tensors = {}
    for index, digest in digests.items():
        if index >= 0:
            tensors.setdefault(digest, []).append(graph.tensors[index].name.decode())
    return Graph(tuple(operators), tensors)


def _digest(*content) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()


class Recipe:
    """The quantization of the operators of a file.

    Args:
      file: the flat buffer, float32.
    """

    def __init__(self, file: bytes):
        self.graphs = read_graphs(file)
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
        """Returns the range of every tensor of `encode`, by name: its mean over the images.

        Args:
          images: uint8, `(1, H, W, 3)`.
        """
        # One by one: over several images the quantizer computes a moving average, in which the
        # first image counts the most.
        each = [self._quantizer.calibrate({"encode": [{"image": image}]}) for image in images]
        return {
            name: {key: np.mean([one[name][key] for one in each], 0) for key in ("min", "max")}
            for name, known in each[0].items()
            if known
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


def static_operators(encode: Graph) -> frozenset[str]:
    """Returns the digests of the operators that compute in int8: the middle of the encoder.

    Its outputs stay float32, and so do the first convolution and a depthwise one right behind it.
    Their few weights are large and cancel out, so that rounding them does more harm than rounding
    anything later; in float32 they are no slower. Sums with constants stay float32, too: rounding
    would shift whole channels.

    Args:
      encode: the graph of the signature `encode`.
    """
    kinds = [each.kind for each in encode.operators]
    start = kinds.index("CONV_2D") + 1
    if kinds[start : start + 1] == ["DEPTHWISE_CONV_2D"]:
        start += 1
    return frozenset(
        each.digest
        for each in encode.operators[start:]
        if each.kind in _STATIC and not each.is_last and not (each.kind == "ADD" and each.weights)
    )


def carry_over(calibration: dict[str, dict], source: Graph, target: Graph) -> dict[str, dict]:
    """Transfers the ranges of tensors to a graph that computes the same tensors.

    The quantizer cannot calibrate a graph that contains a loop.

    Args:
      calibration: the ranges by the names of tensors in `source`.
      source: the graph that was calibrated.
      target: the other graph.

    Returns:
      The ranges by the names of tensors in `target`.
    """
    return {
        there: calibration[here]
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
        encode, segment = recipes["anytime"].graphs["encode"], recipes["segment"].graphs["segment"]
        static = static_operators(encode)
        if not static <= segment.tensors.keys():
            sys.exit("segment computes features by other operators than encode")
        for recipe in recipes.values():
            recipe.make_static(static)
            recipe.make_dynamic(but=static)
        images = map(np.load, sorted(pathlib.Path(folder).glob("*.npy")))
        calibrations["anytime"] = recipes["anytime"].calibrate(images)
        calibrations["segment"] = carry_over(calibrations["anytime"], encode, segment)
    for name, recipe in recipes.items():
        paths[name].write_bytes(recipe.quantize(calibrations[name]))


if __name__ == "__main__":
    main(*sys.argv[1:])
