"""Segments image files: class map, overlay and a strip of all iterations."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image
from tqdm import tqdm

from rnnseg import visualize
from rnnseg.budgets.budget import Budget
from rnnseg.data.images import read_image
from rnnseg.errors import UserError
from rnnseg.files import atomic_path
from rnnseg.inference.predictor import Predictor


@dataclasses.dataclass(frozen=True)
class _Outputs:
    class_map: pathlib.Path
    overlay: pathlib.Path
    strip: pathlib.Path | None

    @property
    def all(self) -> list[pathlib.Path]:
        return [path for path in (self.class_map, self.overlay, self.strip) if path is not None]


@dataclasses.dataclass(frozen=True)
class Segmented:
    """What came of image files.

    Attributes:
      files: that were written.
      iterations: one number per image.
    """

    files: tuple[pathlib.Path, ...]
    iterations: tuple[int, ...]


def segment_files(
    predictor: Predictor,
    files: Sequence[pathlib.Path],
    out: str | os.PathLike,
    budget: Budget | None = None,
    every_iteration: bool = False,
    overwrite: bool = False,
    stop_when_settled: bool = False,
) -> Segmented:
    """Segments images and writes `NAME_classes.png`, `NAME_overlay.png`, `NAME_iterations.png`.

    Args:
      predictor: segments the images.
      files: of images.
      out: folder to write to.
      budget: for each image; None: as many iterations as in training.
      every_iteration: whether the strip of all iterations is written too.
      overwrite: whether files that are there already are written anew.
      stop_when_settled: whether iterations are spared where they would change next to nothing; not
        along with `every_iteration`.

    Returns:
      What was written.

    Raises:
      UserError: two images of one name, an output that is there already, or milliseconds without
        a profile: before anything is written. Images that are unreadable, too small, or too large
        for the budget: after all others are written.
    """
    planned = _plan(files, pathlib.Path(out), every_iteration, overwrite)
    model = predictor.model
    colors = model.colors
    names = model.names
    predictor.check(budget)
    if stop_when_settled:
        model.check_can_stop()
    written, numbers, failures = [], [], {}
    for file, outputs in tqdm(planned.items(), desc="segment", unit="image", disable=None):
        try:
            image, iterations = _open(file, predictor, budget)
        except UserError as error:
            failures[file.name] = str(error)
            continue
        if outputs.strip is None:
            class_map = predictor(
                image, Budget(iterations=iterations), stop_when_settled=stop_when_settled
            )
        else:
            maps = list(predictor.every_iteration(image, iterations))
            class_map = maps[-1]
            titles = iteration_titles(predictor, image.shape[:2], iterations)
            visualize.save_strip(outputs.strip, image, maps, colors, names, titles)
        visualize.save_class_map(outputs.class_map, class_map, colors)
        with atomic_path(outputs.overlay) as path:
            Image.fromarray(visualize.overlay(image, class_map, colors)).save(path)
        written += outputs.all
        numbers.append(iterations)
    if failures:
        # The reason is often the same for all.
        first, *others = failures
        some = f"{len(failures)} of {len(planned)} images left out, the others are in {out}: "
        raise UserError(
            (some if written else "")
            + failures[first]
            + (f"; nor could be segmented: {', '.join(others)}" if others else "")
        )
    return Segmented(tuple(written), tuple(numbers))


def iteration_titles(predictor: Predictor, size: tuple[int, int], iterations: int) -> list[str]:
    """What stands over the map of each iteration: its number and what it has cost so far.

    Args:
      predictor: of the model.
      size: the image's (height, width), in pixels.
      iterations: how many.
    """
    costs = predictor.costs(*size)
    return [f"n = {n}\n{costs.total(n) / 1e9:.2f} G" for n in range(1, iterations + 1)]


def _open(file, predictor, budget) -> tuple[np.ndarray, int]:
    """An image and how many iterations it gets."""
    image = read_image(file)
    try:
        predictor.model.check_image(*image.shape[:2])
        return image, predictor.iterations(budget, *image.shape[:2])
    except UserError as error:
        raise UserError(f"{file}: {error}") from error


def _plan(files, out, every_iteration, overwrite) -> dict[pathlib.Path, _Outputs]:
    planned, owners = {}, {}
    for file in files:
        if file.stem in owners:
            raise UserError(
                f"{owners[file.stem]} and {file} have one name and would write the same "
                "files: segment them to different folders"
            )
        owners[file.stem] = file
        planned[file] = _Outputs(
            out / f"{file.stem}_classes.png",
            out / f"{file.stem}_overlay.png",
            out / f"{file.stem}_iterations.png" if every_iteration else None,
        )
    inputs = {file.resolve() for file in files}
    for path in (path for outputs in planned.values() for path in outputs.all):
        if path.resolve() in inputs:
            raise UserError(f"{path} is one of the images: choose another --out")
    there = [path for outputs in planned.values() for path in outputs.all if path.exists()]
    if there and not overwrite:
        raise UserError(
            f"{there[0]} is there already: choose another --out, or write it anew by --overwrite"
        )
    return planned
