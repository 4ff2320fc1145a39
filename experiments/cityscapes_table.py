"""The paper's Table 2: IoU and instance-level IoU of the classes and categories of Cityscapes.

    python -m experiments.cityscapes_table runs/cityscapes --data data/cityscapes --iterations 1-12

Prints the official scores (`rnnseg.evaluation.cityscapes`) of the given models by number of
iterations, at a single scale. Every row of the paper stands after those of the given models of the
same system; a line below says which of the paper's systems have no model. Writes the same table to
OUT.csv and draws it in OUT.png.

The paper trained on the 20,000 coarse labels alone and tested on the 3,475 fine labels of train and
val (`rnnseg prepare cityscapes --config coarse` builds both). It found its recurrence second best
in all four scores, and its rows agree. It does not name the scales of its evaluation.

There is no result yet that is comparable with the paper. `docs/experiments/paper.md` has the
scores of a model that was trained on six images and tested on a seventh; they show that the command
works and nothing else.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import click

from rnnseg.cli.base import Command
from rnnseg.data.tables import CITYSCAPES
from rnnseg.errors import UserError

from . import options
from .drawing import save_dots
from .paper_systems import beside_published, without_model
from .runs import evaluate_all
from .tables import ResultFiles, markdown_table


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of the table; the scores are means, in percent.

    Attributes:
      method: the name of the method.
      class_iou: the IoU of the classes.
      class_iiou: the iIoU of the classes with instances.
      category_iou: the IoU of the categories.
      category_iiou: the iIoU of the categories with instances.
    """

    method: str
    class_iou: float
    class_iiou: float
    category_iou: float
    category_iiou: float


SCORES = {
    "class_iou": "IoU classes",
    "class_iiou": "iIoU classes",
    "category_iou": "IoU categories",
    "category_iiou": "iIoU categories",
}
# Table 2.
PUBLISHED: Mapping[str, Row] = {
    name: Row(f"paper: {name}", *values)
    for name, values in {
        "FCN": (65.3, 41.7, 85.7, 70.1),
        "CRF-RNN": (62.5, 34.4, 82.7, 66.0),
        "DeepLab": (70.4, 42.6, 86.4, 67.7),
        "PSPNet": (78.4, 56.7, 90.6, 78.6),
        "RNN, n = 6": (72.7, 46.0, 87.6, 73.9),
    }.items()
}


@click.command(cls=Command)
@options.models_and_data
@options.iteration_numbers("1-12")
@options.table("cityscapes_table")
def main(models, data, split, iterations, out):
    """Print Cityscapes' official scores by number of iterations, beside the paper's Table 2."""
    files = ResultFiles.named(out)
    results = evaluate_all(models, data, split, iterations, CITYSCAPES.names)
    own = [(each.kind, row) for name, each in results.items() for row in rows_of(name, each.result)]
    rows = beside_published(own, PUBLISHED)
    first = next(iter(results.values())).result
    print(f"\n{first.data}, {split}; images: {first.images}\n\n{table(rows)}\n")
    print(without_model({kind for kind, _ in own}, PUBLISHED))
    values = {row.method: [getattr(row, part) for part in SCORES] for row in rows}
    files.save(rows, lambda path: save_dots(path, list(SCORES.values()), values, "mean (%)"))


def rows_of(name: str, result) -> list[Row]:
    """Returns one row per number of iterations.

    Args:
      name: the name of the model.
      result: the `Evaluation` of the model.

    Raises:
      UserError: the data have no instance ids.
    """
    if result.cityscapes is None:
        raise UserError(
            f"{result.data} has no instance ids, which iIoU requires: build the data with "
            "rnnseg prepare cityscapes"
        )
    return [
        Row(
            f"{name}, n = {iterations}",
            **{part: 100 * value for part, value in scores.means.items()},
        )
        for iterations, scores in zip(result.iterations, result.cityscapes, strict=True)
    ]


def table(rows: Sequence[Row]) -> str:
    """Returns all rows as a Markdown table."""
    entries = [
        [method, *("–" if math.isnan(value) else f"{value:.1f}" for value in values)]
        for method, *values in map(dataclasses.astuple, rows)
    ]
    return markdown_table(["method", *SCORES.values()], entries)


if __name__ == "__main__":
    main()
