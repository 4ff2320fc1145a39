"""Measures how many iterations correct a canvas that starts from the wrong class.

    python -m experiments.wrong_seed runs/voc --data data/voc --out wrong_seed \
        --strip wrong_seed_strip.png --image 3

The paper's Figure 6. In the ground truth of every image the object class with most pixels is
replaced by another class, which is drawn at random from the classes that do not occur in the image
(if all occur, from all others). The canvas starts from this map. The outcome depends on the
strength of the seed, which the paper does not give. The strengths here are relative to the model's
own canvas of the same image after the iterations of training (`experiments.seeding.strength`).

Prints by iteration, and writes to OUT.csv for every image: the share of the object's pixels that
have the wrong class, the share that have the right class, and the IoU of the right class in the
image. Prints also the number of iterations after which the right class has more pixels of the
object than the wrong class (*overruled*), and after which its IoU is within 5 points of the IoU
from the initial canvas with the same number of iterations (*recovered*). These two count the images
in which the initial canvas leads to an IoU of 50 % after the iterations of training. OUT.png draws
the wrong share and the IoU, medians with quartiles.

The paper shows a horse, seeded as a cow, that is corrected after two iterations, and says that a
few iterations later the mask is about as good as from the initial canvas.

Results on CamVid and a subset of VOC: every seed is corrected, and the mask is then as good as from
the initial canvas, but stronger seeds take longer: a seed as strong as the model's own answer takes
six and seven iterations (medians) to be overruled, a seed of an eighth of this strength takes two.
An iteration moves a logit by less than one, so no seed can be overruled sooner than its lead
allows. The paper's two iterations hold for weak seeds only (`docs/experiments/seeding.md`).
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import click
import numpy as np

from rnnseg import visualize
from rnnseg.cli.base import Command
from rnnseg.cli.parameters import Numbers
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError
from rnnseg.files import check_writable

from . import options
from .drawing import draw_quartiles, label_axes, save_starts
from .runs import Example, choose_examples, load_recurrent_model, open_split, read_examples
from .tables import ResultFiles, markdown_table, seeded_titles

INITIAL = "initial"
_SHOWN = (0, 1, 2, 3, 6, 12)
_STRIP = range(1, 8)
_FOUND = 0.5  # IoU from the initial canvas of objects that can be recovered
_LEVEL = 0.05  # largest difference to that IoU which counts as recovered


@dataclasses.dataclass(frozen=True)
class Row:
    """The state of an object after some iterations.

    Attributes:
      image: the name of the image.
      object_class: the class of the object, the one with most pixels.
      wrong_class: the class that the seed has instead.
      canvas: the canvas that the iterations start from: `INITIAL`, or the strength of the seed
        relative to the model's own canvas.
      logits: the strength of the seed in logits; 0 for the initial canvas.
      iterations: the number of iterations; 0: the seed itself.
      wrong: the share of the object's pixels that have the wrong class, 0-1.
      right: the share of the object's pixels that have the right class, 0-1.
      iou: the IoU of the right class in the image, 0-1.
    """

    image: str
    object_class: str
    wrong_class: str
    canvas: str
    logits: float
    iterations: int
    wrong: float
    right: float
    iou: float


@click.command(cls=Command)
@options.model_and_data
@options.iterations(12)
@click.option("--strengths", type=Numbers("S,S,...", float, ","), default="0.125,0.25,0.5,1",
              show_default=True, help="Of seeds, as shares of the own canvas'.")  # fmt: skip
@options.classes
@options.table()
@options.strip
def main(model, data, split, iterations, strengths, classes, out, strip, chosen_number):
    """Seed every image's canvas with a wrong class, and count the iterations that correct it."""
    from .seeding import Runs, object_classes

    files = ResultFiles.named(out)
    segmenter = load_recurrent_model(model)
    source = open_split(data, split, segmenter)
    objects = object_classes(source, classes and classes.split(","))
    if len(objects) < 2:
        raise UserError("--classes: give two at least, one to be replaced by the other")
    if strip:  # before the long work
        check_writable(strip)
        (shown,) = choose_examples(source, split, [chosen_number])
        if not np.isin(shown.label, objects).any():
            raise UserError(
                f"--image {chosen_number}: {shown.name} shows none of these classes; choose "
                "another one"
            )
    starts = [INITIAL, *map(start_name, strengths)]
    rows = []
    for seeded in seed_images(Runs(segmenter, iterations), source, split, objects, strengths):
        rows += seeded.rows
        if strip and seeded.number == chosen_number:
            save_strip(strip, seeded, starts, source)
            first = seeded.rows[0]
            print(f"wrote {strip}: {first.object_class}, seeded as {first.wrong_class}")
    if not rows:
        raise UserError(f"{data}: no image of {split} shows any of these classes")
    print(table(rows, starts))
    print(f"\n{correction_table(rows, starts, min(segmenter.iterations, iterations))}\n")
    files.save(rows, lambda path: save_plot(path, rows, starts))


def start_name(strength: float) -> str:
    """Returns the name of a seed."""
    return f"{strength:g}"


@dataclasses.dataclass(frozen=True, eq=False)
class SeededImage:
    """An image and its class maps from all canvases.

    Attributes:
      number: the number of the image in the split, from 0.
      example: the image and its label.
      maps: the class maps by canvas; those of a seed begin with that of the seed itself.
      rows: the measurements.
    """

    number: int
    example: Example
    maps: dict[str, list[np.ndarray]]
    rows: list[Row]


def seed_images(
    runs, source, split: str, objects: Sequence[int], strengths: Sequence[float]
) -> Iterator[SeededImage]:
    """Seeds the images of a split with a wrong class.

    Args:
      runs: an `experiments.seeding.Runs`.
      source: the data.
      split: the split.
      objects: the classes that count as objects.
      strengths: the strengths of the seeds, relative to the model's own canvas.

    Yields:
      The maps and measurements of every image that has an object.
    """
    from . import seeding

    rng = np.random.default_rng(0)
    for number, example in enumerate(read_examples(source, split)):
        image, label = example.image, example.label
        pair = choose_classes(label, objects, rng)
        if pair is None:
            continue
        right, wrong = pair
        wrong_label = np.where(label == right, wrong, label)
        canvases = runs.initial(image)
        own = seeding.strength(canvases[min(runs.model.iterations, runs.iterations) - 1])
        maps, logits = {INITIAL: runs.read(canvases, label.shape)}, {INITIAL: 0.0}
        for share in strengths:
            start = start_name(share)
            logits[start] = share * own
            seeded = runs.seeded(image, runs.seed(wrong_label, logits[start]))
            maps[start] = runs.read(seeded, label.shape)
        names = example.name, source.class_names[right], source.class_names[wrong]
        rows = [
            Row(*names, start, logits[start], iterations, *shares(class_map, label, right, wrong))
            for start, each in maps.items()
            for iterations, class_map in enumerate(each, start=int(start == INITIAL))
        ]
        yield SeededImage(number, example, maps, rows)


def save_strip(path, seeded: SeededImage, starts: Sequence[str], source) -> None:
    """Draws the class maps of one image by iteration.

    Args:
      path: the PNG file.
      seeded: the image and its maps.
      starts: the initial canvas, then the seeds.
      source: the data, for the colours and names of the classes.
    """
    maps = {f"strength {start}": seeded.maps[start] for start in starts[1:]}
    image, label = seeded.example.image, seeded.example.label
    save_starts(path, image, label, seeded.maps[INITIAL], maps, source, _STRIP)


def choose_classes(
    label: np.ndarray, objects: Sequence[int], rng: np.random.Generator
) -> tuple[int, int] | None:
    """Chooses the class of the object, and a wrong class for the seed.

    Args:
      label: class indices or `IGNORE_LABEL`, `(h, w)`.
      objects: the classes to choose from, at least two.
      rng: the generator that draws the wrong class.

    Returns:
      The object class with most pixels, and another class, which does not occur in the image unless
      all classes occur; None if there is no object.
    """
    counts = np.bincount(label.ravel(), minlength=IGNORE_LABEL + 1)
    right = max(objects, key=lambda each: counts[each])
    if not counts[right]:
        return None
    absent = [each for each in objects if not counts[each]]
    others = absent or [each for each in objects if each != right]
    return right, int(rng.choice(others))


def shares(
    class_map: np.ndarray, label: np.ndarray, right: int, wrong: int
) -> tuple[float, float, float]:
    """Compares a prediction with an object.

    Args:
      class_map: the prediction, `(h, w)`.
      label: the ground truth with the object, `(h, w)`; ignored pixels are not counted.
      right: the class of the object.
      wrong: the wrong class.

    Returns:
      The shares of the object that have the wrong and the right class, and the IoU of the right
      class, 0-1.
    """
    truth = label == right
    found = (class_map == right) & (label != IGNORE_LABEL)
    size = truth.sum()
    hits = (truth & found).sum()
    return (
        float((class_map[truth] == wrong).sum() / size),
        float(hits / size),
        float(hits / (truth | found).sum()),
    )


def curves(rows: Sequence[Row], start: str, value: str) -> np.ndarray:
    """Returns one attribute of rows in their order, `(images, iterations)`.

    Args:
      rows: the rows of all canvases.
      start: the name of the canvas.
      value: the name of the attribute.
    """
    by_image = itertools.groupby(
        (row for row in rows if row.canvas == start), key=lambda row: row.image
    )
    return np.array([[getattr(row, value) for row in group] for _, group in by_image])


def table(rows: Sequence[Row], starts: Sequence[str]) -> str:
    """Returns the means over the images by iteration as a Markdown table."""
    last = max(row.iterations for row in rows)
    shown = [number for number in _SHOWN if number <= last]
    entries = []
    for start in starts:
        first = int(start == INITIAL)
        for value, name in (("wrong", "wrong class"), ("iou", "IoU of the right class")):
            means = 100 * curves(rows, start, value).mean(axis=0)
            curve = (f"{means[each - first]:.1f}" if each >= first else "" for each in shown)
            entries.append([start, name, *curve])
    return markdown_table(["canvas", "object's pixels, %", *seeded_titles(shown)], entries)


def mean_logits(rows: Sequence[Row], start: str) -> float:
    """Returns the mean strength of a seed over the images, in logits."""
    return float(curves(rows, start, "logits").mean())


def first_iteration(reached: np.ndarray) -> np.ndarray:
    """Returns the number of the first iteration at which a condition holds.

    Args:
      reached: the condition by image and iteration, from the first, bool `(images, iterations)`.

    Returns:
      The numbers, `(images,)`; infinite if the condition never holds.
    """
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.inf)


def correction_table(rows: Sequence[Row], starts: Sequence[str], trained: int) -> str:
    """Returns a Markdown table of the iterations until seeds are overruled and masks recovered.

    Args:
      rows: the rows of all canvases.
      starts: the initial canvas, then the seeds.
      trained: the number of iterations after which the object must be found from the initial
        canvas.
    """
    initial = curves(rows, INITIAL, "iou")
    found = initial[:, trained - 1] >= _FOUND
    table_rows = []
    for start in starts[1:]:
        right, wrong, iou = (
            curves(rows, start, value)[found, 1:] for value in ("right", "wrong", "iou")
        )
        entries = [f"{mean_logits(rows, start):.2f}"]
        for reached, soon in ((right > wrong, 2), (iou >= initial[found] - _LEVEL, 3)):
            first = first_iteration(reached)
            median = np.median(first) if len(first) else np.nan
            entries.append("never" if np.isinf(median) else f"{median:g}")
            entries += [f"{100 * np.mean(each):.0f}" for each in (first <= soon, np.isinf(first))]
        table_rows.append([start, *entries])
    titles = ["seed's strength", "in logits", "overruled after, median", "within 2, % of images",
              "never, %", "recovered after, median", "within 3, %", "never, %"]  # fmt: skip
    return (
        f"of {len(initial)} images, {found.sum()} in which the object is found from the initial "
        f"canvas\n\n{markdown_table(titles, table_rows)}"
    )


def save_plot(path, rows: Sequence[Row], starts: Sequence[str]) -> None:
    """Draws the share of the wrong class and the IoU of the right class by iteration."""
    figure = visualize.new_figure((10, 4.2))
    panels = figure.subplots(1, 2)
    colors = dict(zip(starts, ("#000000", *visualize.LINE_COLORS), strict=False))
    for axes, value in zip(panels, ("wrong", "iou"), strict=True):
        for start in starts:
            values = 100 * curves(rows, start, value)
            numbers = range(int(start == INITIAL), values.shape[1] + int(start == INITIAL))
            label = "initial canvas"
            if start != INITIAL:
                label = f"wrong class, {start} of the own strength ({mean_logits(rows, start):.1f})"
            draw_quartiles(axes, numbers, values, label, color=colors[start], marker="o",
                           markersize=4)  # fmt: skip
        axes.set_ylim(-3, 103)
        axes.set_xticks(range(rows[-1].iterations + 1))
    label_axes(panels[0], "iterations (0: the seed)", "share of the object (%)",
               "Pixels of the wrong class")  # fmt: skip
    label_axes(panels[1], "iterations (0: the seed)", "IoU (%)", "The right class")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3,
                  title="canvas at the start (mean strength in logits)", frameon=False)  # fmt: skip
    visualize.save_figure(path, figure)


if __name__ == "__main__":
    main()
