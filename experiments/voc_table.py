r"""Prints the paper's Table 1 for models of one's own: IoU of every class of PASCAL VOC.

    python -m experiments.voc_table runs/voc runs/voc_deeplabv3 --data data/voc \
        --iterations 1,3,6,12 --out voc_table

Evaluates models after several numbers of iterations, by multi-scale evaluation as in the paper: six
scales, each mirrored too, with the mean of the logits. Prints every row of the paper, with those of
the given models of the same system before it, and says which of the paper's systems have no model.
OUT.csv has the same numbers, one line per row of the paper's table, and OUT.png draws them.

The paper found its recurrence, with a ResNet-101 trained on COCO, within 5 to 6 points of DeepLabv3
and PSPNet, and worst against them on fine shapes: bicycles, chairs. Its caption says that the
figures are of VOC's validation split, its text that they are of the test split. Its mIOU is over 21
classes, among them the background, which has no column.

Results on a subset of 231 images, with a MobileNetV2 trained on COCO and VOC: several scales raise
the mean of the classes that occur by a point at six iterations and by three at twelve, where the
curve of a single scale has fallen. DeepLabv3 on the same features loses 2.5 points by them and ends
half a point below. Animals come nearest to the paper's figures, chairs and bicycles are as poor as
there, and classes that one or two images show have no meaning (`docs/experiments/paper.md`).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import click
import numpy as np

from rnnseg.cli.base import Command
from rnnseg.data.tables import PASCAL_VOC
from rnnseg.evaluation import metrics

from . import options
from .drawing import save_dots
from .paper_systems import beside_published, without_model
from .runs import evaluate_all
from .tables import SCALES, ResultFiles, markdown_table

# Table 1: IoU in percent of the 20 classes in VOC's order, without background, and mIOU.
PUBLISHED: Mapping[str, tuple[float, ...]] = {
    "CRF-RNN": (
        90.4, 55.3, 88.7, 68.4, 69.8, 88.3, 82.4, 85.1, 32.6, 78.5, 64.4,
        79.6, 81.9, 86.4, 81.8, 58.6, 82.4, 53.5, 77.4, 70.1, 74.7,
    ),
    "DeepLab": (
        92.6, 60.4, 91.6, 63.4, 76.3, 95.0, 88.4, 92.6, 32.7, 88.5, 67.6,
        89.6, 92.1, 87.0, 87.4, 63.3, 88.3, 60.0, 86.8, 74.5, 79.7,
    ),
    "PSPNet": (
        95.8, 72.7, 95.0, 78.9, 84.4, 94.7, 92.0, 95.7, 43.1, 91.0, 80.3,
        91.3, 96.3, 92.3, 90.1, 71.5, 94.4, 66.9, 88.8, 82.0, 85.4,
    ),
    "DeepLabv3": (
        96.4, 76.6, 92.7, 77.8, 87.6, 96.7, 90.2, 95.4, 47.5, 93.4, 76.3,
        91.4, 97.2, 91.0, 92.1, 71.3, 90.9, 68.9, 90.8, 79.3, 85.7,
    ),
    "SDN+": (
        96.9, 78.6, 96.0, 79.6, 84.1, 97.1, 91.9, 96.6, 48.5, 94.3, 78.9,
        93.6, 95.5, 92.1, 91.1, 75.0, 93.8, 64.8, 89.0, 84.6, 86.6,
    ),
    "RNN, n = 6": (
        91.3, 70.1, 91.5, 63.7, 77.2, 92.5, 90.6, 93.6, 36.8, 88.2, 62.2,
        89.7, 92.4, 85.8, 87.6, 67.2, 89.8, 61.8, 84.4, 73.8, 80.3,
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of the table; percents, NaN if unknown or if the class does not occur.

    Attributes:
      method: the name of the method.
      class_iou: the IoU of every class, the background first.
      miou: the mIoU as usually defined: a class that does not occur counts as zero as soon as it is
        predicted.
      miou_occurring: the mIoU over the classes that occur.
    """

    method: str
    class_iou: tuple[float, ...]
    miou: float
    miou_occurring: float


@click.command(cls=Command)
@options.models_and_data
@options.iteration_numbers("1,3,6,12")
@options.table("voc_table")
def main(models, data, split, iterations, out):
    """Print IoU by class on VOC, at several scales and mirrored, beside the paper's Table 1."""
    files = ResultFiles.named(out)
    results = evaluate_all(models, data, split, iterations, PASCAL_VOC.names, SCALES, flip=True)
    own = [(each.kind, row) for name, each in results.items() for row in rows_of(name, each.result)]
    rows = beside_published(own, published_rows())
    first = next(iter(results.values())).result
    absent = first.confusion[0].sum(axis=1) == 0
    print(f"\n{first.data}, {split}; images: {first.images}\n\n{table(rows, absent)}\n")
    print(without_model({kind for kind, _ in own}, PUBLISHED))
    files.save(records(rows), lambda path: save_plot(path, rows))


def rows_of(name: str, result) -> list[Row]:
    """Returns one row per number of iterations.

    Args:
      name: the name of the model.
      result: its `Evaluation`.
    """
    miou = 100 * result.miou
    occurring = 100 * metrics.mean_iou_occurring(result.confusion)
    return [
        Row(
            f"{name}, n = {iterations}",
            tuple((100 * result.class_iou[index]).tolist()),
            float(miou[index]),
            float(occurring[index]),
        )
        for index, iterations in enumerate(result.iterations)
    ]


def published_rows() -> dict[str, Row]:
    """Returns the rows of the paper by system, in which all classes occur."""
    return {
        name: Row(f"paper: {name}", (math.nan, *values[:-1]), values[-1], values[-1])
        for name, values in PUBLISHED.items()
    }


def records(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Returns the lines of the CSV file, one per row; unknown numbers are empty."""
    return [
        {
            "method": row.method,
            **dict(zip(PASCAL_VOC.names, map(_known, row.class_iou), strict=True)),
            "miou": row.miou,
            "miou_occurring": row.miou_occurring,
        }
        for row in rows
    ]


def _known(value: float) -> float | str:
    return "" if math.isnan(value) else value


def save_plot(path, rows: Sequence[Row]) -> None:
    """Draws all rows as dots, one line per class."""
    save_dots(
        path,
        [*PASCAL_VOC.names, "mean"],
        {row.method: [*row.class_iou, row.miou_occurring] for row in rows},
        "IoU (%); the mean is of the classes that occur",
    )


def table(rows: Sequence[Row], absent: np.ndarray) -> str:
    """Returns a Markdown table with one line per class and one column per row.

    Args:
      rows: the rows.
      absent: True for every class that does not occur in the data, and is marked, `(classes,)`.
    """
    entries = [
        (f"{name} (absent)" if missing else name, [row.class_iou[index] for row in rows])
        for index, (name, missing) in enumerate(zip(PASCAL_VOC.names, absent, strict=True))
    ]
    entries.append(("mean", [row.miou for row in rows]))
    entries.append(("mean of those that occur", [row.miou_occurring for row in rows]))
    entries = [
        [name, *("–" if math.isnan(value) else f"{value:.1f}" for value in values)]
        for name, values in entries
    ]
    return markdown_table(["class", *(row.method for row in rows)], entries)


if __name__ == "__main__":
    main()
