"""Time and accuracy of adaptive stopping, beside fixed numbers of iterations.

    python -m experiments.adaptive runs/camvid --data data/camvid --iterations 12

Compares fixed numbers of iterations, images that stop as a whole and canvas pixels that stop one by
one, the last two at several thresholds. All take turns on every image. Prints for each

- the mean number of iterations per canvas pixel;
- milliseconds of refining and of the whole prediction, the medians over the images;
- the mIoU of all classes, and of the classes that occur in the split (a class that does not occur
  counts as zero as soon as it is predicted);
- the share of the image pixels that have the same class as after all iterations.

With `--map`, writes an image, its class map and the number of iterations of its canvas pixels.
"""

import dataclasses
import functools
import time
from collections.abc import Callable

import click
import numpy as np
import tensorflow as tf
from PIL import Image

from rnnseg import files, visualize
from rnnseg.cli.base import Command
from rnnseg.evaluation import metrics
from rnnseg.models import adaptive

from . import options, runs
from .tables import markdown_table


@dataclasses.dataclass
class Row:
    """The measurements of one way to refine, over all images.

    Attributes:
      name: the name that is printed.
      confusion: the confusion matrix; row: true class, column: predicted class.
      iterations: the mean number over the canvas pixels, for each image.
      refine: the seconds of refining, for each image.
      whole: the seconds from the image to its class map, for each image.
      equal: the share of the pixels that have the same class as after the largest fixed number of
        iterations, for each image.
    """

    name: str
    confusion: np.ndarray | int = 0
    iterations: list[float] = dataclasses.field(default_factory=list)
    refine: list[float] = dataclasses.field(default_factory=list)
    whole: list[float] = dataclasses.field(default_factory=list)
    equal: list[float] = dataclasses.field(default_factory=list)


@click.command(cls=Command)
@options.model_and_data
@options.iterations(12, "The largest number of iterations.")
@click.option("--threshold", "thresholds", type=float, multiple=True, show_default=True,
              default=(0, 0.25, 0.5, 1, 2),
              help="Threshold of canvas pixels; may be repeated.")  # fmt: skip
@click.option("--image-threshold", "image_thresholds", type=float, multiple=True,
              show_default=True, default=(0.15, 0.25, 0.35),
              help="Threshold of images; may be repeated.")  # fmt: skip
@click.option("--map", "map_file", type=click.Path(), help="PNG file: a map of the iterations.")
@click.option("--image", "number", type=click.IntRange(min=0), default=0, show_default=True,
              help="Number of the image for --map in the split, from 0.")  # fmt: skip
def main(model, data, split, iterations, thresholds, image_thresholds, map_file, number):
    """Print iterations, time and mIoU of fixed numbers of iterations and of adaptive stopping."""
    tf.get_logger().setLevel("ERROR")  # it warns of many traces; every threshold needs one
    segmenter = runs.load_recurrent_model(model)
    source = runs.open_split(data, split, segmenter)
    if map_file:
        files.check_writable(map_file, ".png")
        (example,) = runs.choose_examples(source, split, [number])
    print(table(measure(segmenter, source, split, iterations, thresholds, image_thresholds)))
    if map_file:
        save_map(map_file, segmenter, example.image, iterations)
        print(f"wrote {map_file}")


def measure(model, source, split, iterations, thresholds, image_thresholds) -> list[Row]:
    """Segments all images of a split in every way.

    Args:
      model: a `RecurrentSegmenter`; canvas pixels can stop if its kernels are of 1.
      source: the data.
      split: the split.
      iterations: the largest number of iterations.
      thresholds: the thresholds of `adaptive.refine_pixels`.
      image_thresholds: the thresholds of `adaptive.refine_images`.

    Returns:
      One row per fixed number of iterations, from 1, and one per threshold.
    """
    stages = model.compiled_stages
    ways = _ways(model, iterations, thresholds, image_thresholds)
    rows = {name: Row(name) for name in ways}

    def prepare(image):
        return stages.prepare(stages.encode(image[np.newaxis]))

    for index, example in enumerate(runs.read_examples(source, split)):
        size = example.label.shape
        if index == 0:  # traces, so that the time of no image contains the compilation
            for way in ways.values():
                stages.read(way(prepare(example.image))[0], size)
        prepared, encoding = _timed(prepare, example.image)
        maps = {}
        for name, way in ways.items():
            (canvas, spent), refining = _timed(way, prepared)
            class_map, reading = _timed(stages.read, canvas, size)
            class_map = maps[name] = class_map[0].numpy()
            row = rows[name]
            row.confusion = row.confusion + metrics.confusion_matrix(
                example.label, class_map, source.num_classes
            )
            row.iterations.append(float(np.mean(spent)))
            row.refine.append(refining)
            row.whole.append(encoding + refining + reading)
        for name, class_map in maps.items():
            rows[name].equal.append(np.mean(class_map == maps[f"fixed {iterations}"]))
    return list(rows.values())


def _ways(model, iterations, thresholds, image_thresholds) -> dict[str, Callable]:
    """Returns functions from the output of `prepare` to canvas and iterations spent, by name."""

    def fixed(prepared, number):
        return model.compiled_stages.refine(prepared, number)[0], number

    def stopping(refine, threshold):
        prepared = tf.TensorSpec((1, None, None, 4 * model.stack.widths[0]), model.compute_dtype)
        return tf.function(
            lambda prepared: refine(model, prepared, tf.constant(iterations), threshold),
            input_signature=[prepared],
            autograph=False,
        )

    ways = {f"fixed {n}": functools.partial(fixed, number=n) for n in range(1, iterations + 1)}
    for threshold in image_thresholds:
        ways[f"images, threshold {threshold:g}"] = stopping(adaptive.refine_images, threshold)
    if model.stack.kernel_size == 1:
        for threshold in thresholds:
            ways[f"pixels, threshold {threshold:g}"] = stopping(adaptive.refine_pixels, threshold)
    return ways


def _timed(function, *arguments):
    """Returns the result of a call, and its seconds."""
    begin = time.perf_counter()
    result = function(*arguments)
    tf.test.experimental.sync_devices()  # a GPU computes asynchronously
    return result, time.perf_counter() - begin


def table(rows: list[Row]) -> str:
    """Returns the text of a table, one line per row."""
    titles = ["iterations", "iterations per pixel", "refining ms", "whole ms", "mIoU %",
              "of classes that occur %", "pixels as after all %"]  # fmt: skip
    entries = [
        (
            row.name,
            f"{np.mean(row.iterations):.1f}",
            f"{1e3 * np.median(row.refine):.1f}",
            f"{1e3 * np.median(row.whole):.1f}",
            f"{100 * metrics.mean_iou(row.confusion):.2f}",
            f"{100 * metrics.mean_iou_occurring(row.confusion):.2f}",
            f"{100 * np.mean(row.equal):.2f}",
        )
        for row in rows
    ]
    return markdown_table(titles, entries)


def save_map(path, model, image: np.ndarray, iterations: int) -> None:
    """Draws an image, its overlaid class map, and the iterations of its canvas pixels.

    Args:
      path: the PNG file.
      model: a `RecurrentSegmenter` with kernels of 1.
      image: RGB, uint8 `(h, w, 3)`.
      iterations: the largest number of iterations; it is white, one iteration is black.
    """
    prepared = model.prepare(model.encode(image[np.newaxis]))
    canvas, spent = adaptive.refine_pixels(model, prepared, iterations)
    class_map = model.read(canvas, image.shape[:2])[0].numpy()
    shades = (255 * (spent[0].numpy() - 1) // max(iterations - 1, 1)).astype(np.uint8)
    # An image pixel gets the shade of the nearest canvas pixel; these are `canvas_stride` apart.
    nearest = [
        (np.arange(side) + model.canvas_stride // 2) // model.canvas_stride
        for side in image.shape[:2]
    ]
    shades = np.repeat(shades[np.ix_(*nearest)][..., np.newaxis], 3, axis=-1)
    panels = [image, visualize.overlay(image, class_map, model.colors), shades]
    with files.atomic_path(path) as temporary:
        Image.fromarray(np.concatenate(panels, axis=1)).save(temporary)


if __name__ == "__main__":
    main()
