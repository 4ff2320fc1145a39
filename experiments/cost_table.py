"""The paper's Table 3: multiply-adds of the recurrence and of feed-forward systems.

    python -m experiments.cost_table --out cost_table

Counts the multiply-adds of systems with ResNet-101 on images of 513x513 pixels with 21 classes, at
a single scale and at the paper's six scales, each also mirrored. All is counted as published: the
loop-invariant part of an iteration is counted at every iteration. Prints the counts beside the
paper's and writes OUT.csv and OUT.png. Needs no data and no weights.

The paper counts 61.1 G for one iteration and 6.6 for each further one, and 40 to 100 % more for
feed-forward systems of the same stride.

Results: the rows of the recurrence agree within 1 %. Those of the feed-forward systems at stride 16
do not: with their published heads they cost 16 and 23 % more than one iteration
(`docs/experiments/budgets.md` discusses the difference).
"""

import dataclasses
from collections.abc import Sequence

import click

from rnnseg.cli.base import Command

from . import options
from .drawing import save_dots
from .tables import SCALES, ResultFiles, markdown_table

# Table 3: the model, its output stride or number of iterations, and its multiply-adds in G at a
# single scale and at several.
PUBLISHED = (
    ("deeplabv3", 16, 85.6, 1540),
    ("deeplabv3", 8, 276, 4870),
    ("pspnet", 16, 122, 1740),
    ("pspnet", 8, 260, 4090),
    ("recurrent", 1, 61.1, 1040),
    ("recurrent", 2, 67.7, 1160),
    ("recurrent", 3, 74.4, 1269),
    ("recurrent", 4, 81.0, 1380),
    ("recurrent", 5, 87.7, 1500),
    ("recurrent", 6, 94.3, 1610),
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of the table: multiply-adds per image, in 10^9.

    Attributes:
      system: a name of `rnnseg.models.MODELS`.
      setting: its output stride, or its number of iterations at stride 16.
      single: at one scale.
      single_paper: at one scale, by the paper.
      multi: at all scales, each also mirrored.
      multi_paper: at all scales, by the paper.
    """

    system: str
    setting: str
    single: float
    single_paper: float
    multi: float
    multi_paper: float


@click.command(cls=Command)
@options.table("cost_table")
def main(out):
    """Print the multiply-adds of the paper's Table 3 beside ours."""
    files = ResultFiles.named(out)
    rows = count()
    print(f"{table(rows)}\n")
    files.save(rows, lambda path: save_plot(path, rows))


def save_plot(path, rows: Sequence[Row]) -> None:
    """Draws all rows as dots."""
    save_dots(
        path,
        [f"{row.system}, {row.setting}" for row in rows],
        {
            "single-scale": [row.single for row in rows],
            "multi-scale": [row.multi for row in rows],
            "paper: single-scale": [row.single_paper for row in rows],
            "paper: multi-scale": [row.multi_paper for row in rows],
        },
        "multiply-adds per image of 513x513 (G)",
        xscale="log",
    )


def count() -> list[Row]:
    """Counts the multiply-adds of all rows, in the paper's order."""
    from rnnseg.evaluation.multi_scale import multi_scale_costs
    from rnnseg.models.registry import MODELS

    counted, rows = {}, []
    for kind, number, single, multi in PUBLISHED:
        stride, iterations = (16, number) if kind == "recurrent" else (number, 1)
        if (kind, stride) not in counted:
            # Those of the paper.
            own = {}
            if kind == "recurrent":
                own = {"canvas_stride": 16, "hidden_channels": (512, 256)}
            model = MODELS[kind](
                21, encoder="resnet101", encoder_weights=None, output_stride=stride, **own
            )
            counted[kind, stride] = [
                multi_scale_costs(model, 513, 513, *each).as_published()
                for each in (((1.0,), False), (SCALES, True))
            ]
        ours = [costs.total(iterations) / 1e9 for costs in counted[kind, stride]]
        setting = f"stride {number}"
        if kind == "recurrent":
            setting = f"{number} iteration{'s' if number > 1 else ''}"
        rows.append(Row(kind, setting, ours[0], single, ours[1], multi))
    return rows


def table(rows: Sequence[Row]) -> str:
    """Returns all rows as a Markdown table."""
    titles = ["system", "stride or iterations", "G single-scale", "paper", "G multi-scale", "paper"]
    entries = [
        (
            row.system,
            row.setting,
            f"{row.single:.1f}",
            f"{row.single_paper:g}",
            f"{row.multi:.0f}",
            row.multi_paper,
        )
        for row in rows
    ]
    return markdown_table(titles, entries)


if __name__ == "__main__":
    main()
