"""The paper's Figures 2 and 3: class maps of images over the iterations, with their costs.

    python -m experiments.iteration_strips runs/voc --data data/voc --image 3 --image 40 \
        --out strips.png
    python -m experiments.iteration_strips runs/camvid street.jpg --iterations 1,7 --out street.png

Figure 2 has images of a data set, with columns of one to six iterations and the ground truth at the
right. Figure 3 has street images at full size, after one and after seven iterations. Images given
as files have no ground truth. The title of every column has the multiply-adds of a prediction with
that number of iterations, encoder included. If the images have several sizes, every row has titles.

OUT.png has the figure. OUT.csv has for every class map its cost, the share of the pixels whose
class changed since the class map before it, and, for a labelled image, the share of right pixels.

The paper shows masks that become finer with every iteration.

Results on CamVid, a subset of VOC and street images: the first class map has every object that
later ones have, but with holes and ragged borders. The next iterations close holes and smooth
borders; each changes up to two pixels in a hundred, later ones fewer. They add no finer detail:
objects that are thinner than a canvas pixel are missing after seven iterations as after one.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import click
import numpy as np

from rnnseg.cli.base import Command
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError

from . import options
from .drawing import Panel, save_grid
from .runs import Example, choose_examples, load_recurrent_model, open_split
from .tables import ResultFiles, markdown_table


@dataclasses.dataclass(frozen=True)
class Row:
    """The figures of one class map.

    Attributes:
      image: the name of the image.
      iterations: the number of iterations.
      gmacs: the multiply-adds of the whole prediction, in 10^9.
      changed: the share of the pixels whose class differs from the class map before, in percent;
        None for the first.
      right: the share of the labelled pixels that have the right class, in percent; None without a
        label.
    """

    image: str
    iterations: int
    gmacs: float
    changed: float | None
    right: float | None


@click.command(cls=Command)
@click.argument("model", metavar="RUN_OR_MODEL")
@click.argument("images", nargs=-1)
@click.option("--data", help="Folder that rnnseg prepare built; see --image.")
@click.option("--split", default="val", show_default=True, help="Split of the images.")
@click.option("--image", "numbers", type=click.IntRange(min=0), multiple=True,
              help="Number of an image in the split, from 0; may be repeated.")  # fmt: skip
@options.iteration_numbers("1-6")
@options.figure
def main(model, images, data, split, numbers, iterations, out):
    """Draw class maps of images after several numbers of iterations."""
    files = ResultFiles(out.with_suffix(".csv"), out)
    if bool(data) != bool(numbers):
        raise UserError("give --data and --image together, or neither")
    segmenter = load_recurrent_model(model)
    chosen = list(read_files(images))
    if data:
        chosen += choose_examples(open_split(data, split, segmenter), split, numbers)
    if not chosen:
        raise UserError("no image to draw: name files, or give --data and --image")
    drawn, rows = [], []
    for example in chosen:
        maps = class_maps(segmenter, example.image, iterations)
        measured = measure(segmenter, example, maps)
        drawn.append((example, maps, measured))
        rows += measured
    print(f"{table(rows)}\n")
    names = [""] * len(drawn)
    files.save(
        rows,
        lambda path: save_grid(path, panels(drawn), names, segmenter.colors, segmenter.names),
    )


def read_files(names: Sequence[str]) -> Iterator[Example]:
    """Reads images from files, folders or patterns."""
    from rnnseg.data.images import find_images, read_image

    for path in find_images(names):
        yield Example(path.stem, read_image(path))


def class_maps(model, image: np.ndarray, iterations: Sequence[int]) -> dict[int, np.ndarray]:
    """Computes the class maps of an image, by number of iterations."""
    from rnnseg.inference.predictor import Predictor

    model.check_image(*image.shape[:2])
    every = enumerate(Predictor(model).every_iteration(image, max(iterations)), start=1)
    return {number: class_map for number, class_map in every if number in iterations}


def measure(model, example: Example, maps: dict[int, np.ndarray]) -> list[Row]:
    """Computes the costs, changes and right pixels of the class maps of an image.

    Args:
      model: the model that made the class maps.
      example: the image and its label.
      maps: the class maps, by number of iterations.
    """
    from rnnseg.budgets.costs import stage_costs

    costs = stage_costs(model, *example.image.shape[:2])
    rows, before = [], None
    for number, class_map in maps.items():
        changed = right = None
        if before is not None:
            changed = 100 * float(np.mean(class_map != before))
        if example.label is not None:
            counted = example.label != IGNORE_LABEL
            right = 100 * float(np.mean(class_map[counted] == example.label[counted]))
        rows.append(Row(example.name, number, costs.total(number) / 1e9, changed, right))
        before = class_map
    return rows


def panels(drawn) -> list[list[Panel | None]]:
    """Arranges the rows of the figure.

    Args:
      drawn: for every image, its `Example`, its class maps by number of iterations, and their
        `Row`s.
    """
    labelled = any(example.label is not None for example, *_ in drawn)
    grid, above = [], None
    for example, maps, measured in drawn:
        costs = [f"{row.gmacs:.2f} G" for row in measured]
        costs[0] += " multiply-adds"
        titles = [
            f"n = {row.iterations}\n{cost}" for row, cost in zip(measured, costs, strict=True)
        ]
        if above == costs:  # the row above has the same titles
            titles = [""] * len(costs)
        first = above is None
        above = costs
        row = [Panel(example.image, "image" if first else "")]
        row += map(Panel, maps.values(), titles)
        if labelled:
            truth = example.label
            row.append(None if truth is None else Panel(truth, "ground truth" if first else ""))
        grid.append(row)
    return grid


def table(rows: Sequence[Row]) -> str:
    """Returns all class maps as a Markdown table."""
    entries = [
        (
            row.image,
            row.iterations,
            f"{row.gmacs:.3f}",
            *("" if value is None else f"{value:.2f}" for value in (row.changed, row.right)),
        )
        for row in rows
    ]
    return markdown_table(
        ["image", "iterations", "multiply-adds G", "changed %", "right %"], entries
    )


if __name__ == "__main__":
    main()
