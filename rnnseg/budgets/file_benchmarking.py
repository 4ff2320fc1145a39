"""Measures the latency of a LiteRT file on this machine."""

import functools
import importlib.metadata
import math
import statistics
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from rnnseg.budgets import timing
from rnnseg.budgets.budget import MOST_OF_TRAINED
from rnnseg.budgets.profiles import Machine, Profile, SizeProfile
from rnnseg.runtime.file_model import FileModel


def measure_file(model: FileModel, sizes: Sequence[tuple[int, int]], repeats: int = 11) -> Profile:
    """Measures predictions, from RGB values to the class map, one image at a time.

    Images are letterboxed for a file of one size, which counts. The medians are kept.

    Args:
      model: the file.
      sizes: the sizes of the images, (height, width) in pixels.
      repeats: the number of rounds, after one round to warm up.

    Raises:
      UserError: a size that is too small for the file.
    """
    for size in sizes:
        model.check_image(*size)
    sizes = sorted(set(sizes), key=math.prod)
    profiles = []
    total = len(sizes) * (2 * repeats + 1)
    with tqdm(total=total, desc="benchmark", unit="round", disable=None) as bar:
        for height, width in sizes:
            image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
            numbers = _numbers(model)
            functions = [functools.partial(model.predict, image, number) for number in numbers]
            times = [1000 * each for each in timing.take_turns(functions, repeats, bar.update)]
            rounds = []
            for _ in range(repeats):
                rounds.append(model.stage_milliseconds(image))
                bar.update()
            stages = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
            predictions = dict(zip(numbers, times, strict=True))
            profiles.append(SizeProfile(height, width, stages, predictions))
    return Profile(
        model.loaded_from,
        Machine.this(),
        importlib.metadata.version("ai-edge-litert"),
        model.count_params(),
        tuple(profiles),
        model.first_iterations,
        library="LiteRT",
    )


def _numbers(model: FileModel) -> list[int]:
    """Returns numbers of iterations over the range that a budget chooses from."""
    trained = model.iterations
    numbers = {1, 2, trained, MOST_OF_TRAINED * trained} if model.recurrent else {1}
    return sorted(numbers | {before + 1 for before in model.first_iterations})
