"""Segments picture files: class map, overlay and a strip of all iterations."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from PIL import Image
from tqdm import tqdm

from rnnseg import budgets, visualize
from rnnseg.errors import UserError
from rnnseg.files import atomic_path
from rnnseg.loading import read_picture
from rnnseg.palette import default_colors


@dataclasses.dataclass(frozen=True)
class _Outputs:
    class_map: pathlib.Path
    overlay: pathlib.Path
    strip: pathlib.Path | None

    @property
    def all(self) -> list[pathlib.Path]:
        return [path for path in (self.class_map, self.overlay, self.strip) if path is not None]


class PictureSegmenter:
    """Gives the class maps of single pictures; one trace serves all sizes and iterations.

    Args:
      model: a `RecurrentSegmenter`.
    """

    def __init__(self, model):
        options = dict(
            input_signature=[tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((), tf.int32)],
            autograph=False,
        )
        self._every_canvas = tf.function(
            lambda image, iterations: model.trace(image[tf.newaxis], iterations), **options
        )
        self._last_canvas = tf.function(
            lambda image, iterations: model.refine(
                model.prepare(model.encode(image[tf.newaxis])), iterations
            )[0],
            **options,
        )
        self._read = tf.function(
            lambda canvas, size: model.read(canvas, size)[0], reduce_retracing=True, autograph=False
        )

    def __call__(self, image: np.ndarray, iterations: int) -> np.ndarray:
        """The class map, int32 `(h, w)`, of a uint8 RGB picture `(h, w, 3)`."""
        canvas = self._last_canvas(image, tf.constant(iterations))
        return self._read(canvas, tf.constant(image.shape[:2])).numpy()

    def every_iteration(self, image: np.ndarray, iterations: int) -> Iterator[np.ndarray]:
        """The class map after each iteration, from the first, one at a time."""
        for canvas in self._every_canvas(image, tf.constant(iterations)):
            yield self._read(canvas, tf.constant(image.shape[:2])).numpy()


def segment_files(
    model,
    pictures: Sequence[pathlib.Path],
    out: str | os.PathLike,
    iterations: int,
    every_iteration: bool = False,
    overwrite: bool = False,
) -> list[pathlib.Path]:
    """Segments pictures and writes `NAME_classes.png`, `NAME_overlay.png`, `NAME_iterations.png`.

    Args:
      model: a `RecurrentSegmenter`.
      pictures: picture files.
      out: folder to write to.
      iterations: how many iterations.
      every_iteration: whether the strip of all iterations is written too.
      overwrite: whether files that are there already are written anew.

    Returns:
      The files written.

    Raises:
      UserError: two pictures of one name, or an output that is there already: before anything is
        written. Unreadable or too small pictures: after all others are written.
    """
    if iterations < 1:
        raise UserError(f"iterations {iterations}: expected at least 1")
    planned = _plan(pictures, pathlib.Path(out), every_iteration, overwrite)
    colors = model.class_colors or default_colors(model.num_classes)
    names = model.class_names or [f"class {index}" for index in range(model.num_classes)]
    segmenter = PictureSegmenter(model)
    titles = functools.cache(lambda size: iteration_titles(model, size, iterations))
    written, failures = [], []
    for picture, outputs in tqdm(planned.items(), desc="segment", unit="picture", disable=None):
        try:
            image = _read_checked(picture, model.output_stride)
        except UserError as error:
            failures.append(str(error))
            continue
        if outputs.strip is None:
            class_map = segmenter(image, iterations)
        else:
            maps = list(segmenter.every_iteration(image, iterations))
            class_map = maps[-1]
            visualize.save_strip(outputs.strip, image, maps, colors, names, titles(image.shape[:2]))
        visualize.save_class_map(outputs.class_map, class_map, colors)
        with atomic_path(outputs.overlay) as path:
            Image.fromarray(visualize.overlay(image, class_map, colors)).save(path)
        written += outputs.all
    if failures:
        raise UserError(
            f"{len(failures)} of {len(planned)} pictures left out, the others are in {out}: "
            + "; ".join(failures)
        )
    return written


def iteration_titles(model, size: tuple[int, int], iterations: int) -> list[str]:
    """What stands over the map of each iteration: its number and what it has cost so far.

    Args:
      model: a `RecurrentSegmenter`.
      size: the picture's (height, width), in pixels.
      iterations: how many.
    """
    costs = budgets.stage_costs(model, *size)
    return [f"n = {n}\n{costs.total(n) / 1e9:.2f} G" for n in range(1, iterations + 1)]


def _read_checked(picture, output_stride) -> np.ndarray:
    image = read_picture(picture)
    if min(image.shape[:2]) < output_stride:
        raise UserError(
            f"{picture} has {image.shape[1]}x{image.shape[0]} pixels; expected at least "
            f"{output_stride} (one output stride) a side"
        )
    return image


def _plan(pictures, out, every_iteration, overwrite) -> dict[pathlib.Path, _Outputs]:
    planned, owners = {}, {}
    for picture in pictures:
        if picture.stem in owners:
            raise UserError(
                f"{owners[picture.stem]} and {picture} have one name and would write the same "
                "files: segment them to different folders"
            )
        owners[picture.stem] = picture
        planned[picture] = _Outputs(
            out / f"{picture.stem}_classes.png",
            out / f"{picture.stem}_overlay.png",
            out / f"{picture.stem}_iterations.png" if every_iteration else None,
        )
    inputs = {picture.resolve() for picture in pictures}
    for path in (path for outputs in planned.values() for path in outputs.all):
        if path.resolve() in inputs:
            raise UserError(f"{path} is one of the pictures: choose another --out")
    there = [path for outputs in planned.values() for path in outputs.all if path.exists()]
    if there and not overwrite:
        raise UserError(
            f"{there[0]} is there already: choose another --out, or write it anew by --overwrite"
        )
    return planned
