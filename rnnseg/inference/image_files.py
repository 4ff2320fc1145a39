"""Segments image files into class maps, overlays and strips of all iterations."""

import dataclasses
import math
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from tqdm import tqdm

from rnnseg import visualize
from rnnseg._renamed import renamed_arguments
from rnnseg.budgets.budget import Budget
from rnnseg.data.images import read_image
from rnnseg.errors import UserError
from rnnseg.inference.predictor import Predictor, Setting
from rnnseg.temporaries import remove_left_behind

# Classes are named if their share is at least 1 %, rounded.
_LEAST_SHARE = 0.005

# The side of the corner of an image that is segmented before the first one is timed, in pixels.
_CORNER = 256

# Images of a strip are drawn from at least so many pixels of the longer side, if there are as many;
# a panel has less than half of that.
_STRIP_SIDE = 1000


@dataclasses.dataclass(frozen=True)
class _Outputs:
    """The files to write for one image, and one of an earlier call to remove."""

    class_map: pathlib.Path
    overlay: pathlib.Path
    strip: pathlib.Path | None
    stale: pathlib.Path | None

    @property
    def all(self) -> list[pathlib.Path]:
        return [path for path in (self.class_map, self.overlay, self.strip) if path is not None]


@dataclasses.dataclass(frozen=True)
class SegmentedImage:
    """What was found in one image.

    Attributes:
      file: the image file.
      shares: the share, 0-1, of the pixels of every class that was found, by name, falling.
      milliseconds: the time from the pixels to the class map; with a strip of all iterations, to
        all class maps.
    """

    file: pathlib.Path
    shares: Mapping[str, float]
    milliseconds: float

    def __str__(self) -> str:
        large = [
            f"{name} {visualize.percent(share)}"
            for name, share in self.shares.items()
            if share >= _LEAST_SHARE
        ]
        rest = len(self.shares) - len(large)
        if rest:
            large.append(f"{rest} more below 1 %")
        return f"{self.file.name}: {', '.join(large)}; {self.milliseconds:.1f} ms"


@dataclasses.dataclass(frozen=True)
class Segmented:
    """The result of segmenting image files.

    Attributes:
      files: the files that were written.
      settings: the number of iterations and the scale of each image.
    """

    files: tuple[pathlib.Path, ...]
    settings: tuple[Setting, ...]

    @property
    def iterations(self) -> tuple[int, ...]:
        """The number of iterations of each image."""
        return tuple(each.iterations for each in self.settings)


@renamed_arguments(pictures="files")
def segment_files(
    predictor: Predictor,
    files: Sequence[pathlib.Path],
    out: str | os.PathLike,
    budget: Budget | None = None,
    every_iteration: bool = False,
    overwrite: bool = False,
    stop_when_settled: bool = False,
    on_image: Callable[[SegmentedImage], None] = lambda found: None,
) -> Segmented:
    """Segments images and writes `NAME_classes.png`, `NAME_overlay.png`, `NAME_iterations.png`.

    Args:
      predictor: the predictor with the model.
      files: the image files.
      out: the folder to write to.
      budget: the budget for each image; None: as many iterations as in training.
      every_iteration: True to write the strip of all iterations, `NAME_iterations.png`.
      overwrite: True to replace existing files, and to remove those of an earlier call that this
        one does not write, such as the strip of an image.
      stop_when_settled: True to stop where further iterations would hardly change the prediction.
        It has no effect with `every_iteration`.
      on_image: called with what was found in each image, as soon as its files are written.

    Raises:
      UserError: two images of the same name, an existing output, or milliseconds without a profile;
        then nothing is written. Or images that are unreadable, too small, or too large for the
        budget; then all other images are written first.
    """
    planned = _plan(files, pathlib.Path(out), every_iteration, overwrite)
    model = predictor.model
    colors = model.colors
    names = model.names
    predictor.check(budget)
    if stop_when_settled:
        model.check_can_stop()
    written, settings, failures = [], [], {}
    remove_left_behind(out)
    prepared = set()
    for file, outputs in tqdm(planned.items(), desc="segment", unit="image", disable=None):
        try:
            image, setting = _open(file, predictor, budget)
        except UserError as error:
            failures[file.name] = str(error)
            continue
        height, width = image.shape[:2]
        # Images in tiles go through other graphs than whole ones.
        kind = (setting, predictor.stays_whole(budget, height, width, setting.scale))
        if kind not in prepared:
            prepared.add(kind)
            if every_iteration:
                list(predictor.every_iteration(_corner(image, predictor, setting), *setting))
            else:
                predictor.warm_up(_corner(image, predictor, setting), *kind, stop_when_settled)
        start = time.perf_counter()
        if outputs.strip is None:
            # In bytes, as in the file: a quarter of the memory.
            class_map = predictor(
                image, budget, stop_when_settled=stop_when_settled, dtype=np.uint8
            )
        else:
            # Panels are small, and there are many: every few pixels are enough of a large image.
            thin = slice(None, None, max(1, max(image.shape[:2]) // _STRIP_SIDE))
            maps = []
            for class_map in predictor.every_iteration(image, *setting):
                maps.append(class_map[thin, thin].copy())
        milliseconds = 1000 * (time.perf_counter() - start)
        if outputs.strip is not None:
            titles = iteration_titles(predictor, image.shape[:2], *setting)
            visualize.save_strip(outputs.strip, image[thin, thin], maps, colors, names, titles)
        class_map = class_map.astype(np.uint8, copy=False)
        visualize.save_class_map(outputs.class_map, class_map, colors)
        visualize.save_overlay(outputs.overlay, image, class_map, colors, names)
        if outputs.stale is not None:
            outputs.stale.unlink(missing_ok=True)
        written += outputs.all
        settings.append(setting)
        shares = visualize.class_shares(class_map, len(names))
        with tqdm.external_write_mode():  # not into the progress bar
            on_image(
                SegmentedImage(
                    file, {names[label]: share for label, share in shares.items()}, milliseconds
                )
            )
    if failures:
        # All failures often have the same reason, so one message is enough.
        first, *others = failures
        message = failures[first]
        if written:
            count = f"{len(failures)} of {len(planned)} images were not segmented"
            message = f"{count}; the others are in {out}: {message}"
        if others:
            message += f"; not segmented either: {', '.join(others)}"
        raise UserError(message)
    return Segmented(tuple(written), tuple(settings))


def iteration_titles(
    predictor: Predictor, size: tuple[int, int], iterations: int, scale: float = 1.0
) -> list[str]:
    """Returns the title of each iteration's map: its number and, if known, the multiply-adds.

    Args:
      predictor: the predictor with the model.
      size: the (height, width) of the image, in pixels.
      iterations: the number of iterations.
      scale: the scale at which the image is segmented.
    """
    costs = predictor.costs(*size, scale)
    totals = {n: costs.total(n) for n in range(1, iterations + 1)}
    return [
        f"n = {n}" + ("" if total is None else f"\n{total / 1e9:.2f} G")
        for n, total in totals.items()
    ]


def _open(
    file: pathlib.Path, predictor: Predictor, budget: Budget | None
) -> tuple[np.ndarray, Setting]:
    """Returns an image, and the number of iterations and the scale for it."""
    image = read_image(file)
    try:
        predictor.model.check_image(*image.shape[:2])
        return image, predictor.setting(budget, *image.shape[:2])
    except UserError as error:
        raise UserError(f"{file}: {error}") from error


def _corner(image: np.ndarray, predictor: Predictor, setting: Setting) -> np.ndarray:
    """Returns a corner of an image that is large enough to be segmented."""
    side = max(_CORNER, math.ceil(2 * predictor.model.output_stride / setting.scale))
    return image[:side, :side]


def _plan(
    files: Sequence[pathlib.Path], out: pathlib.Path, every_iteration: bool, overwrite: bool
) -> dict[pathlib.Path, _Outputs]:
    """Returns the outputs of every file, after a check that they can be written."""
    planned: dict[pathlib.Path, _Outputs] = {}
    owners: dict[str, pathlib.Path] = {}
    inputs = set(map(os.path.realpath, files))  # unlike resolve, no error for a link to itself
    for file in files:
        if file.stem in owners:
            raise UserError(
                f"{owners[file.stem]} and {file} have the same name and would write the same "
                "files: segment them into different folders"
            )
        owners[file.stem] = file
        strip = out / f"{file.stem}_iterations.png"
        is_stale = overwrite and not every_iteration and os.path.realpath(strip) not in inputs
        planned[file] = _Outputs(
            out / f"{file.stem}_classes.png",
            out / f"{file.stem}_overlay.png",
            strip if every_iteration else None,
            strip if is_stale else None,
        )
    for path in (path for outputs in planned.values() for path in outputs.all):
        if os.path.realpath(path) in inputs:
            raise UserError(f"{path} is one of the images: choose another --out")
    there = [path for outputs in planned.values() for path in outputs.all if path.exists()]
    if there and not overwrite:
        raise UserError(
            f"{there[0]} exists already: choose another --out, or replace it by --overwrite"
        )
    return planned
