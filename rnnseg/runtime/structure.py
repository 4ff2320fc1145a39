"""Faults of a flat buffer: offsets and numbers that lead nowhere, and weights that are not finite.

LiteRT itself has no such check in Python, and follows wrong numbers out of its memory.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from rnnseg.errors import first_line

_IDENTIFIER = b"TFL3"
_OMITTED = -1  # the number of an input that is left out
_FLOATS = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.FLOAT16: np.float16}


def find_fault(model: bytes) -> str | None:
    """Returns the first fault of a flat buffer in words, or None.

    Args:
      model: the flat buffer of a LiteRT file.
    """
    if model[4:8] != _IDENTIFIER:
        return f"it does not begin like a LiteRT file ({_IDENTIFIER.decode()})"
    try:
        content = schema.ModelT.InitFromPackedBuf(model, 0)
        return next(_faults(content, len(model)), None)
    except Exception as error:  # wrong offsets fail in struct, in NumPy or in flatbuffers
        return f"its structure cannot be read ({first_line(error)})"


def _faults(model: Any, size: int) -> Iterator[str]:
    """Yields the faults of an unpacked flat buffer of `size` bytes."""
    for number, buffer in enumerate(model.buffers):
        if buffer.offset + buffer.size > size:
            yield f"buffer {number} extends past its end"
    for number, graph in enumerate(model.subgraphs):
        where = f"graph {number}"
        tensors = len(graph.tensors)
        for tensor in graph.tensors:
            if not 0 <= tensor.buffer < len(model.buffers):
                yield f"{where} has a tensor with the contents {tensor.buffer}, which do not exist"
                return
            yield from _wrong_values(tensor, model.buffers[tensor.buffer].data)
        if not _within(graph.inputs, 0, tensors) or not _within(graph.outputs, 0, tensors):
            yield f"{where} has inputs or outputs that do not exist"
        for operator in graph.operators:
            if not 0 <= operator.opcodeIndex < len(model.operatorCodes):
                yield f"{where} has an operator of a kind that does not exist"
            used = _within(operator.inputs, _OMITTED, tensors)
            used = used and _within(operator.intermediates, _OMITTED, tensors)
            if not used or not _within(operator.outputs, 0, tensors):
                yield f"{where} has an operator with tensors that do not exist"
    for signature in model.signatureDefs or ():
        if not 0 <= signature.subgraphIndex < len(model.subgraphs):
            yield "it has a signature of a graph that does not exist"
            return
        tensors = len(model.subgraphs[signature.subgraphIndex].tensors)
        named = [each.tensorIndex for each in (*signature.inputs, *signature.outputs)]
        if not _within(named, 0, tensors):
            yield "it has a signature with tensors that do not exist"


def _within(numbers: Any, least: int, end: int) -> bool:
    """Returns True if all numbers are from `least` to below `end`; None stands for none."""
    numbers = np.asarray(() if numbers is None else numbers)
    return not numbers.size or (numbers.min() >= least and numbers.max() < end)


def _wrong_values(tensor: Any, data: Any) -> Iterator[str]:
    """Yields a fault for a constant tensor with values that are not finite numbers."""
    values = []
    if data is not None and tensor.type in _FLOATS:
        values.append(np.frombuffer(data, _FLOATS[tensor.type]))
    if tensor.quantization is not None and tensor.quantization.scale is not None:
        values.append(np.asarray(tensor.quantization.scale))
    for each in values:
        # A single infinite number may be a bound, such as the start of a search for a maximum.
        if np.isnan(each).any() or (each.size > 1 and not np.isfinite(each).all()):
            name = tensor.name.decode(errors="replace")
            yield f"the weights {name!r} are not finite numbers"
