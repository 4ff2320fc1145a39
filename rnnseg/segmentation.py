"""Segments picture files: class map, overlay and a strip of all iterations."""

import dataclasses
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
        self.model = model
        self._every_canvas = tf.function(
            lambda image, iterations: model.trace(image[tf.newaxis], iterations),
            input_signature=[tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((), tf.int32)],
        )
        self._last_canvas = tf.function(
            lambda image, iterations: model.refine(
                model.prepare(model.encode(image[tf.newaxis])), iterations
            )[0],
            input_signature=[tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((), tf.int32)],
        )
        self._read = tf.function(
            lambda canvas, size: model.read(canvas, size)[0], reduce_retracing=True
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
      UserError: two pictures of one name, an output that is there already, an unreadable or too
        small picture.
    """
    if iterations < 1:
        raise UserError(f"iterations {iterations}: expected at least 1")
    planned = _plan(pictures, pathlib.Path(out), every_iteration, overwrite)
    colors = model.class_colors or default_colors(model.num_classes)
    names = model.class_names or [f"class {index}" for index in range(model.num_classes)]
    segmenter = PictureSegmenter(model)
    written = []
    for picture, outputs in tqdm(planned.items(), desc="segment", unit="picture"):
        image = read_picture(picture)
        if min(image.shape[:2]) < model.output_stride:
            raise UserError(
                f"{picture} has {image.shape[1]}x{image.shape[0]} pixels; expected at least "
                f"{model.output_stride} (one output stride) a side"
            )
        if outputs.strip is None:
            class_map = segmenter(image, iterations)
        else:
            maps = list(segmenter.every_iteration(image, iterations))
            class_map = maps[-1]
            visualize.save_strip(
                outputs.strip,
                image,
                maps,
                colors,
                names,
                iteration_titles(model, image, iterations),
            )
        visualize.save_class_map(outputs.class_map, class_map, colors)
        with atomic_path(outputs.overlay) as path:
            Image.fromarray(visualize.overlay(image, class_map, colors)).save(path)
        written += outputs.all
    return written


def iteration_titles(model, image: np.ndarray, iterations: int) -> list[str]:
    """What stands under the map of each iteration: its number and what it has cost so far."""
    costs = budgets.stage_costs(model, *image.shape[:2])
    return [f"n = {n}\n{costs.total(n) / 1e9:.2f} G" for n in range(1, iterations + 1)]


def _plan(pictures, out, every_iteration, overwrite) -> dict[pathlib.Path, _Outputs]:
    planned, owners = {}, {}
    for picture in pictures:
        if picture.stem in owners:
            raise UserError(
                f"{owners[picture.stem]} and {picture} have one name and would write the same "
                "files: "
                "segment them to different folders"
            )
        owners[picture.stem] = picture
        planned[picture] = _Outputs(
            out / f"{picture.stem}_classes.png",
            out / f"{picture.stem}_overlay.png",
            out / f"{picture.stem}_iterations.png" if every_iteration else None,
        )
    there = [path for outputs in planned.values() for path in outputs.all if path.exists()]
    if there and not overwrite:
        raise UserError(
            f"{there[0]} is there already: choose another --out, or write it anew by --overwrite"
        )
    return planned
