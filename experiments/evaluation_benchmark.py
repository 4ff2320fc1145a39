r"""How fast evaluation is, what memory it takes, and whether its scores are the official ones.

    python -m experiments.evaluation_benchmark runs/camvid --data data/camvid \
        --cityscapes cityscapes/gtFine

Prints

- images a second at 1 to 12 iterations in one pass, decoding and scoring included: as built; with
  all logits of every iteration interpolated and all pixels counted one by one; averaged over six
  scales, each mirrored, too;
- milliseconds of reading a class map, sparsely and densely, at the images' size and from the same
  images scaled to 1024x2048, and whether both are equal;
- the most memory that a process takes that evaluates an image of 1024x2048 pixels, against the
  number of iterations traced; each measured in a process of its own. Beside it what it is when the
  logits of all iterations are kept;
- with `--cityscapes`, milliseconds per image of Cityscapes' scores, ours and those of
  cityscapesscripts, and whether they agree to the last digit (`experiments.cityscapes_scoring`).

All that is compared takes turns, `--repeats` times; medians are printed.
"""

import functools
import multiprocessing
import pathlib
import statistics
from collections.abc import Sequence

import click
import numpy as np
import tensorflow as tf
from tqdm import tqdm

import rnnseg
from rnnseg.budgets.timing import take_turns
from rnnseg.cli.base import Command
from rnnseg.data import open_source
from rnnseg.data.pipeline import evaluation_images
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.data.tables import CITYSCAPES
from rnnseg.evaluation import metrics
from rnnseg.evaluation.unrolling import Unroller
from rnnseg.runtime import reading

from . import options
from .cityscapes_scoring import measure_scoring, report_scoring
from .measuring import process_peak
from .tables import SCALES

ITERATIONS = tuple(range(1, 13))
FULL_SIZE = (1024, 2048)

# Encoder, widths of the layers before the last, numbers of iterations.
MEMORY_CASES = (
    ("mobilenet_v2", (128, 64), (1, 6, 12, 24, 48)),
    ("resnet101", (512, 256), (12,)),
)
MEMORY_FORMS = ("one view", "all views", "logits kept")


@click.command(cls=Command)
@options.model_and_data
@click.option("--images", "count", type=click.IntRange(min=1), default=10, show_default=True,
              help="How many.")  # fmt: skip
@click.option("--cityscapes", "truth", type=click.Path(exists=True, path_type=pathlib.Path),
              help="Folder with Cityscapes' ground truth, *_labelIds.png.")  # fmt: skip
@options.repeats(5)
def main(model, data, split, count, truth, repeats):
    """Print speed and memory of evaluation, and Cityscapes' scores beside the official ones."""
    segmenter, source = rnnseg.load_model(model), open_source(data)
    source.require_split(split)
    print(report_speed(measure_speed(segmenter, source, split, count, repeats)), flush=True)
    images = [
        image for image, *_ in evaluation_images(source, split).take(count).as_numpy_iterator()
    ]
    for name, size in (("the images' size", None), ("{}x{}".format(*FULL_SIZE), FULL_SIZE)):
        print(report_reading(name, *measure_reading(segmenter, images, size, repeats)), flush=True)
    if truth is not None:
        print(report_scoring(*measure_scoring(truth, repeats)), flush=True)
    print(report_memory(measure_all_memory()))


def measure_speed(
    model, source, split: str, images: int, repeats: int, iterations: Sequence[int] = ITERATIONS
) -> dict[str, float]:
    """Images a second of evaluations in different ways.

    Args:
      model: a segmenter.
      source: the data.
      split: its split.
      images: how many of it.
      repeats: how often each has its turn.
      iterations: numbers of iterations that are scored.
    """
    examples = evaluation_images(source, split).take(images)
    trace = _tracing(model, iterations[-1])
    read = tf.function(model.read, reduce_retracing=True, autograph=False)

    def densely(image, iterations):
        canvases, size = trace(tf.cast(image, tf.float32)), tf.constant(image.shape[:2])
        return (read(canvases[n - 1], size)[0].numpy() for n in iterations)

    def run(predict, count=metrics.confusion_matrix):
        confusion = 0
        for image, label, _ in examples.as_numpy_iterator():
            for class_map in predict(image, iterations):
                confusion = confusion + count(label, class_map, source.num_classes)
        return confusion

    single, several = Unroller(model), Unroller(model, SCALES, flip=True)
    functions = {
        "as built": lambda: run(single),
        "densely": lambda: run(densely, _count_pixels),
        "all views": lambda: run(several),
    }
    count = min(images, source.split_sizes[split])
    times = take_turns(list(functions.values()), repeats)
    return {name: count / seconds for name, seconds in zip(functions, times, strict=True)}


def _tracing(model, iterations):
    """A function from an image, float32, to its canvases after each iteration."""
    return tf.function(
        lambda image: model.unroll(image[tf.newaxis], iterations),
        input_signature=[tf.TensorSpec((None, None, 3))],
        autograph=False,
    )


def _count_pixels(label, class_map, classes) -> np.ndarray:
    """A confusion matrix the plain way."""
    valid = label != IGNORE_LABEL
    pairs = classes * label[valid].astype(np.int64) + class_map[valid]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def report_speed(speeds: dict[str, float]) -> str:
    """The table of `measure_speed`."""
    lines = ["images a second, all numbers of iterations in one pass"]
    lines += [f"  {name:10s}  {speed:8.2f}" for name, speed in speeds.items()]
    return "\n".join(lines)


def measure_reading(
    model, images: Sequence[np.ndarray], size: tuple[int, int] | None, repeats: int
) -> tuple[float, float, float]:
    """Times both ways to read the canvases of a model.

    Args:
      model: a segmenter.
      images: images.
      size: that they are scaled to before, or None.
      repeats: how often each canvas is read.

    Returns:
      Seconds sparsely and densely, and the share of the cells on borders: medians over the
      images.

    Raises:
      AssertionError: the two do not give the same.
    """
    trace = _tracing(model, model.iterations)
    read = tf.function(model.read, reduce_retracing=True, autograph=False)
    results = []
    for image in images:
        if size is not None:
            image = tf.image.resize(image, size)
        canvas = trace(tf.cast(image, tf.float32))[-1]
        values, own_size = canvas[0].numpy(), tuple(image.shape[:2])
        wanted = tf.constant(own_size)
        functions = [
            functools.partial(reading.read_sparsely, values, own_size, model.output_stride),
            functools.partial(lambda *args: read(*args)[0].numpy(), canvas, wanted),
        ]
        np.testing.assert_array_equal(*(function() for function in functions))
        best = values.argmax(-1)
        corners = np.stack([best[:-1, :-1], best[:-1, 1:], best[1:, :-1], best[1:, 1:]])
        results.append((*take_turns(functions, repeats), np.mean(np.ptp(corners, 0) > 0)))
    return tuple(map(statistics.median, zip(*results, strict=True)))


def report_reading(name: str, sparse: float, dense: float, share: float) -> str:
    """The line of `measure_reading` at a size called `name`."""
    return (
        f"reading at {name}: sparsely {1e3 * sparse:.2f} ms, densely {1e3 * dense:.2f} ms, ratio "
        f"{dense / sparse:.2f}; {share:.1%} of the cells on borders; equal"
    )


def measure_all_memory() -> list[tuple[str, int, dict[str, int]]]:
    """Peak memory of `MEMORY_CASES`: encoder, iterations, and bytes for each of `MEMORY_FORMS`."""
    results = []
    tasks = [(*case[:2], n) for case in MEMORY_CASES for n in case[2]]
    # A process for each: what one leaves behind must not count for the next.
    with (
        multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as processes,
        tqdm(total=len(tasks) * len(MEMORY_FORMS), desc="memory", disable=None) as bar,
    ):
        for task in tasks:
            peaks = {}
            for form in MEMORY_FORMS:
                peaks[form] = processes.apply(measure_memory, (form, *task))
                bar.update()
            results.append((task[0], task[2], peaks))
    return results


def measure_memory(
    form: str,
    encoder: str,
    hidden_channels: Sequence[int],
    iterations: int,
    size: tuple[int, int] = FULL_SIZE,
) -> int:
    """Bytes that this process has taken at its peak once an image is evaluated.

    Args:
      form: one of `MEMORY_FORMS`.
      encoder: a name.
      hidden_channels: widths of the layers before the last.
      iterations: how many are traced, each of them scored.
      size: of the image.
    """
    classes = len(CITYSCAPES.names)
    model = rnnseg.RecurrentSegmenter(
        classes, encoder=encoder, encoder_weights=None, hidden_channels=hidden_channels
    )
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (*size, 3)).astype(np.uint8)
    label = generator.integers(0, classes, size).astype(np.uint8)
    if form == "logits kept":
        canvases = tf.function(model.unroll, autograph=False)(image[np.newaxis], iterations)
        kept = [model.logits(canvas, size) for canvas in canvases]
        maps = [tf.argmax(logits, -1)[0].numpy() for logits in kept]
    else:
        views = {"scales": SCALES, "flip": True} if form == "all views" else {}
        maps = Unroller(model, **views)(image, range(1, iterations + 1))
    for class_map in maps:
        metrics.confusion_matrix(label, class_map, classes)
    return process_peak()


def report_memory(results: Sequence[tuple[str, int, dict[str, int]]]) -> str:
    """The table of `measure_all_memory`."""
    lines = [
        "peak memory of the process at {}x{}, GB".format(*FULL_SIZE),
        f"{'encoder':14s}iterations" + "".join(f"{form:>14s}" for form in MEMORY_FORMS),
    ]
    for encoder, iterations, peaks in results:
        values = "".join(f"{peaks[form] / 1e9:14.2f}" for form in MEMORY_FORMS)
        lines.append(f"{encoder:14s}{iterations:10d}{values}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
