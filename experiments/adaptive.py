"""What stopping by itself saves, and what it costs, beside fixed numbers of iterations.

    python -m experiments.adaptive runs/camvid --data data/camvid --iterations 12

Prints for fixed numbers of iterations, for images that stop and for single pixels that stop, each
at several thresholds: iterations a canvas pixel in the mean; milliseconds of refining, and of the
whole prediction, medians over the images, on each of which all take turns; mIoU of all classes,
and of those that occur in the split (one that does not counts as zero as soon as a pixel is given
to it); and the share of the pixels that have the class that they have after all iterations.

With `--map`, writes one image, its classes and the iterations that its canvas pixels took.
"""

import dataclasses
import functools
import time
from collections.abc import Callable

import click
import numpy as np
import tensorflow as tf
from PIL import Image
from tqdm import tqdm

from rnnseg import files, visualize
from rnnseg.cli.base import Command
from rnnseg.data import open_source
from rnnseg.data.pipeline import evaluation_images
from rnnseg.errors import UserError
from rnnseg.evaluation import metrics
from rnnseg.evaluation.evaluator import check_classes
from rnnseg.models import adaptive
from rnnseg.models.loading import load_model

from . import options


@dataclasses.dataclass
class Row:
    """What was found of one way to refine, over all images.

    Attributes:
      name: what is printed.
      confusion: row: true class, column: predicted class.
      iterations: mean over the canvas pixels, one per image.
      refine: seconds, one per image.
      whole: seconds from the image to its class map, one per image.
      equal: share of the pixels with the class after the last fixed number, one per image.
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
              default=(0, 0.25, 0.5, 1, 2), help="For pixels; may be repeated.")  # fmt: skip
@click.option("--image-threshold", "image_thresholds", type=float, multiple=True,
              show_default=True, default=(0.15, 0.25, 0.35),
              help="For images; may be repeated.")  # fmt: skip
@click.option("--map", "map_file", type=click.Path(), help="Image of the iterations to write.")
@click.option("--image", "number", type=click.IntRange(min=0), default=0, show_default=True,
              help="Which one of the split it shows.")  # fmt: skip
def main(model, data, split, iterations, thresholds, image_thresholds, map_file, number):
    """Print iterations, time and mIoU of fixed numbers, and of stopping when settled."""
    tf.get_logger().setLevel("ERROR")  # it warns of many traces; every threshold needs one
    segmenter, source = load_model(model), open_source(data)
    if map_file:
        files.check_writable(map_file, ".png")
    rows = measure(segmenter, source, split, iterations, thresholds, image_thresholds)
    print(table(rows))
    if map_file:
        save_map(map_file, segmenter, source, split, number, iterations)
        print(f"wrote {map_file}")


def measure(model, source, split, iterations, thresholds, image_thresholds) -> list[Row]:
    """Runs over a split.

    Args:
      model: a `RecurrentSegmenter`; pixels stop if its kernels are of 1.
      source: the data.
      split: its split.
      iterations: how many at most.
      thresholds: for `adaptive.refine_pixels`.
      image_thresholds: for `adaptive.refine_images`.

    Returns:
      One row for every fixed number, from 1, and for every threshold.
    """
    check_classes(model, source)
    if not model.recurrent:
        raise UserError(f"{model.name} is feed-forward: expected a recurrent model")
    prepare = _traced(
        lambda image: model.prepare(model.encode(image[tf.newaxis])),
        tf.TensorSpec((None, None, 3), tf.uint8),
    )
    read = tf.function(model.read, reduce_retracing=True, autograph=False)
    ways = _ways(model, iterations, thresholds, image_thresholds)
    rows = {name: Row(name) for name in ways}
    images = evaluation_images(source, split)
    for image, _, _ in images.take(1):  # traces, so that no image's time holds the compiling
        for way in ways.values():
            read(way(prepare(image))[0], tf.constant(image.shape[:2]))
    bar = tqdm(images.as_numpy_iterator(), total=source.split_sizes[split], disable=None)
    for image, label, _ in bar:
        size = tf.constant(label.shape)
        prepared, encoding = _timed(prepare, image)
        maps = {}
        for name, way in ways.items():
            (canvas, spent), refining = _timed(way, prepared)
            class_map, reading = _timed(read, canvas, size)
            class_map = maps[name] = class_map[0].numpy()
            row = rows[name]
            row.confusion = row.confusion + metrics.confusion_matrix(
                label, class_map, source.num_classes
            )
            row.iterations.append(float(np.mean(spent)))
            row.refine.append(refining)
            row.whole.append(encoding + refining + reading)
        for name, class_map in maps.items():
            rows[name].equal.append(np.mean(class_map == maps[f"{iterations}"]))
    return list(rows.values())


def _ways(model, iterations, thresholds, image_thresholds) -> dict[str, Callable]:
    """Functions from what `prepare` gives to canvas and iterations spent, by name."""
    prepared = tf.TensorSpec((1, None, None, 4 * model.stack.widths[0]), model.compute_dtype)
    refine = _traced(
        lambda prepared, number: (model.refine(prepared, number)[0], number),
        prepared,
        tf.TensorSpec((), tf.int32),
    )
    ways = {
        f"{n}": functools.partial(refine, number=tf.constant(n)) for n in range(1, iterations + 1)
    }

    def stopping(function, threshold):
        return _traced(
            lambda prepared: function(model, prepared, tf.constant(iterations), threshold), prepared
        )

    for threshold in image_thresholds:
        ways[f"images {threshold:g}"] = stopping(adaptive.refine_images, threshold)
    if model.stack.kernel_size == 1:
        for threshold in thresholds:
            ways[f"pixels {threshold:g}"] = stopping(adaptive.refine_pixels, threshold)
    return ways


def _traced(function, *signature) -> Callable:
    return tf.function(function, input_signature=signature, autograph=False)


def _timed(function, *arguments):
    """What a function gives, and the seconds that it takes."""
    begin = time.perf_counter()
    result = function(*arguments)
    tf.test.experimental.sync_devices()  # a GPU may still be at work
    return result, time.perf_counter() - begin


def table(rows: list[Row]) -> str:
    """What was found, one line for each row."""
    lines = ["iterations      mean  refine ms  whole ms  mIoU %  of occurring %  equal %"]
    for row in rows:
        occurring = np.nanmean(metrics.class_iou(row.confusion)[row.confusion.sum(1) > 0])
        lines.append(
            f"{row.name:14s}  {np.mean(row.iterations):4.1f}  {1e3 * np.median(row.refine):9.1f}  "
            f"{1e3 * np.median(row.whole):8.1f}  {100 * metrics.mean_iou(row.confusion):6.2f}  "
            f"{100 * occurring:14.2f}  {100 * np.mean(row.equal):7.2f}"
        )
    return "\n".join(lines)


def save_map(path, model, source, split: str, number: int, iterations: int) -> None:
    """Writes an image, its classes over it, and where iterations were spent: black 1, white all.

    Args:
      path: the PNG file.
      model: a `RecurrentSegmenter`.
      source: the data.
      split: its split.
      number: of the image in the split, from 0.
      iterations: how many at most.
    """
    source.require_split(split)
    if number >= source.split_sizes[split]:
        raise UserError(
            f"--image {number}: expected 0 to {source.split_sizes[split] - 1}, the images of "
            f"{split}"
        )
    images = evaluation_images(source, split).skip(number).take(1)
    ((image, _, _),) = images.as_numpy_iterator()
    prepared = model.prepare(model.encode(image[np.newaxis]))
    canvas, spent = adaptive.refine_pixels(model, prepared, iterations)
    class_map = model.read(canvas, image.shape[:2])[0].numpy()
    shades = (255 * (spent[0].numpy() - 1) // max(iterations - 1, 1)).astype(np.uint8)
    # A pixel's shade is that of the nearest canvas pixel, `output_stride` apart.
    nearest = [
        (np.arange(side) + model.output_stride // 2) // model.output_stride
        for side in image.shape[:2]
    ]
    shades = np.repeat(shades[np.ix_(*nearest)][..., np.newaxis], 3, axis=-1)
    panels = [image, visualize.overlay(image, class_map, model.colors), shades]
    with files.atomic_path(path) as temporary:
        Image.fromarray(np.concatenate(panels, axis=1)).save(temporary)


if __name__ == "__main__":
    main()
