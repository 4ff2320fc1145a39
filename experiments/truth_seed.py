"""Measures how the map of a canvas that starts from the ground truth changes with the iterations.

    python -m experiments.truth_seed runs/voc --data data/voc --out truth_seed
    python -m experiments.truth_seed runs/camvid --data data/camvid --output-stride 8 \
        --out truth_seed --strip truth_seed_strip.png --image 40

The paper's Figure 7. The canvas of every image starts from the ground truth, as strong as the
model's own canvas after the iterations of training; beside it the iterations run from the initial
canvas. The seed itself is read as well: detail that a canvas of this output stride cannot hold is
lost before the first iteration. OUT.csv has, for every class and number of iterations, summed over
the images:

- the IoU with the truth;
- *filled*: the share of the pixels inside the convex hull of the object (of each connected part of
  the class), but not of the object, that have its class;
- *lost*: the share of the pixels of the object that have another class;
- *spread*: the number of pixels of the class outside the hulls, relative to the object's.

The printed table and OUT.png have the mean over the classes, and the classes whose objects fill the
least of their hulls.

The paper shows a bicycle whose spokes and frame are filled in with every iteration, until the mask
covers the hull, as it does from the initial canvas.

Results on CamVid and a subset of VOC: the map drifts from the truth towards the map from the
initial canvas, slowly at first and then faster, and its IoU falls below that of the seed. What is
thin or full of holes (chairs, plants, pedestrians, bicyclists) is filled in as it is from the
initial canvas. But where the model finds little of a class from there (boats, poles), the truth is
worn away rather than filled in (`docs/experiments/seeding.md`).
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
from .runs import choose_examples, load_recurrent_model, open_split, read_examples
from .tables import ResultFiles, markdown_table, seeded_titles

STARTS = ("truth", "initial")
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
    """The numbers of pixels of a class, in one image or in several.

    Attributes:
      size: the pixels of the object.
      hits: the pixels of the object that have its class.
      empty: the pixels inside the hull that do not belong to the object.
      filled: the pixels of `empty` that have the class.
      spread: the pixels outside the hull that have the class.
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
      class_name: the name of the class.
      images: the number of images that show it.
      solidity: the share of its hulls that the class fills, in percent.
      canvas: the canvas that the iterations start from, one of `STARTS`.
      iterations: the number of iterations; 0: the seed itself.
      iou: the IoU with the truth, in percent.
      filled: see `Counts.filled`, in percent of `Counts.empty`.
      lost: the pixels of the object that have another class, in percent of `Counts.size`.
      spread: see `Counts.spread`, in percent of `Counts.size`.
    """

    class_name: str
    images: int
    solidity: float
    canvas: str
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
    """Seed every image's canvas with the truth, and measure the maps of the iterations."""
    from . import seeding

    files = ResultFiles.named(out)
    segmenter = load_recurrent_model(model)
    source = open_split(data, split, segmenter)
    if output_stride and output_stride != segmenter.output_stride:
        segmenter = segmenter.at_output_stride(output_stride)
    runs = seeding.Runs(segmenter, iterations)
    objects = seeding.object_classes(source, classes and classes.split(","))
    if strip:  # before the long work
        check_writable(strip)
        choose_examples(source, split, [chosen_number])
    tally = Tally(objects)
    for number, example in enumerate(read_examples(source, split)):
        image, label = example.image, example.label
        initial = runs.initial(image)
        own = seeding.strength(initial[min(segmenter.iterations, iterations) - 1])
        maps = {
            "truth": runs.read(runs.seeded(image, runs.seed(label, own)), label.shape),
            "initial": runs.read(initial, label.shape),
        }
        tally.add(label, maps)
        if strip and number == chosen_number:
            seeded = {"truth": maps["truth"]}
            save_starts(strip, image, label, maps["initial"], seeded, source, _STRIP)
            print(f"wrote {strip}")
    rows = tally.rows(source.class_names)
    if not rows:
        raise UserError(f"{data}: no image of {split} shows any of these classes")
    print(f"{table(rows)}\n")
    files.save(rows, lambda path: save_plot(path, rows))


def convex_hull(mask: np.ndarray) -> np.ndarray:
    """Fills the convex hull of every connected part of a mask.

    Args:
      mask: bool `(h, w)`.

    Returns:
      Bool `(h, w)`.
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
      maps: the class maps, `(h, w)` each.
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
    """The sums of counts by class, canvas and number of iterations, over the images added.

    Args:
      classes: the classes to count.
    """

    def __init__(self, classes: Sequence[int]):
        self._counts = {each: {} for each in classes}
        self._images = dict.fromkeys(classes, 0)

    def add(self, label: np.ndarray, maps: dict[str, list[np.ndarray]]) -> None:
        """Adds an image.

        Args:
          label: the truth, `(h, w)`.
          maps: the class maps by canvas, one of `STARTS`; the first map of "truth" is that of the
            seed itself.
        """
        for object_class, counts in self._counts.items():
            if not (label == object_class).any():
                continue
            self._images[object_class] += 1
            for start, each in maps.items():
                first = int(start == "initial")
                for number, found in enumerate(count(each, label, object_class), start=first):
                    before = counts.get((start, number))
                    counts[start, number] = found if before is None else before + found

    def rows(self, class_names: Sequence[str]) -> list[Row]:
        """Returns the results for the classes that occur.

        Args:
          class_names: the names of all classes.
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
    """Returns the mean of a measurement over classes, by number of iterations.

    Args:
      rows: the rows of the classes.
      start: the canvas, one of `STARTS`.
      measure: one of `MEASURES`.

    Returns:
      The numbers of iterations, and the mean at each of them.
    """
    values = {}
    for row in rows:
        if row.canvas == start:
            values.setdefault(row.iterations, []).append(getattr(row, measure))
    return list(values), np.array([np.mean(each) for each in values.values()])


def table(rows: Sequence[Row]) -> str:
    """Returns the drawn values as a Markdown table."""
    last = max(row.iterations for row in rows)
    shown = [number for number in _SHOWN if number <= last]
    entries = []
    for name, group in drawn_groups(rows).items():
        of_class = {row.class_name: row for row in group}.values()
        images = group[0].images if len(of_class) == 1 else ""
        solidity = np.mean([row.solidity for row in of_class])
        for measure in MEASURES:
            for start in STARTS:
                numbers, values = mean_curve(group, start, measure)
                found = dict(zip(numbers, values, strict=True))
                curve = (f"{found[each]:.1f}" if each in found else "" for each in shown)
                entries.append([name, images, f"{solidity:.0f}", start, measure, *curve])
    titles = ["class", "images", "solidity %", "canvas", "%", *seeded_titles(shown)]
    return markdown_table(titles, entries)


def drawn_groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Returns the rows of all classes, and of the classes of least solidity, by name."""
    solidity = {row.class_name: row.solidity for row in rows}
    least = sorted(solidity, key=solidity.get)[:_DRAWN_CLASSES]
    groups = {name: [row for row in rows if row.class_name == name] for name in least}
    return {"mean of all classes": list(rows)} | groups


def save_plot(path, rows: Sequence[Row]) -> None:
    """Draws all measures by iteration, from the truth and from the initial canvas."""
    figure = visualize.new_figure((10, 7))
    groups = drawn_groups(rows)
    last = max(row.iterations for row in rows)
    colors = ("#000000", *visualize.LINE_COLORS)
    for axes, (measure, title) in zip(figure.subplots(2, 2).flat, MEASURES.items(), strict=True):
        for (name, group), color in zip(groups.items(), colors, strict=False):
            for start, style in zip(STARTS, ("-", "--"), strict=True):
                axes.plot(*mean_curve(group, start, measure), style, marker="o", markersize=4,
                          markerfacecolor=color if start == "truth" else "white", color=color,
                          label=f"{name}, from the {start}{' canvas' * (start == 'initial')}",
                          )  # fmt: skip
        label_axes(axes, "iterations (0: the seed)", "%", title)
        axes.set_xticks(range(0, last + 1, 1 + last // 13))
        axes.set_ylim(bottom=0)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2,
                  frameon=False)  # fmt: skip
    visualize.save_figure(path, figure)


if __name__ == "__main__":
    main()
