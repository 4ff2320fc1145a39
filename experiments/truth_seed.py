"""A canvas that starts from the ground truth: what do the dynamics fill in?

    python -m experiments.truth_seed runs/voc --data data/voc --out truth_seed
    python -m experiments.truth_seed runs/camvid --data data/camvid --output-stride 8 \
        --out truth_seed --strip truth_seed_strip.png --image 40

The paper's Figure 7. The canvas of every image starts from the ground truth, as strong as the
model's own canvas is after the iterations of training, and is iterated; beside it runs a blank
start. The seed itself is read, too: what a canvas of that output stride cannot hold is lost before
the first iteration. Measured are, and written to OUT.csv, for every class and number of
iterations, summed over the images:

- the IoU with the truth;
- *filled*: of what lies within the convex hull of an object (of each connected part of the class)
  and is not the object, the share that has its class;
- *lost*: the share of the object that has another class;
- *spread*: the pixels of the class outside the hulls, as a share of the object's.

OUT.png draws, and the table holds, the mean over the classes and those that fill their hulls least.

The paper shows a bicycle whose spokes and frame are filled in with every iteration, until the mask
covers the hull, as it does from a blank start.

Found on CamVid and a subset of VOC: the map drifts from the truth towards what a blank start gives,
slowly at first and then faster, and its IoU falls below that of the seed. It does fill in what is
thin or full of holes in the same way as a blank start does (chairs, plants, pedestrians,
bicyclists); but where a blank start finds little of a class (boats, poles), the truth is worn away
rather than filled in (`docs/experiments/seeding.md`).
"""

import dataclasses
from collections.abc import Iterable, Sequence

import click
import numpy as np

from rnnseg import visualize
from rnnseg.cli.base import Command
from rnnseg.cli.derived import options_of
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError
from rnnseg.files import check_writable
from rnnseg.models.options import ModelOptions
from rnnseg.video import libraries

from . import options
from .drawing import label_axes, save_starts
from .tables import save_csv

STARTS = ("truth", "blank")
MEASURES = {
    "iou": "IoU with the truth",
    "filled": "Filled, of the hull's empty part",
    "lost": "Lost, of the object",
    "spread": "Spread outside the hull, of the object",
}
_SHOWN = (0, 1, 2, 3, 6, 12, 24)
_STRIP = (1, 2, 4, 6, 12, 18, 24)
_DRAWN_CLASSES = 3


@dataclasses.dataclass(frozen=True)
class Counts:
    """Pixels of a class, in one image or in several.

    Attributes:
      size: of the object.
      hits: of the object that have its class.
      empty: within the hull and not of the object.
      filled: of these that have its class.
      spread: outside the hull that have its class.
    """

    size: int
    hits: int
    empty: int
    filled: int
    spread: int

    def __add__(self, other: "Counts") -> "Counts":
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Counts(*(mine + its for mine, its in pairs))


@dataclasses.dataclass(frozen=True)
class Row:
    """The counts of a class after some iterations, over all images in which it occurs.

    Attributes:
      class_name: of it.
      images: how many show it.
      solidity: the object's share of its hulls, in percent.
      start: of `STARTS`.
      iterations: how many; 0: the seed itself.
      iou, filled, lost, spread: in percent.
    """

    class_name: str
    images: int
    solidity: float
    start: str
    iterations: int
    iou: float
    filled: float
    lost: float
    spread: float


@click.command(cls=Command)
@options.model_and_data
@options.iterations(24)
@options_of(
    ModelOptions, ["output_stride"], output_stride="Another output stride than the trained one."
)
@options.classes
@options.table()
@options.strip
def main(model, data, split, iterations, output_stride, classes, out, strip, chosen_number):
    """Seed every image's canvas with the truth, and watch what the iterations make of it."""
    from rnnseg.data import open_source
    from rnnseg.models.loading import load_model

    from . import seeding
    from .iteration_strips import read_split

    for path in (f"{out}.csv", f"{out}.png", *filter(None, [strip])):
        check_writable(path)
    source, segmenter = open_source(data), load_model(model)
    if output_stride and output_stride != segmenter.output_stride:
        segmenter = segmenter.at_output_stride(output_stride)
    runs = seeding.Runs(segmenter, iterations)
    objects = seeding.object_classes(source, classes and classes.split(","))
    if strip:
        read_split(
            segmenter, data, split, [chosen_number]
        )  # before long work: is there such an image?
    tally = Tally(objects)
    for number, (image, label, _) in enumerate(seeding.examples(segmenter, source, split)):
        blank = runs.blank(image)
        own = seeding.strength(blank[min(segmenter.iterations, iterations) - 1])
        maps = {
            "truth": runs.read(runs.seeded(image, runs.seed(label, own)), label.shape),
            "blank": runs.read(blank, label.shape),
        }
        tally.add(label, maps)
        if strip and number == chosen_number:
            seeded = {"truth": maps["truth"]}
            save_starts(strip, image, label, maps["blank"], seeded, source, _STRIP)
            print(f"wrote {strip}")
    rows = tally.rows(source.class_names)
    if not rows:
        raise UserError(f"{data}: no image of {split} shows any of these classes")
    print(table(rows))
    save_csv(f"{out}.csv", rows)
    save_plot(f"{out}.png", rows)
    print(f"\nwrote {out}.csv and {out}.png")


def convex_hull(mask: np.ndarray) -> np.ndarray:
    """Fills the convex hull of every connected part.

    Args:
      mask: bool `(h, w)`.

    Returns:
      bool `(h, w)`.
    """
    with libraries():
        import cv2

    filled = np.zeros(mask.shape, np.uint8)
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL,
                                   cv2.CHAIN_APPROX_NONE)  # fmt: skip
    for outline in outlines:
        cv2.fillConvexPoly(filled, cv2.convexHull(outline), 1)
    return filled.astype(bool)


def count(maps: Iterable[np.ndarray], label: np.ndarray, object_class: int) -> list[Counts]:
    """Counts the pixels of a class in class maps of one image.

    Args:
      maps: `(h, w)` each.
      label: the truth, `(h, w)`; ignored pixels are not counted.
      object_class: the class.
    """
    truth, counted = label == object_class, label != IGNORE_LABEL
    hull = convex_hull(truth)
    empty, outside = hull & counted & ~truth, ~hull & counted
    size, gap = int(truth.sum()), int(empty.sum())
    result = []
    for class_map in maps:
        found = class_map == object_class
        parts = (int((found & part).sum()) for part in (truth, empty, outside))
        hits, filled, spread = parts
        result.append(Counts(size, hits, gap, filled, spread))
    return result


class Tally:
    """Adds up counts by class, start and number of iterations, image by image.

    Args:
      classes: those to look at.
    """

    def __init__(self, classes: Sequence[int]):
        self._counts = {each: {} for each in classes}
        self._images = dict.fromkeys(classes, 0)

    def add(self, label: np.ndarray, maps: dict[str, list[np.ndarray]]) -> None:
        """Adds an image.

        Args:
          label: the truth, `(h, w)`.
          maps: class maps by start, of `STARTS`; the first of "truth" is the seed itself.
        """
        for object_class, counts in self._counts.items():
            if not (label == object_class).any():
                continue
            self._images[object_class] += 1
            for start, each in maps.items():
                first = int(start == "blank")
                for number, found in enumerate(count(each, label, object_class), start=first):
                    before = counts.get((start, number))
                    counts[start, number] = found if before is None else before + found

    def rows(self, class_names: Sequence[str]) -> list[Row]:
        """Returns the results for the classes that occur.

        Args:
          class_names: of all classes.
        """
        return [
            Row(
                class_names[object_class],
                self._images[object_class],
                100 * found.size / (found.size + found.empty),
                *key,
                iou=100 * found.hits / (found.size + found.filled + found.spread),
                filled=100 * found.filled / max(found.empty, 1),
                lost=100 * (found.size - found.hits) / found.size,
                spread=100 * found.spread / found.size,
            )
            for object_class, counts in self._counts.items()
            for key, found in counts.items()
        ]


def mean_curve(rows: Iterable[Row], start: str, measure: str) -> tuple[list[int], np.ndarray]:
    """The numbers of iterations, and the mean of one attribute over the classes of some rows."""
    values = {}
    for row in rows:
        if row.start == start:
            values.setdefault(row.iterations, []).append(getattr(row, measure))
    return list(values), np.array([np.mean(each) for each in values.values()])


def table(rows: Sequence[Row]) -> str:
    """Returns the drawn values as a Markdown table."""
    last = max(row.iterations for row in rows)
    shown = [number for number in _SHOWN if number <= last]
    lines = [
        f"| class | images | solidity % | start | % "
        f"| {' | '.join(f'n = {number}' if number else 'seed' for number in shown)} |",
        f"| --- | --- | --- | --- | --- {'| --- ' * len(shown)}|",
    ]
    for name, group in drawn_groups(rows).items():
        of_class = {row.class_name: row for row in group}.values()
        images = group[0].images if len(of_class) == 1 else ""
        solidity = np.mean([row.solidity for row in of_class])
        for measure in MEASURES:
            for start in STARTS:
                numbers, values = mean_curve(group, start, measure)
                found = dict(zip(numbers, values, strict=True))
                cells = [f"{found[each]:.1f}" if each in found else "" for each in shown]
                lines.append(
                    f"| {name} | {images} | {solidity:.0f} | {start} | {measure} "
                    f"| {' | '.join(cells)} |"
                )
    return "\n".join(lines)


def drawn_groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of all classes, and of each of those that fill least of their hulls, by name."""
    solidity = {row.class_name: row.solidity for row in rows}
    least = sorted(solidity, key=solidity.get)[:_DRAWN_CLASSES]
    groups = {name: [row for row in rows if row.class_name == name] for name in least}
    return {"mean of all classes": list(rows)} | groups


def save_plot(path, rows: Sequence[Row]) -> None:
    """Draws all measures by iteration, from the truth and from a blank canvas."""
    figure = visualize.new_figure((10, 7))
    groups = drawn_groups(rows)
    last = max(row.iterations for row in rows)
    colors = ("#000000", *visualize.LINE_COLORS)
    for axes, (measure, title) in zip(figure.subplots(2, 2).flat, MEASURES.items(), strict=True):
        for (name, group), color in zip(groups.items(), colors, strict=False):
            for start, style in zip(STARTS, ("-", "--"), strict=True):
                axes.plot(*mean_curve(group, start, measure), style, marker="o", markersize=4,
                          markerfacecolor=color if start == "truth" else "white", color=color,
                          label=f"{name}, from {'the truth' if start == 'truth' else 'blank'}",
                          )  # fmt: skip
        label_axes(axes, "iterations (0: the seed)", "%", title)
        axes.set_xticks(range(0, last + 1, 1 + last // 13))
        axes.set_ylim(bottom=0)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2,
                  frameon=False)  # fmt: skip
    visualize.save_figure(path, figure)


if __name__ == "__main__":
    main()
