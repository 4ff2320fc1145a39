"""What a model and the files made of it say of pictures."""

import json
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from rnnseg import reading
from rnnseg.exporting import processes
from rnnseg.exporting.fitting import Picture
from rnnseg.exporting.parity import Prediction, Predictions
from rnnseg.model_info import ModelInfo

_NUMBERS = (1, 2, 6, 12)


def numbers(recurrent: bool) -> tuple[int, ...]:
    """The numbers of iterations that are looked at: few, as trained, and beyond."""
    return _NUMBERS if recurrent else _NUMBERS[:1]


def of_model(model) -> Callable[[np.ndarray], Predictions]:
    """What the model itself says of a picture, uint8 `(H, W, 3)`."""
    trace = tf.function(
        model.trace,
        input_signature=[
            tf.TensorSpec((1, None, None, 3), tf.uint8),
            tf.TensorSpec((), tf.int32),
        ],
        autograph=False,
    )

    def predict(image):
        asked = numbers(model.recurrent)
        canvases = trace(image[np.newaxis], asked[-1]).numpy()[:, 0]
        return {
            number: Prediction(
                reading.read_sparsely(canvases[number - 1], image.shape[:2], model.output_stride),
                canvases[number - 1],
            )
            for number in asked
        }

    return predict


def of_file(path: str | os.PathLike) -> Callable[[np.ndarray], Predictions]:
    """What a LiteRT file says of a picture, uint8 `(H, W, 3)`, by its own signatures."""
    info = ModelInfo.load(path)
    interpreter = Interpreter(str(path), num_threads=os.cpu_count())
    runners = {
        name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()
    }

    def segment(image):
        for number in numbers(info.recurrent):
            iterations = {"iterations": np.int32(number)} if info.recurrent else {}
            result = runners["segment"](image=image[np.newaxis], **iterations)
            yield number, Prediction(result["classes"][0], result["canvas"][0])

    def step_by_step(image):
        size = {} if info.size else {"size": np.int32(image.shape[:2])}
        encoded = runners["encode"](image=image[np.newaxis])
        for number, canvas in _canvases(encoded, runners.get("refine"), info):
            if number in numbers(info.recurrent):
                classes = runners["read"](canvas=canvas, **size)["classes"][0]
                yield number, Prediction(classes, canvas[0])

    predict = segment if info.kind == "segment" else step_by_step
    return lambda image: dict(predict(image))


def _canvases(encoded, refine, info: ModelInfo) -> Iterator[tuple[int, np.ndarray]]:
    """The canvas after every iteration, `(1, h, w, classes)`."""
    if not info.recurrent:
        yield 1, encoded["canvas"]
        return
    place = encoded["prepared"].shape[:3]
    variables = {
        name: np.broadcast_to(np.float32(values), (*place, len(values)))
        for name, values in _start(info).items()
    }
    for number in range(1, _NUMBERS[-1] + 1):
        variables = refine(**encoded, **variables)
        yield number, variables["canvas"]


def _start(info: ModelInfo) -> dict[str, Sequence[float]]:
    """The values that canvas and state start from, zeros as well; none for a feed-forward model."""
    if not info.recurrent:
        return {}
    zeros = {name: [0.0] * width for name, width in info.state.items()}
    return {"canvas": [0.0] * len(info.classes)} | zeros | dict(info.start)


def of_saved_model(
    folder: str | os.PathLike, pictures: Sequence[Picture], info: ModelInfo
) -> dict[str, list[Predictions]]:
    """What a SavedModel says of pictures where it is served without rnnseg.

    Args:
      folder: of the SavedModel.
      pictures: to segment.
      info: of the model.

    Returns:
      The predictions of all pictures by `segment`, and those by `encode`, `refine` and `read`.

    Raises:
      rnnseg.exporting.processes.ProcessError: it cannot be served.
    """
    asked = numbers(info.recurrent)
    with tempfile.TemporaryDirectory() as exchange:
        exchange = pathlib.Path(exchange)
        (exchange / "start.json").write_text(json.dumps(_start(info)))
        for index, picture in enumerate(pictures):
            np.save(exchange / f"{index:06d}.npy", picture.image[np.newaxis])
        processes.run("serve", folder, exchange, ",".join(map(str, asked)))
        whole, steps = [], []
        for path in sorted(exchange.glob("*.npz")):
            with np.load(path) as results:
                whole.append({n: Prediction(results[f"segment_{n}"], None) for n in asked})
                steps.append(
                    {n: Prediction(results[f"read_{n}"], results[f"canvas_{n}"]) for n in asked}
                )
    return {"segment": whole, "encode, refine, read": steps}
