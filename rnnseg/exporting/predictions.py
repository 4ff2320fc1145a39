"""The predictions of a model, and of the files made from it."""

import functools
import json
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from rnnseg.budgets import timing
from rnnseg.exporting import parity, processes
from rnnseg.exporting.examples import LetterboxedExample
from rnnseg.runtime.file_model import FileModel
from rnnseg.runtime.interpreters import LiteRTStages
from rnnseg.runtime.model_info import ModelInfo
from rnnseg.stages import Prediction, Stages

_NUMBERS = (1, 2, 6, 12)
# The rounds of timing, after one round to warm up.
_REPEATS = 5

_Predict = Callable[[np.ndarray], parity.Predictions]


def numbers(recurrent: bool) -> tuple[int, ...]:
    """Returns the numbers of iterations to compare: few, as in training by default, and more."""
    return _NUMBERS if recurrent else _NUMBERS[:1]


def of_stages(stages: Stages) -> _Predict:
    """Returns a function from an image, uint8 `(H, W, 3)`, to its predictions, stage by stage.

    Args:
      stages: the stages of a model or of a LiteRT file.
    """

    def predict(image) -> Iterator[tuple[int, parity.Prediction]]:
        prediction = Prediction(stages, image[np.newaxis])
        for number in numbers(stages.recurrent):
            canvas = prediction.run_to(number)
            classes = stages.read(canvas, image.shape[:2])
            yield number, parity.Prediction(np.asarray(classes)[0], np.asarray(canvas)[0])

    return lambda image: dict(predict(image))


def of_file(path: str | os.PathLike) -> _Predict:
    """Returns a function from an image, uint8 `(H, W, 3)`, to the predictions of a file.

    All of them are computed by the file's own signatures.

    Args:
      path: a LiteRT or ONNX file.
    """
    if pathlib.Path(path).suffix == ".onnx":
        return _of_onnx(path)
    info = ModelInfo.load(path)
    if info.kind == "anytime":
        return of_stages(LiteRTStages(path, info, os.cpu_count() or 1))
    segment = Interpreter(str(path), num_threads=os.cpu_count()).get_signature_runner("segment")

    def predict(image) -> Iterator[tuple[int, parity.Prediction]]:
        for number in numbers(info.recurrent):
            iterations = {"iterations": np.int32(number)} if info.recurrent else {}
            result = segment(image=image[np.newaxis], **iterations)
            yield number, parity.Prediction(result["classes"][0], result["canvas"][0])

    return lambda image: dict(predict(image))


def milliseconds(path: str | os.PathLike, image: np.ndarray) -> float:
    """Returns the median time of a prediction with as many iterations as in training.

    Args:
      path: a LiteRT or ONNX file.
      image: uint8 `(H, W, 3)`, of the size of the file.
    """
    if pathlib.Path(path).suffix == ".onnx":
        session = _onnx_session(path)
        predict = functools.partial(session.run, ["classes"], {"image": image[np.newaxis]})
    else:
        predict = functools.partial(FileModel(path).predict, image)
    (seconds,) = timing.take_turns([predict], _REPEATS)
    return 1000 * seconds


def _onnx_session(path: str | os.PathLike):
    # An optional package.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # It warns of inputs with a default, since they cannot be folded into constants.
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _of_onnx(path: str | os.PathLike) -> _Predict:
    session = _onnx_session(path)
    recurrent = bool(session.get_overridable_initializers())

    def predict(image) -> Iterator[tuple[int, parity.Prediction]]:
        for number in numbers(recurrent):
            iterations = {"iterations": np.array(number, np.int32)} if recurrent else {}
            inputs = {"image": image[np.newaxis]} | iterations
            classes, canvas = session.run(["classes", "canvas"], inputs)
            yield number, parity.Prediction(classes[0], canvas[0])

    return lambda image: dict(predict(image))


def of_saved_model(
    folder: str | os.PathLike, images: Sequence[LetterboxedExample], info: ModelInfo
) -> dict[str, list[parity.Predictions]]:
    """Computes the predictions of a SavedModel in a process without rnnseg.

    Args:
      folder: the folder of the SavedModel.
      images: the images.
      info: the metadata of the model.

    Returns:
      For all images, the predictions by `segment`, and those by `encode`, `refine` and `read`.

    Raises:
      rnnseg.exporting.processes.ProcessError: the SavedModel cannot be served.
    """
    asked = numbers(info.recurrent)
    with tempfile.TemporaryDirectory() as name:
        exchange = pathlib.Path(name)
        (exchange / "initial_state.json").write_text(json.dumps(info.initial_values))
        for index, image in enumerate(images):
            np.save(exchange / f"{index:06d}.npy", image.image[np.newaxis])
        lists = (",".join(map(str, each)) for each in (asked, info.early_iterations))
        processes.run("serve", folder, exchange, *lists)
        whole: list[parity.Predictions] = []
        steps: list[parity.Predictions] = []
        for path in sorted(exchange.glob("*.npz")):
            with np.load(path) as results:
                whole.append({n: parity.Prediction(results[f"segment_{n}"], None) for n in asked})
                read = {n: (results[f"read_{n}"], results[f"canvas_{n}"]) for n in asked}
                steps.append({n: parity.Prediction(*each) for n, each in read.items()})
    return {"segment": whole, "encode, refine, read": steps}
