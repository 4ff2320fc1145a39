"""Conversion to ONNX files, which ONNX Runtime runs without TensorFlow.

A file has one graph. The iterations are a loop in it, whose number is an input with a default, so
that one file serves every budget and every size of images.
"""

import dataclasses
import importlib.util
import os
import pathlib
import tempfile
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from rnnseg import files
from rnnseg.errors import UserError
from rnnseg.exporting import processes, saved_model, signatures
from rnnseg.models.base import SegmentationModel
from rnnseg.runtime.model_info import ModelInfo

# The version of the operators unless another one is asked for: that which tf2onnx prefers. ONNX
# Runtime has it since 1.10, of 2021.
_OPSET = 15
_SIDES = ("batch", "height", "width")

# The packages of the extra by what they are for.
CONVERTING = ("onnx", "tf2onnx")
RUNNING = ("onnxruntime",)


def check_installed(packages: Sequence[str]) -> None:
    """Raises a UserError if a package of the extra `onnx` is missing."""
    missing = [each for each in packages if importlib.util.find_spec(each) is None]
    if missing:
        raise UserError(f"ONNX needs {', '.join(missing)}: pip install 'rnnseg[onnx]'")


def export(
    model: SegmentationModel,
    filepath: str | os.PathLike,
    verbose: bool | None = None,
    input_signature: Sequence | None = None,
    opset_version: int | None = None,
) -> None:
    """Writes a model as Keras would, images to logits, with the number of iterations as an input.

    The inputs are `images`, `(batch, H, W, 3)`, and for a recurrent model `iterations`, an int32
    scalar that may be left out: then it is the number in training. Fewer than one count as one. The
    output is `logits`, float32 `(batch, H, W, classes)`. The file computes in float32.

    Args:
      model: a model.
      filepath: the file to write.
      verbose: False to print nothing.
      input_signature: one specification, of the images, `keras.InputSpec` or `tf.TensorSpec`; None:
        float32, `(batch, H, W, 3)`, of any number and size.
      opset_version: the version of ONNX's operators; None: 15.

    Raises:
      UserError: a missing package, another signature, or a model that cannot be converted.
    """
    check_installed(CONVERTING)
    images = _image_spec(input_signature)
    model = signatures.in_float32(model)

    def logits(images, iterations=1):
        if model.recurrent:
            iterations = tf.maximum(iterations, 1)
        return {"logits": model.sized_logits(model.canvas_of(images, iterations), images)}

    number = [tf.TensorSpec((), tf.int32, "iterations")] if model.recurrent else []
    proto = _convert(model, signatures.traced(logits, images, *number), opset_version)
    _name_sides(proto, {"images": _SIDES, "logits": _SIDES})
    with files.atomic_path(filepath) as path:
        path.write_bytes(proto.SerializeToString())
    if verbose or verbose is None:
        print(f"Saved artifact at '{filepath}'.")


def convert(model: SegmentationModel, info: ModelInfo) -> bytes:
    """Converts a model to a file like `segment.tflite`, for images of any number and size.

    Args:
      model: a model that computes in float32.
      info: the metadata of its LiteRT files. The file has them as its own, under the keys
        "rnnseg.json" and "labels.txt", without what is true of one size of images alone.

    Returns:
      The file: `image`, uint8 `(batch, H, W, 3)`, and for a recurrent model `iterations`, int32
      `()`, with the number in training as the default, to `classes`, int32 `(batch, H, W)`, and
      `canvas`, float32 `(batch, h, w, classes)`.

    Raises:
      UserError: a missing package, or a model that cannot be converted.
    """
    check_installed(CONVERTING)

    def outputs(canvas, size):
        return {"classes": model.read(canvas, size), "canvas": canvas}

    function = signatures.segment_function(model, None, None, outputs)
    proto = _convert(model, function)
    _name_sides(
        proto,
        {
            "image": _SIDES,
            "classes": _SIDES,
            "canvas": ("batch", "canvas_height", "canvas_width"),
        },
    )
    info = dataclasses.replace(
        info,
        kind="segment",
        quantization="float32",
        size=None,
        multiply_adds=None,
        early_multiply_adds=None,
    )
    for name, text in info.texts().items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = name, text
    return proto.SerializeToString()


def _image_spec(given: Sequence | None) -> tf.TensorSpec:
    """Returns the type of the input `images` for an input signature as Keras takes it."""
    if given is None:
        given = [keras.InputSpec(shape=(None, None, None, 3), dtype="float32")]
    flat = tf.nest.flatten(given)
    if len(flat) != 1 or flat[0].shape is None or len(flat[0].shape) != 4:
        raise UserError(
            f"input_signature={given}: expected one specification of images, such as "
            "[keras.InputSpec(shape=(None, None, None, 3), dtype='uint8')]; the file has "
            "`iterations` as an input by itself"
        )
    return tf.TensorSpec(flat[0].shape, flat[0].dtype or "float32", "images")


def _convert(model, function, opset: int | None = None):
    """Converts a traced function; `iterations`, if it takes them, get those in training.

    Returns:
      The `onnx.ModelProto`.
    """
    # An optional package: what needs none of it may import this module.
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "out.onnx")
        saved_model.write({"whole": function}, folder)
        try:
            processes.run(
                "convert_onnx", folder, "whole", out, str(_OPSET if opset is None else opset)
            )
        except processes.ProcessError as error:
            raise UserError(f"{model.name} cannot be converted to ONNX: {error}") from error
        proto = onnx.load(out)
    if model.recurrent:
        # ONNX has defaults of inputs in this form: constants of the same name.
        default = np.array(model.iterations, np.int32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(default, "iterations"))
    return proto


def _name_sides(proto, sides: Mapping[str, Sequence[str]]) -> None:
    """Names the sides of inputs and outputs that are known only at run time."""
    for tensor in (*proto.graph.input, *proto.graph.output):
        dims = tensor.type.tensor_type.shape.dim
        for dim, name in zip(dims, sides.get(tensor.name, ()), strict=False):
            if not dim.HasField("dim_value"):
                dim.dim_param = name
