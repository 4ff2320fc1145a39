"""Small LiteRT files, and metadata without a model, for tests."""

import importlib
import pathlib
import shutil
import warnings

from rnnseg.exporting import processes, saved_model, signatures
from rnnseg.exporting.processes import convert
from rnnseg.runtime.model_info import ModelInfo
from tests.support.models import make_lively_model


def run_here(program: str, *arguments) -> None:
    """Runs a program as `rnnseg.exporting.processes.run` does, but in the present process.

    In a process of its own, importing TensorFlow takes most of the time.
    """
    module = importlib.import_module(f"rnnseg.exporting.processes.{program}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nobody sees those of a process of its own
            module.main(*map(str, arguments))
    except SystemExit as error:
        raise processes.ProcessError(error.code) from error


def make_info(**options) -> ModelInfo:
    """Returns metadata of a file for four classes."""
    options = {
        "kind": "anytime",
        "recurrent": True,
        "quantization": "float32",
        "classes": tuple("abcd"),
        "colors": tuple((60 * index, 0, 0) for index in range(4)),
        "size": (41, 57),
        "output_stride": 8,
        "canvas_stride": 8,
        "early_iterations": (),
        "encoder_outputs": (("prepared",),),
        "padding": (124, 117, 104),
        "iterations": 6,
        "state": {"h_0": 3, "c_0": 3, "h_1": 4, "c_1": 4},
        "initial_state": {},
        "multiply_adds": None,
    } | options
    return ModelInfo(**options)


def make_staged_model():
    """Makes a lively model with three stages of the encoder, and with a fine canvas."""
    model = make_lively_model(
        output_stride=16,
        canvas_stride=8,
        skip_layers=("stride8_conv2_relu", "stride16_conv1_relu"),
        early_iterations=(2, 1),
        increment_scale=0,
    )
    for gates in model.stack.skip_gates:  # as strong as those of the deepest features
        gates.kernel.assign(50 * gates.kernel)
    return model


def write_anytime(model, size, folder: pathlib.Path, **options) -> pathlib.Path:
    """Writes an `anytime.tflite` of a model to a folder, in the present process.

    `options` are metadata, as `make_info` takes them, in the place of those for four classes.
    """
    return _write("anytime", signatures.stage_functions(model, size, batch=1), model, size, folder,
                  options)  # fmt: skip


def write_segment(model, size, folder: pathlib.Path, **options) -> pathlib.Path:
    """Writes a `segment.tflite`, likewise."""

    def outputs(canvas, size):
        return {"classes": model.read(canvas, size), "canvas": canvas}

    functions = {"segment": signatures.segment_function(model, size, 1, outputs)}
    return _write("segment", functions, model, size, folder, options)


def _write(kind, functions, model, size, folder, options) -> pathlib.Path:
    saved_model.write(functions, folder / "saved_model")
    name = f"{kind}.tflite"
    convert.main(str(folder / "saved_model"), str(folder), f"{name}:" + ",".join(functions))
    shutil.rmtree(folder / "saved_model")
    initial = model.initial_values
    info = make_info(
        kind=kind,
        size=size,
        recurrent=model.recurrent,
        output_stride=model.output_stride,
        canvas_stride=model.canvas_stride,
        early_iterations=model.early_iterations,
        encoder_outputs=signatures.encoder_outputs(model),
        iterations=model.iterations,
        state=model.state_channels,
        initial_state={name: tuple(value.numpy().tolist()) for name, value in initial.items()},
        **options,
    )
    path = folder / name
    path.write_bytes(info.append_to(path.read_bytes()))
    return path
