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
              default=(0, 0.25, 0.5, 1, 2), help="For canvas pixels; may be repeated.")  # fmt: skip
@click.option("--image-threshold", "image_thresholds", type=float, multiple=True,
              show_default=True, default=(0.15, 0.25, 0.35),
              help="For images; may be repeated.")  # fmt: skip
@click.option("--map", "map_file", type=click.Path(), help="PNG file: the iterations of one image.")
@click.option("--image", "number", type=click.IntRange(min=0), default=0, show_default=True,
              help="Number of that image in the split, from 0.")  # fmt: skip
def main(model, data, split, iterations, thresholds, image_thresholds, map_file, number):
    """Print iterations, time and mIoU of fixed numbers of iterations and of adaptive stopping."""
    tf.get_logger().setLevel("ERROR")  # TensorFlow warns of many traces; every threshold needs one
    segmenter, source = load_model(model), open_source(data)
    if map_file:
        files.check_writable(map_file, ".png")
    rows = measure(segmenter, source, split, iterations, thresholds, image_thresholds)
    print(table(rows))
    if map_file:
        save_map(map_file, segmenter, source, split, number, iterations)
        print(f"wrote {map_file}")


def measure(model, source, split, iterations, thresholds, image_thresholds) -> list[Row]:
    """Measures all ways to refine on a split.

    Args:
      model: a `RecurrentSegmenter`; single canvas pixels can stop only if its `kernel_size` is 1.
      source: the data.
      split: the split of the data.
      iterations: the largest number of iterations.
      thresholds: the thresholds for `adaptive.refine_pixels`.
      image_thresholds: the thresholds for `adaptive.refine_images`.

    Returns:
      One row for every fixed number of iterations, from 1, and one for every threshold.

    Raises:
      UserError: the model is feed-forward, or has other classes than the data.
    """
    check_classes(model, source)
    if not model.recurrent:
        raise UserError(f"{model.name} is feed-forward: expected a recurrent model")
    stages = model.compiled_stages

    def prepare(image):
        return stages.prepare(stages.encode(image[np.newaxis]))

    ways = _ways(model, iterations, thresholds, image_thresholds)
    rows = {name: Row(name) for name in ways}
    images = evaluation_images(source, split)
    # Traces all graphs, so that no image's time includes it.
    for image, _, _ in images.take(1).as_numpy_iterator():
        for way in ways.values():
            stages.read(way(prepare(image))[0], image.shape[:2])
    bar = tqdm(images.as_numpy_iterator(), total=source.split_sizes[split], disable=None)
    for image, label, _ in bar:
        prepared, encoding = _timed(prepare, image)
        maps = {}
        for name, way in ways.items():
            (canvas, spent), refining = _timed(way, prepared)
            class_map, reading = _timed(stages.read, canvas, label.shape)
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
    """Returns functions from the output of `prepare` to canvas and iterations spent, by name."""
    prepared = tf.TensorSpec((1, None, None, 4 * model.stack.widths[0]), model.compute_dtype)
    refine = _compiled(
        lambda prepared, number: (model.refine(prepared, number)[0], number),
        prepared,
        tf.TensorSpec((), tf.int32),
    )
    ways = {
        f"{n}": functools.partial(refine, number=tf.constant(n)) for n in range(1, iterations + 1)
    }

    def stopping(function, threshold):
        return _compiled(
            lambda prepared: function(model, prepared, tf.constant(iterations), threshold), prepared
        )

    for threshold in image_thresholds:
        ways[f"images {threshold:g}"] = stopping(adaptive.refine_images, threshold)
    if model.stack.kernel_size == 1:
        for threshold in thresholds:
            ways[f"pixels {threshold:g}"] = stopping(adaptive.refine_pixels, threshold)
    return ways


def _compiled(function, *signature) -> Callable:
    return tf.function(function, input_signature=signature, autograph=False)


def _timed(function, *arguments):
    """Returns the result of a call, and its seconds."""
    begin = time.perf_counter()
    result = function(*arguments)
    tf.test.experimental.sync_devices()  # a GPU computes asynchronously
    return result, time.perf_counter() - begin


def table(rows: list[Row]) -> str:
    """Returns the text of a table, one line per row."""
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
    """Writes an image, its overlaid class map, and its iterations (black: 1, white: the largest).

    Args:
      path: the PNG file.
      model: a `RecurrentSegmenter`.
      source: the data.
      split: the split of the data.
      number: the number of the image in the split, from 0.
      iterations: the largest number of iterations.

    Raises:
      UserError: the split has no such image.
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
    # An image pixel gets the shade of the nearest canvas pixel; these are `output_stride` apart.
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
