"""Faults in flat buffers, each in an otherwise sound one."""

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from rnnseg.runtime.structure import find_fault


def make_model():
    """Makes a graph that adds a constant of two numbers to its input, with a signature."""
    model = schema.ModelT()
    model.version = 3
    code = schema.OperatorCodeT()
    code.builtinCode = schema.BuiltinOperator.ADD
    empty, constant = schema.BufferT(), schema.BufferT()
    constant.data = np.float32([1, 2]).view(np.uint8)
    graph = schema.SubGraphT()
    graph.tensors = []
    for number, name in enumerate(("input", "bias", "sum")):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, [2], int(number == 1)
        graph.tensors.append(tensor)
    add = schema.OperatorT()
    add.inputs, add.outputs = [0, 1], [2]
    graph.inputs, graph.outputs, graph.operators = [0], [2], [add]
    signature = schema.SignatureDefT()
    signature.signatureKey = "add"
    signature.inputs, signature.outputs = (schema.TensorMapT(),), (schema.TensorMapT(),)
    signature.outputs[0].tensorIndex = 2
    model.operatorCodes, model.buffers = [code], [empty, constant]
    model.subgraphs, model.signatureDefs = [graph], [signature]
    return model


def pack(model) -> bytes:
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_sound_one_has_none():
    assert find_fault(pack(make_model())) is None


def _set(place, name, value):
    return lambda model: setattr(place(model), name, value)


def _graph(model):
    return model.subgraphs[0]


def _operator(model):
    return _graph(model).operators[0]


def _constant(*values):
    return np.array(values, np.float32).view(np.uint8)


def _scale(value):
    scale = schema.QuantizationParametersT()
    scale.scale = [value]
    return scale


@pytest.mark.parametrize(
    "change, fault",
    [
        (_set(_operator, "inputs", [0, 3]), "operator with tensors that do not exist"),
        (_set(_operator, "inputs", [0, -2]), "operator with tensors that do not exist"),
        (_set(_operator, "outputs", [-1]), "operator with tensors that do not exist"),
        (_set(_operator, "intermediates", [9]), "operator with tensors that do not exist"),
        (_set(_operator, "opcodeIndex", 1), "operator of a kind that does not exist"),
        (_set(_graph, "inputs", [7]), "inputs or outputs that do not exist"),
        (_set(_graph, "outputs", [-1]), "inputs or outputs that do not exist"),
        (_set(lambda model: _graph(model).tensors[0], "buffer", 2), "contents 2, which do not"),
        (_set(lambda model: model.signatureDefs[0], "subgraphIndex", 1), "signature of a graph"),
        (
            _set(lambda model: model.signatureDefs[0].outputs[0], "tensorIndex", 5),
            "signature with tensors that do not exist",
        ),
        (_set(lambda model: model.buffers[1], "offset", 10**9), "buffer 1 extends past its end"),
        (
            _set(lambda model: model.buffers[1], "data", _constant(1, np.nan)),
            "weights 'bias' are not finite numbers",
        ),
        (
            _set(lambda model: model.buffers[1], "data", _constant(np.inf, 1)),
            "weights 'bias' are not finite numbers",
        ),
        (
            _set(lambda model: _graph(model).tensors[1], "quantization", _scale(np.nan)),
            "weights 'bias' are not finite numbers",
        ),
    ],
)
def test_each_fault_is_named(change, fault):
    model = make_model()
    change(model)
    assert fault in find_fault(pack(model))


def test_an_omitted_input_and_a_single_infinite_bound_are_none():
    model = make_model()
    _operator(model).inputs = [0, 1, -1]
    model.buffers[1].data = _constant(-np.inf)
    _graph(model).tensors[1].shape = [1]
    assert find_fault(pack(model)) is None


def test_what_is_no_flat_buffer():
    data = pack(make_model())
    assert "does not begin like a LiteRT file" in find_fault(b"PK" + data[2:4] + b"1234")
    assert "cannot be read" in find_fault(data[: len(data) // 2])


def test_no_flipped_bit_escapes_as_an_exception():
    data = pack(make_model())
    found = []
    for position in range(8, len(data)):
        for bit in (0, 7):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            found.append(find_fault(bytes(flipped)))
    assert None in found  # of names and versions
    assert sum(each is not None for each in found) > len(found) / 4
