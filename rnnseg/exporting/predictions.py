"""What a model and the files made of it say of images."""

import json
import os
import pathlib
import tempfile
from collections.abc import Callable, Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from rnnseg.exporting import processes
from rnnseg.exporting.fitting import FittedImage
from rnnseg.exporting.parity import Prediction, Predictions
from rnnseg.runtime import reading
from rnnseg.runtime.interpreters import Stages
from rnnseg.runtime.model_info import ModelInfo

_NUMBERS = (1, 2, 6, 12)


def numbers(recurrent: bool) -> tuple[int, ...]:
    """The numbers of iterations that are looked at: few, as trained, and beyond."""
    return _NUMBERS if recurrent else _NUMBERS[:1]


def of_model(model) -> Callable[[np.ndarray], Predictions]:
    """Returns a function from an image, uint8 `(H, W, 3)`, to the model's own predictions."""
    stages = model.compiled_stages

    def predict(image):
        asked = numbers(model.recurrent)
        canvases = stages.unroll(image[np.newaxis], asked[-1]).numpy()[:, 0]
        return {
            number: Prediction(
                reading.read_sparsely(canvases[number - 1], image.shape[:2], model.output_stride),
                canvases[number - 1],
            )
            for number in asked
        }

    return predict


def of_file(path: str | os.PathLike) -> Callable[[np.ndarray], Predictions]:
    """What a LiteRT file says of an image, uint8 `(H, W, 3)`, by its own signatures."""
    info = ModelInfo.load(path)
    predict = _whole(path, info) if info.kind == "segment" else _step_by_step(path, info)
    return lambda image: dict(predict(image[np.newaxis]))


def _whole(path, info: ModelInfo):
    """Predictions by `segment`, of images `(1, H, W, 3)`."""
    segment = Interpreter(str(path), num_threads=os.cpu_count()).get_signature_runner("segment")

    def predict(image):
        for number in numbers(info.recurrent):
            iterations = {"iterations": np.int32(number)} if info.recurrent else {}
            result = segment(image=image, **iterations)
            yield number, Prediction(result["classes"][0], result["canvas"][0])

    return predict


def _step_by_step(path, info: ModelInfo):
    """Predictions by `encode`, `refine` and `read`, of images `(1, H, W, 3)`."""
    stages = Stages(str(path), info, os.cpu_count())

    def canvases(image):
        encoded = stages.encode(image)
        if not info.recurrent:
            yield encoded["canvas"]
            return
        variables = stages.start(encoded)
        while True:
            variables = stages.refine(encoded, variables)
            yield variables["canvas"]

    def predict(image):
        asked = numbers(info.recurrent)
        for number, canvas in zip(range(1, asked[-1] + 1), canvases(image), strict=False):
            if number in asked:
                yield number, Prediction(stages.read(canvas, image.shape[1:3]), canvas[0])

    return predict


def of_saved_model(
    folder: str | os.PathLike, images: Sequence[FittedImage], info: ModelInfo
) -> dict[str, list[Predictions]]:
    """What a SavedModel says of images where it is served without rnnseg.

    Args:
      folder: of the SavedModel.
      images: to segment.
      info: of the model.

    Returns:
      The predictions of all images by `segment`, and those by `encode`, `refine` and `read`.

    Raises:
      rnnseg.exporting.processes.ProcessError: it cannot be served.
    """
    asked = numbers(info.recurrent)
    with tempfile.TemporaryDirectory() as exchange:
        exchange = pathlib.Path(exchange)
        (exchange / "start.json").write_text(json.dumps(info.initial))
        for index, image in enumerate(images):
            np.save(exchange / f"{index:06d}.npy", image.image[np.newaxis])
        processes.run("serve", folder, exchange, ",".join(map(str, asked)))
        whole, steps = [], []
        for path in sorted(exchange.glob("*.npz")):
            with np.load(path) as results:
                whole.append({n: Prediction(results[f"segment_{n}"], None) for n in asked})
                steps.append(
                    {n: Prediction(results[f"read_{n}"], results[f"canvas_{n}"]) for n in asked}
                )
    return {"segment": whole, "encode, refine, read": steps}
