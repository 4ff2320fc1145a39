"""A canvas that starts from the wrong class: how many iterations until it is corrected?

    python -m experiments.wrong_seed runs/voc --data data/voc --out wrong_seed \
        --strip wrong_seed_strip.png --image 3

The paper's Figure 6. In every image the object class with most pixels is replaced, in the ground
truth, by another one, drawn at random from those that do not occur in the image (from all others
where all occur); the canvas starts from that map and is iterated. How strong such a seed is decides
the outcome, and the paper does not say: the strengths here are shares of that which the model's own
canvas has of the same image after the iterations of training (`experiments.seeding.strength`).

Prints, and writes to OUT.csv for every image, by iteration: the share of the object's pixels that
have the wrong class, the share that have the right one, and the right class' IoU in the image;
and the number of iterations after which the right class has more of the object than the wrong one
(*overruled*), and after which its IoU is within 5 points of the blank start's at the same number
(*recovered*). Those two count images in which the blank start reaches an IoU of 50 % after the
iterations of training. OUT.png draws both curves, medians with quartiles.

The paper shows a horse, seeded as a cow, that is corrected after two iterations, and says that the
mask is of similar quality to that of a blank start after a few more.

Found on CamVid and a subset of VOC: every seed is corrected, and the mask is then as good as from a
blank canvas, but the time it takes grows with the seed: a seed as strong as the model's own answer
takes six and seven iterations (medians) to be overruled, one of an eighth of that takes two. An
iteration moves a logit by less than one, so no seed can be turned sooner than its lead allows. The
paper's two iterations hold for weak seeds only (`docs/experiments/seeding.md`).
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
from .tables import save_csv

BLANK = "blank"
_SHOWN = (0, 1, 2, 3, 6, 12)
_STRIP = range(1, 8)
_FOUND = 0.5  # IoU from the blank start, above which there is something to be recovered
_LEVEL = 0.05  # of IoU below the blank start that counts as recovered


@dataclasses.dataclass(frozen=True)
class Row:
    """The state of an object after some iterations.

    Attributes:
      image: its name.
      object_class: the class with most pixels.
      wrong_class: what the seed says instead.
      start: `BLANK`, or the seed's strength as a share of the own canvas'.
      logits: the seed's strength in logits; 0 for the blank start.
      iterations: how many; 0: the seed itself.
      wrong: share of the object's pixels that have the wrong class, 0-1.
      right: share that have the right one.
      iou: of the right class in the image, 0-1.
    """

    image: str
    object_class: str
    wrong_class: str
    start: str
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
    """Seed every image's canvas with a wrong class, and watch it being corrected."""
    from rnnseg.data import open_source
    from rnnseg.models.loading import load_model

    from .iteration_strips import read_split
    from .seeding import Runs, object_classes

    for path in (f"{out}.csv", f"{out}.png", *filter(None, [strip])):
        check_writable(path)
    source, runs = open_source(data), Runs(load_model(model), iterations)
    objects = object_classes(source, classes and classes.split(","))
    if len(objects) < 2:
        raise UserError("--classes: give two at least, one to be replaced by the other")
    if strip:
        (shown,) = read_split(runs.model, data, split, [chosen_number])
        if not np.isin(shown.label, objects).any():
            raise UserError(
                f"--image {chosen_number}: {shown.name} shows none of these classes; choose "
                "another one"
            )
    starts = [BLANK, *map(start_name, strengths)]
    rows = []
    for seen in watch(runs, source, split, objects, strengths):
        rows += seen.rows
        if strip and seen.number == chosen_number:
            seeded = {f"strength {start}": seen.maps[start] for start in starts[1:]}
            save_starts(strip, seen.image, seen.label, seen.maps[BLANK], seeded, source, _STRIP)
            print(
                f"wrote {strip}: {seen.rows[0].object_class}, seeded as {seen.rows[0].wrong_class}"
            )
    if not rows:
        raise UserError(f"{data}: no image of {split} shows any of these classes")
    trained = runs.model.iterations
    print(table(rows, starts))
    print(f"\n{correction_table(rows, starts, min(trained, iterations))}\n")
    save_csv(f"{out}.csv", rows)
    save_plot(f"{out}.png", rows, starts)
    print(f"wrote {out}.csv and {out}.png")


def start_name(strength: float) -> str:
    """Returns the name of a seed."""
    return f"{strength:g}"


@dataclasses.dataclass(frozen=True, eq=False)
class Watched:
    """An image and what became of it.

    Attributes:
      number: of the image in its split, from 0.
      image: RGB, uint8 `(h, w, 3)`.
      label: `(h, w)`.
      maps: class maps by start; the seeds' begin with the seed's own.
      rows: what was measured.
    """

    number: int
    image: np.ndarray
    label: np.ndarray
    maps: dict[str, list[np.ndarray]]
    rows: list[Row]


def watch(
    runs, source, split: str, objects: Sequence[int], strengths: Sequence[float]
) -> Iterator[Watched]:
    """Seeds the images of a split with a wrong class.

    Args:
      runs: `experiments.seeding.Runs`.
      source: the data.
      split: its split.
      objects: the classes that count as objects.
      strengths: of the seeds, shares of the own canvas'.

    Yields:
      What became of each image that has an object.
    """
    from . import seeding

    rng = np.random.default_rng(0)
    for number, (image, label, name) in enumerate(seeding.examples(runs.model, source, split)):
        pair = choose_classes(label, objects, rng)
        if pair is None:
            continue
        right, wrong = pair
        wrong_label = np.where(label == right, wrong, label)
        canvases = runs.blank(image)
        own = seeding.strength(canvases[min(runs.model.iterations, runs.iterations) - 1])
        maps, logits = {BLANK: runs.read(canvases, label.shape)}, {BLANK: 0.0}
        for share in strengths:
            start = start_name(share)
            logits[start] = share * own
            seeded = runs.seeded(image, runs.seed(wrong_label, logits[start]))
            maps[start] = runs.read(seeded, label.shape)
        names = name, source.class_names[right], source.class_names[wrong]
        rows = [
            Row(*names, start, logits[start], iterations, *shares(class_map, label, right, wrong))
            for start, each in maps.items()
            for iterations, class_map in enumerate(each, start=int(start == BLANK))
        ]
        yield Watched(number, image, label, maps, rows)


def choose_classes(
    label: np.ndarray, objects: Sequence[int], rng: np.random.Generator
) -> tuple[int, int] | None:
    """The object class with most pixels, and another one, which does not occur if there is such.

    Args:
      label: class indices or `IGNORE_LABEL`, `(h, w)`.
      objects: the classes to choose from, two at least.
      rng: draws the second.

    Returns:
      None where there is no object.
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
    """The shares of an object that have the wrong and the right class, and the right one's IoU.

    Args:
      class_map: the prediction, `(h, w)`.
      label: with the object, `(h, w)`; ignored pixels are not counted.
      right: its class.
      wrong: the other one.
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
    """One attribute by image and iteration, `(images, iterations)`, of rows in their order."""
    by_image = itertools.groupby(
        (row for row in rows if row.start == start), key=lambda row: row.image
    )
    return np.array([[getattr(row, value) for row in group] for _, group in by_image])


def table(rows: Sequence[Row], starts: Sequence[str]) -> str:
    """Means over the images by iteration, as a table of Markdown."""
    last = max(row.iterations for row in rows)
    shown = [number for number in _SHOWN if number <= last]
    titles = [f"n = {number}" if number else "seed" for number in shown]
    lines = [
        f"| start | object's pixels, % | {' | '.join(titles)} |",
        f"| --- | --- {'| --- ' * len(shown)}|",
    ]
    for start in starts:
        first = int(start == BLANK)
        for value, name in (("wrong", "wrong class"), ("iou", "IoU of the right class")):
            means = 100 * curves(rows, start, value).mean(axis=0)
            cells = [f"{means[each - first]:.1f}" if each >= first else "" for each in shown]
            lines.append(f"| {start} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mean_logits(rows: Sequence[Row], start: str) -> float:
    """The strength of a seed in the mean over the images, in logits."""
    return float(curves(rows, start, "logits").mean())


def first_iteration(reached: np.ndarray) -> np.ndarray:
    """The number of the first iteration at which something holds, infinite where it never does.

    Args:
      reached: by image and iteration, from the first, bool `(images, iterations)`.
    """
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.inf)


def correction_table(rows: Sequence[Row], starts: Sequence[str], trained: int) -> str:
    """Returns a Markdown table of the iterations until seeds are overruled and masks recovered.

    Args:
      rows: of all starts.
      starts: the blank one, then the seeds.
      trained: after how many iterations the blank start must have found the object.
    """
    blank = curves(rows, BLANK, "iou")
    found = blank[:, trained - 1] >= _FOUND
    lines = [
        f"of {len(blank)} images, {found.sum()} in which the blank start finds the object",
        "",
        "| seed's strength | in logits | overruled after, median | within 2, % of images "
        "| never, % | recovered after, median | within 3, % | never, % |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for start in starts[1:]:
        right, wrong, iou = (
            curves(rows, start, value)[found, 1:] for value in ("right", "wrong", "iou")
        )
        cells = [f"{mean_logits(rows, start):.2f}"]
        for reached, soon in ((right > wrong, 2), (iou >= blank[found] - _LEVEL, 3)):
            first = first_iteration(reached)
            median = np.median(first) if len(first) else np.nan
            cells.append("never" if np.isinf(median) else f"{median:g}")
            cells += [f"{100 * np.mean(each):.0f}" for each in (first <= soon, np.isinf(first))]
        lines.append(f"| {start} | {' | '.join(cells)} |")
    return "\n".join(lines)


def save_plot(path, rows: Sequence[Row], starts: Sequence[str]) -> None:
    """Draws the wrong class' share of the object and the right one's IoU by iteration."""
    figure = visualize.new_figure((10, 4.2))
    panels = figure.subplots(1, 2)
    colors = dict(zip(starts, ("#000000", *visualize.LINE_COLORS), strict=False))
    for axes, value in zip(panels, ("wrong", "iou"), strict=True):
        for start in starts:
            values = 100 * curves(rows, start, value)
            numbers = range(int(start == BLANK), values.shape[1] + int(start == BLANK))
            label = "blank"
            if start != BLANK:
                label = f"wrong class, {start} of own strength ({mean_logits(rows, start):.1f})"
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
