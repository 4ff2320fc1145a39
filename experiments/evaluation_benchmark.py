r"""Speed and memory of evaluation, and agreement of its scores with the official ones.

    python -m experiments.evaluation_benchmark runs/camvid --data data/camvid \
        --cityscapes cityscapes/gtFine

Prints

- images per second, with 1 to 12 iterations scored in one pass, decoding and scoring included: as
  built; densely, with all logits of every iteration interpolated and all pixels counted one by one;
  and as the mean of all views, which are six scales, each also mirrored;
- milliseconds of reading a class map, sparsely and densely, at the size of the images and with the
  same images scaled to 1024x2048; both class maps must be equal;
- the peak memory of a process that evaluates an image of 1024x2048 pixels, by number of iterations:
  with one view, with all views, and with the logits of all iterations kept. Each is measured in its
  own process;
- with `--cityscapes`, milliseconds per image of Cityscapes' scores, by our code and by
  cityscapesscripts, and their agreement to the last digit (`experiments.cityscapes_scoring`).

Everything that is compared takes turns, `--repeats` times; medians are printed.
"""

import functools
import itertools
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
from rnnseg.data.pipeline import evaluation_images
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.data.tables import CITYSCAPES
from rnnseg.evaluation import metrics
from rnnseg.evaluation.unrolling import Unroller
from rnnseg.runtime import reading

from . import options
from .cityscapes_scoring import measure_scoring, report_scoring
from .measuring import border_share, in_a_process, process_peak
from .runs import open_split
from .tables import SCALES

ITERATIONS = tuple(range(1, 13))
FULL_SIZE = (1024, 2048)

# The encoder, the widths of the layers before the last, and the numbers of iterations.
MEMORY_CASES = (
    ("mobilenet_v2", (128, 64), (1, 6, 12, 24, 48)),
    ("resnet101", (512, 256), (12,)),
)
MEMORY_FORMS = ("one view", "all views", "logits kept")


@click.command(cls=Command)
@options.model_and_data
@click.option("--images", "count", type=click.IntRange(min=1), default=10, show_default=True,
              help="Number of images.")  # fmt: skip
@click.option("--cityscapes", "truth", type=click.Path(exists=True, path_type=pathlib.Path),
              help="Folder with the ground truth of Cityscapes, *_labelIds.png.")  # fmt: skip
@options.repeats(5)
def main(model, data, split, count, truth, repeats):
    """Print speed and memory of evaluation, and Cityscapes' scores beside the official ones."""
    segmenter = rnnseg.load_model(model)
    source = open_split(data, split, segmenter)
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
    """Measures the images per second of several ways to evaluate.

    Args:
      model: the model.
      source: the data.
      split: the split of the data.
      images: the number of images.
      repeats: the number of repetitions.
      iterations: the numbers of iterations that are scored.
    """
    examples = evaluation_images(source, split).take(images)
    stages = model.compiled_stages

    def densely(image, iterations):
        canvases = stages.unroll(image[np.newaxis], iterations[-1])
        return (stages.read(canvases[n - 1], image.shape[:2])[0].numpy() for n in iterations)

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


def _count_pixels(label, class_map, classes) -> np.ndarray:
    """Returns a confusion matrix, counted pixel by pixel."""
    valid = label != IGNORE_LABEL
    pairs = classes * label[valid].astype(np.int64) + class_map[valid]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def report_speed(speeds: dict[str, float]) -> str:
    """Returns the table of `measure_speed`."""
    lines = ["images per second, all numbers of iterations in one pass"]
    lines += [f"  {name:10s}  {speed:8.2f}" for name, speed in speeds.items()]
    return "\n".join(lines)


def measure_reading(
    model, images: Sequence[np.ndarray], size: tuple[int, int] | None, repeats: int
) -> tuple[float, float, float]:
    """Measures both ways to read the canvases of a model.

    Args:
      model: the model.
      images: the images, RGB 0-255.
      size: (height, width) that the images are scaled to first, or None.
      repeats: the number of repetitions.

    Returns:
      The seconds of reading sparsely and densely, and the share of the patches on borders, each the
      median over the images. A patch is the square between four neighbouring canvas pixels.

    Raises:
      AssertionError: the class maps differ.
    """
    stages = model.compiled_stages
    results = []
    for image in images:
        if size is not None:
            image = tf.image.resize(image, size).numpy()
        own_size = image.shape[:2]
        canvas = stages.unroll(image[np.newaxis], model.iterations)[-1]
        values = canvas[0].numpy()
        functions = [
            functools.partial(reading.read_sparsely, values, own_size, model.canvas_stride),
            functools.partial(lambda *args: stages.read(*args)[0].numpy(), canvas, own_size),
        ]
        np.testing.assert_array_equal(*(function() for function in functions))
        results.append((*take_turns(functions, repeats), border_share(values)))
    return tuple(map(statistics.median, zip(*results, strict=True)))


def report_reading(name: str, sparse: float, dense: float, share: float) -> str:
    """Returns the line of `measure_reading` for a size with this name."""
    return (
        f"reading at {name}: sparsely {1e3 * sparse:.2f} ms, densely {1e3 * dense:.2f} ms, ratio "
        f"{dense / sparse:.2f}; {share:.1%} of the patches on borders; equal"
    )


def measure_all_memory() -> list[tuple[str, int, dict[str, int]]]:
    """Measures the peak memory of `MEMORY_CASES`.

    Returns:
      For each case and number of iterations: the encoder, the number of iterations, and the bytes
      by the name in `MEMORY_FORMS`.
    """
    tasks = [(*case[:2], n) for case in MEMORY_CASES for n in case[2]]
    results = [(task[0], task[2], {}) for task in tasks]
    pairs = list(itertools.product(zip(tasks, results, strict=True), MEMORY_FORMS))
    for (task, (*_, peaks)), form in tqdm(pairs, desc="memory", disable=None):
        peaks[form] = in_a_process(measure_memory, form, *task)
    return results


def measure_memory(
    form: str,
    encoder: str,
    hidden_channels: Sequence[int],
    iterations: int,
    size: tuple[int, int] = FULL_SIZE,
) -> int:
    """Evaluates an image and returns the peak memory of this process in bytes.

    Args:
      form: one of `MEMORY_FORMS`.
      encoder: the name of the encoder.
      hidden_channels: the widths of the layers before the last.
      iterations: the number of iterations, each of which is scored.
      size: (height, width) of the image.
    """
    classes = len(CITYSCAPES.names)
    model = rnnseg.RecurrentSegmenter(
        classes, encoder=encoder, encoder_weights=None, hidden_channels=hidden_channels
    )
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (*size, 3)).astype(np.uint8)
    label = generator.integers(0, classes, size).astype(np.uint8)
    if form == "logits kept":
        canvases = model.compiled_stages.unroll(image[np.newaxis], iterations)
        kept = [model.logits(canvas, size) for canvas in canvases]
        maps = [tf.argmax(logits, -1)[0].numpy() for logits in kept]
    else:
        views = {"scales": SCALES, "flip": True} if form == "all views" else {}
        maps = Unroller(model, **views)(image, range(1, iterations + 1))
    for class_map in maps:
        metrics.confusion_matrix(label, class_map, classes)
    return process_peak()


def report_memory(results: Sequence[tuple[str, int, dict[str, int]]]) -> str:
    """Returns the table of `measure_all_memory`."""
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
