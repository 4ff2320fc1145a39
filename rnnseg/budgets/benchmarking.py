"""Measures the latency of a model, or of a LiteRT file, on this machine."""

import functools
import importlib.metadata
import math
import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from rnnseg.budgets import timing
from rnnseg.budgets.budget import MOST_OF_TRAINED, Budget
from rnnseg.budgets.memory import check_memory
from rnnseg.budgets.profiles import Machine, Profile, SizeProfile
from rnnseg.models.base import SegmentationModel
from rnnseg.runtime.file_model import FileModel

_Times = tuple[Mapping[str, float], Mapping[int, float]]


def measure(
    model: SegmentationModel, origin: str, sizes: Sequence[tuple[int, int]], repeats: int = 11
) -> Profile:
    """Measures the latency of a model, one image at a time.

    The stages and whole predictions, from RGB values to the class map, take turns in every round,
    so that other load on the machine affects all of them alike. The medians are kept.

    Args:
      model: the model.
      origin: the place of the model, a `.keras` file or the folder of a run.
      sizes: the sizes of the images, (height, width) in pixels.
      repeats: the number of rounds, after one round to warm up.

    Raises:
      UserError: a size with a side below one output stride, or one that needs more memory than the
        machine has.
    """
    for size in sizes:
        model.check_image(*size)
        check_memory(
            model,
            size,
            "benchmark a smaller --size (rnnseg segment computes large images in tiles)",
        )

    def measure_size(image, on_round):
        parts, predictions = _stages(model, image), _predictions(model, image)
        functions = [_finishing(each) for each in (*parts.values(), *predictions.values())]
        times = [1000 * each for each in timing.take_turns(functions, repeats, on_round)]
        stages = dict(zip(parts, times[: len(parts)], strict=True))
        stages["refine"] /= model.iterations
        return stages, dict(zip(predictions, times[-len(predictions) :], strict=True))

    return Profile(
        origin,
        Machine.this(),
        tf.__version__,
        model.count_params(),
        _measure_sizes(model, sizes, repeats + 1, measure_size),
        model.first_iterations,
    )


def measure_file(model: FileModel, sizes: Sequence[tuple[int, int]], repeats: int = 11) -> Profile:
    """Measures predictions of a LiteRT file, from RGB values to the class map, likewise.

    Images are letterboxed for a file of one size, which counts.

    Args:
      model: the file.
      sizes: as in `measure`.
      repeats: as in `measure`.

    Raises:
      UserError: a size that is too small for the file.
    """

    def measure_size(image, on_round):
        numbers = _numbers(model)
        functions = [functools.partial(model.predict, image, number) for number in numbers]
        times = [1000 * each for each in timing.take_turns(functions, repeats, on_round)]
        rounds = []
        for _ in range(repeats):
            rounds.append(model.stage_milliseconds(image))
            on_round()
        stages = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
        return stages, dict(zip(numbers, times, strict=True))

    return Profile(
        model.loaded_from,
        Machine.this(),
        importlib.metadata.version("ai-edge-litert"),
        model.count_params(),
        _measure_sizes(model, sizes, 2 * repeats + 1, measure_size),
        model.first_iterations,
        library="LiteRT",
    )


def _measure_sizes(
    model: SegmentationModel | FileModel,
    sizes: Sequence[tuple[int, int]],
    rounds: int,
    measure_size: Callable[[np.ndarray, Callable], _Times],
) -> tuple[SizeProfile, ...]:
    """Measures a random image of each size once, by rising number of pixels.

    Args:
      model: the model or the file.
      sizes: the (height, width) of the images.
      rounds: the number of rounds for each size.
      measure_size: returns the milliseconds of the stages and of predictions of an image; calls a
        function after every round.
    """
    for size in sizes:
        model.check_image(*size)
    sizes = sorted(set(sizes), key=math.prod)
    profiles = []
    with tqdm(total=len(sizes) * rounds, desc="benchmark", unit="round", disable=None) as bar:
        for height, width in sizes:
            image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
            profiles.append(SizeProfile(height, width, *measure_size(image, bar.update)))
    return tuple(profiles)


def _stages(model: SegmentationModel, image: np.ndarray) -> dict[str, Callable]:
    """Returns a call for each stage; `refine` runs as many iterations as in training."""
    stages = model.compiled_stages
    features = stages.encode(image[np.newaxis])
    prepared = stages.prepare(features)
    # Typical iterations: several in one call, and not the first, which may have less to do.
    trained = tf.constant(model.iterations)
    canvas, state = stages.refine(prepared, trained)
    return {
        "encode": lambda: stages.encode(image[np.newaxis]),
        "prepare": lambda: stages.prepare(features),
        "refine": lambda: stages.refine(prepared, trained, canvas, state),
        "read": lambda: stages.read(canvas, image.shape[:2]).numpy(),
    }


def _finishing(function: Callable) -> Callable:
    """Returns the function with a wait for its work, which a GPU may still be doing."""

    def finish():
        function()
        tf.test.experimental.sync_devices()

    return finish


def _predictions(model: SegmentationModel, image: np.ndarray) -> dict[int, Callable]:
    """Returns predictions by number of iterations."""
    return {
        number: functools.partial(model.predict_classes, image, Budget(iterations=number))
        for number in _numbers(model)
    }


def _numbers(model: SegmentationModel | FileModel) -> list[int]:
    """Returns numbers of iterations over the range that a budget chooses from.

    At least one number needs each stage of the encoder and no further one, and two need the last.
    """
    trained = model.iterations
    numbers = {1, 2, trained, MOST_OF_TRAINED * trained} if model.recurrent else {1}
    return sorted(numbers | {before + 1 for before in model.first_iterations})
