"""Images over the iterations, with what each has cost so far.

    python -m experiments.iteration_strips runs/voc --data data/voc --image 3 --image 40 \
        --out strips.png
    python -m experiments.iteration_strips runs/camvid street.jpg --iterations 1,7 --out street.png

The paper's Figure 2 (columns of one to six iterations, ground truth at the right, of images of a
data set) and Figure 3 (street images at full size, one iteration beside seven). Files that are
named have no ground truth. Over every column stands how many multiply-adds a prediction with so
many iterations takes, encoder included; over every row where images have several sizes.

OUT.png has the figure, OUT.csv for every map its cost, the share of its pixels that changed their
class since the map before, and of a labelled image the share of right pixels.

The paper shows masks that grow finer with every iteration.

Found on CamVid, a subset of VOC and street images: the first map has everything that later ones
have, with holes and ragged borders; the next ones close holes and smooth borders and change up to
two pixels in a hundred each, the later ones fewer. Finer detail does not come: what is thinner than
a canvas pixel is missing after seven iterations as it is after one.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import click
import numpy as np

from rnnseg.cli.base import Command
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError
from rnnseg.files import check_writable

from . import options
from .drawing import Panel, save_grid
from .tables import save_csv


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """One row of the figure.

    Attributes:
      name: of it.
      image: RGB, uint8 `(h, w, 3)`.
      label: the truth, `(h, w)`, or None.
    """

    name: str
    image: np.ndarray
    label: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """One map.

    Attributes:
      image: its name.
      iterations: how many.
      gmacs: multiply-adds of the whole prediction, in 10^9.
      changed: share of the pixels whose class is another one than in the map before, in percent;
        None of the first.
      right: share of the labelled pixels that have the right class, in percent; None where there is
        no label.
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
@click.option("--split", default="val", show_default=True, help="Its split.")
@click.option("--image", "numbers", type=click.IntRange(min=0), multiple=True,
              help="Which one of the split, from 0; may be repeated.")  # fmt: skip
@options.iteration_numbers("1-6")
@options.figure
def main(model, images, data, split, numbers, iterations, out):
    """Draw class maps of images after several numbers of iterations."""
    from rnnseg.models.loading import load_model

    for path in (out, out.with_suffix(".csv")):
        check_writable(path)
    segmenter = load_model(model)
    if not segmenter.recurrent:
        raise UserError(f"{model} is feed-forward: expected a recurrent model")
    chosen = [*read_files(images), *read_split(segmenter, data, split, numbers)]
    if not chosen:
        raise UserError("no image to draw: name files, or give --data and --image")
    drawn, rows = [], []
    for example in chosen:
        maps = class_maps(segmenter, example.image, iterations)
        measured = measure(segmenter, example, maps)
        drawn.append((example, maps, measured))
        rows += measured
    save_grid(out, panels(drawn), [""] * len(drawn), segmenter.colors, segmenter.names)
    save_csv(out.with_suffix(".csv"), rows)
    print(table(rows))
    print(f"\nwrote {out} and {out.with_suffix('.csv')}")


def read_files(names: Sequence[str]) -> Iterator[Example]:
    """Images from files, folders or patterns."""
    from rnnseg.data.images import find_images, read_image

    for path in find_images(names):
        yield Example(path.stem, read_image(path))


def read_split(model, data: str | None, split: str, numbers: Sequence[int]) -> list[Example]:
    """Images of a data set with their labels, in the order of `numbers`.

    Raises:
      UserError: data without numbers or the other way round; other classes than the model's; or the
        split has fewer images.
    """
    from rnnseg.data import open_source
    from rnnseg.data.pipeline import evaluation_images
    from rnnseg.evaluation.evaluator import check_classes

    if bool(data) != bool(numbers):
        raise UserError("give --data and --image together, or neither")
    if not data:
        return []
    source = open_source(data)
    check_classes(model, source)
    count = source.require_split(split)
    if max(numbers) >= count:
        raise UserError(f"--image {max(numbers)}: expected 0 to {count - 1}, those of {split}")
    examples = evaluation_images(source, split)
    chosen = []
    for number in numbers:
        ((image, label, name),) = examples.skip(number).take(1).as_numpy_iterator()
        chosen.append(Example(name.decode(), image, label))
    return chosen


def class_maps(model, image: np.ndarray, iterations: Sequence[int]) -> dict[int, np.ndarray]:
    """The class maps of an image by number of iterations."""
    from rnnseg.inference.predictor import Predictor

    model.check_image(*image.shape[:2])
    every = enumerate(Predictor(model).every_iteration(image, max(iterations)), start=1)
    return {number: class_map for number, class_map in every if number in iterations}


def measure(model, example: Example, maps: dict[int, np.ndarray]) -> list[Row]:
    """What the maps of an image cost, and how they differ.

    Args:
      model: that made them.
      example: the image and its label.
      maps: by number of iterations.
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
    """The rows of the figure.

    Args:
      drawn: of every image itself, its maps by number of iterations, and its rows.
    """
    labelled = any(example.label is not None for example, *_ in drawn)
    grid, over = [], None
    for example, maps, measured in drawn:
        costs = [f"{row.gmacs:.2f} G" for row in measured]
        costs[0] += " multiply-adds"
        titles = [
            f"n = {row.iterations}\n{cost}" for row, cost in zip(measured, costs, strict=True)
        ]
        if over == costs:  # as in the row above
            titles = [""] * len(costs)
        first = over is None
        over = costs
        row = [Panel(example.image, "image" if first else "")]
        row += map(Panel, maps.values(), titles)
        if labelled:
            truth = example.label
            row.append(None if truth is None else Panel(truth, "ground truth" if first else ""))
        grid.append(row)
    return grid


def table(rows: Sequence[Row]) -> str:
    """All maps, as a table of Markdown."""
    lines = [
        "| image | iterations | multiply-adds G | changed % | right % |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        changed, right = (
            "" if value is None else f"{value:.2f}" for value in (row.changed, row.right)
        )
        lines.append(f"| {row.image} | {row.iterations} | {row.gmacs:.3f} | {changed} | {right} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
