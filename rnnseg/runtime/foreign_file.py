"""LiteRT files of other makers that segment images of one size."""

import os
import pathlib

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from rnnseg.errors import UserError, first_line
from rnnseg.runtime.structure import find_fault

GREY = (128, 128, 128)
"""The padding of DeepLab's images; scaled to -1 to 1 it is close to 0."""


class ForeignFile:
    """A LiteRT file of another maker that maps an image of one size to classes.

    The first input is the image, and the first output is a class map or one score per class.
    `ForeignFile.predict` returns this output as it is.

    Args:
      path: the file.
      threads: the number of threads that the operators may use; None for all processors.
      input_range: the values that a file for floats expects for 0 and for 255.
      with_scores: True to get scores from a file for class maps, too: if it ends in an argmax, what
        that is taken of; and to get the values that quantized scores stand for.

    Attributes:
      size: the `(height, width)` of the image, in pixels.
      takes_floats: True if `input_range` counts.

    Raises:
      UserError: no LiteRT file, or one that does not map an image to classes.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        threads: int | None = None,
        input_range: tuple[float, float] = (-1.0, 1.0),
        with_scores: bool = False,
    ):
        self._with_scores = with_scores
        try:
            data = pathlib.Path(path).read_bytes()
            # LiteRT follows wrong numbers out of its memory.
            fault = find_fault(data)
            if fault is None:
                if with_scores:
                    data = _without_argmax(data)
                self._interpreter = Interpreter(
                    model_content=data, num_threads=threads or os.cpu_count() or 1
                )
                self._interpreter.allocate_tensors()
        except (OSError, RuntimeError, ValueError) as error:
            fault = first_line(error)
        if fault is not None:
            raise UserError(f"{path} is no LiteRT file that can run: {fault}")
        (self._input, *_), (self._output, *_) = (
            self._interpreter.get_input_details(),
            self._interpreter.get_output_details(),
        )
        shape, kind = tuple(map(int, self._input["shape"])), self._input["dtype"]
        kinds = np.uint8, np.int8, np.float32
        if len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or kind not in kinds:
            raise UserError(
                f"{path} takes {kind.__name__} {shape}: expected an image, uint8, int8 or float32 "
                "(1, height, width, 3)"
            )
        self.size = shape[1:3]
        self.takes_floats = kind == np.float32
        self._range = input_range

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Segments an image.

        Args:
          image: RGB, uint8 `(height, width, 3)`, of the size of the file.

        Returns:
          The class map, `(h, w)`, or scores, `(h, w, classes)`; the size is that of the file's
          output.
        """
        kind = self._input["dtype"]
        if kind == np.float32:
            image = scale_to(image, self._range)
        elif kind == np.int8:
            image = (image.astype(np.int16) - 128).astype(np.int8)
        self._interpreter.set_tensor(self._input["index"], image[np.newaxis])
        self._interpreter.invoke()
        output = self._interpreter.get_tensor(self._output["index"])[0]
        scale, zero = self._output["quantization"]
        if self._with_scores and scale:
            output = (output.astype(np.float32) - zero) * np.float32(scale)
        return output


def _without_argmax(data: bytes) -> bytes:
    """Returns a flat buffer whose output is what a last argmax was taken of, or `data` as it is."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]
    codes = [max(each.builtinCode, each.deprecatedBuiltinCode) for each in model.operatorCodes]
    for operator in graph.operators:
        is_argmax = codes[operator.opcodeIndex] == schema.BuiltinOperator.ARG_MAX
        if is_argmax and list(operator.outputs) == list(graph.outputs[:1]):
            break
    else:
        return data
    scores = int(operator.inputs[0])
    graph.operators.remove(operator)
    for signature in model.signatureDefs or ():
        for each in signature.outputs:
            if each.tensorIndex == graph.outputs[0]:
                each.tensorIndex = scores
    graph.outputs = [scores, *graph.outputs[1:]]
    builder = schema.flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def scale_to(image: np.ndarray, input_range: tuple[float, float]) -> np.ndarray:
    """Returns an image, uint8, as float32 with other values in place of 0 and 255."""
    least, most = input_range
    return image * np.float32((most - least) / 255) + np.float32(least)
