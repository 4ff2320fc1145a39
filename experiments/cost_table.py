"""The paper's Table 3: multiply-adds of the recurrence and of feed-forward systems.

    python -m experiments.cost_table --out cost_table

Counts the multiply-adds of systems with ResNet-101 on images of 513x513 pixels with 21 classes, at
a single scale and at the paper's six scales, each also mirrored. Of the recurrence all is counted
as published: the loop-invariant part of an iteration is counted at every iteration. Prints the
counts beside the paper's and writes OUT.csv and OUT.png. Needs no data and no weights.

The paper counts 61.1 G for one iteration and 6.6 for each further one, and 40 to 100 % more for
feed-forward systems of the same stride. It has no counts of FCN, CRF-RNN, DeepLab and SDN+, which
its Tables 1 and 2 compare; their rows come last. The fields of CRF-RNN and DeepLab are counted as
they run here, on a window of a canvas at stride 4.

Results: the rows of the recurrence agree within 1 %. Those of the feed-forward systems at stride 16
do not: with their published heads they cost 16 and 23 % more than one iteration
(`docs/experiments/budgets.md` discusses the difference).
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import click
import numpy as np

from rnnseg.cli.base import Command

from . import options
from .drawing import save_dots
from .tables import SCALES, ResultFiles, markdown_table


class Case(NamedTuple):
    """A system whose multiply-adds are counted.

    Attributes:
      kind: a name of `rnnseg.models.registry.MODELS`.
      stride: its output stride.
      iterations: the number of iterations; 1 for a feed-forward system.
      single: the paper's count at a single scale, in 10^9; None if it has none.
      multi: the paper's count at several scales, likewise.
    """

    kind: str
    stride: int
    iterations: int = 1
    single: float | None = None
    multi: float | None = None


CASES = (
    # Table 3.
    Case("deeplabv3", 16, 1, 85.6, 1540),
    Case("deeplabv3", 8, 1, 276, 4870),
    Case("pspnet", 16, 1, 122, 1740),
    Case("pspnet", 8, 1, 260, 4090),
    Case("recurrent", 16, 1, 61.1, 1040),
    Case("recurrent", 16, 2, 67.7, 1160),
    Case("recurrent", 16, 3, 74.4, 1269),
    Case("recurrent", 16, 4, 81.0, 1380),
    Case("recurrent", 16, 5, 87.7, 1500),
    Case("recurrent", 16, 6, 94.3, 1610),
    # The other systems of Tables 1 and 2, at their published strides and numbers of steps.
    Case("fcn", 32),
    Case("crf_rnn", 32, 11),
    Case("deeplab", 8, 11),
    Case("sdn", 16),
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of the table: multiply-adds per image, in 10^9.

    Attributes:
      system: a name of `rnnseg.models.registry.MODELS`.
      setting: its output stride and its number of iterations, if it has several; of the
        recurrence, at stride 16, its number of iterations.
      single: at one scale.
      single_paper: at one scale, by the paper; None if it has no such count.
      multi: at all scales, each also mirrored.
      multi_paper: at all scales, by the paper, likewise.
    """

    system: str
    setting: str
    single: float
    single_paper: float | None
    multi: float
    multi_paper: float | None


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
    series = {
        "single-scale": [row.single for row in rows],
        "multi-scale": [row.multi for row in rows],
        "paper: single-scale": [row.single_paper for row in rows],
        "paper: multi-scale": [row.multi_paper for row in rows],
    }
    save_dots(
        path,
        [f"{row.system}, {row.setting}" for row in rows],
        # None becomes NaN, which is not drawn.
        {name: np.array(values, float) for name, values in series.items()},
        "multiply-adds per image of 513x513 (G)",
        xscale="log",
    )


def count() -> list[Row]:
    """Counts the multiply-adds of all cases, in their order."""
    counted, rows = {}, []
    for case in CASES:
        built = case.kind, case.stride
        if built not in counted:
            counted[built] = _costs(*built)
        ours = [costs.total(case.iterations) / 1e9 for costs in counted[built]]
        rows.append(Row(case.kind, _setting(case), ours[0], case.single, ours[1], case.multi))
    return rows


def _costs(kind: str, stride: int):
    """Returns the `StageCosts` of a kind of model, at one scale and at all scales."""
    from rnnseg.evaluation.multi_scale import multi_scale_costs
    from rnnseg.models.registry import MODELS

    own = {}
    if kind == "recurrent":  # that of the paper
        own = {"canvas_stride": 16, "hidden_channels": (512, 256)}
    model = MODELS[kind](21, encoder="resnet101", encoder_weights=None, output_stride=stride, **own)
    costs = [
        multi_scale_costs(model, 513, 513, *each) for each in (((1.0,), False), (SCALES, True))
    ]
    return [each.as_published() for each in costs] if own else costs


def _setting(case: Case) -> str:
    iterations = f"{case.iterations} iteration{'s' if case.iterations > 1 else ''}"
    if case.kind == "recurrent":
        return iterations
    return f"stride {case.stride}" + (f", {iterations}" if case.iterations > 1 else "")


def table(rows: Sequence[Row]) -> str:
    """Returns all rows as a Markdown table."""
    titles = ["system", "stride or iterations", "G single-scale", "paper", "G multi-scale", "paper"]
    entries = [
        (
            row.system,
            row.setting,
            f"{row.single:.1f}",
            _published(row.single_paper),
            f"{row.multi:.0f}",
            _published(row.multi_paper),
        )
        for row in rows
    ]
    return markdown_table(titles, entries)


def _published(count: float | None) -> str:
    return "–" if count is None else f"{count:g}"


if __name__ == "__main__":
    main()
