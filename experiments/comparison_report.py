"""The table and the figure of `experiments.comparison`."""

import dataclasses
import itertools
import math
import os
import statistics
from collections.abc import Iterable, Sequence

from rnnseg import visualize
from rnnseg.budgets.budget import OperatingPoint, frontier

from .drawing import label_axes
from .kept_runs import Score
from .tables import markdown_table

_COLORS = (*visualize.LINE_COLORS, "#999999")
_MARKERS = "osD^vPX"  # one fewer, so that more systems than there are colours differ, too
_COSTS = {"gmacs": "multiply-adds per image (G)", "milliseconds": "time per image (ms)"}


@dataclasses.dataclass(frozen=True)
class Row:
    """One point of the comparison: means over the seeds.

    Attributes:
      system: the name of the system.
      output_stride: the output stride, in image pixels.
      scale: the scale of the images.
      iterations: the number of iterations; 1 for a feed-forward system.
      seeds: the number of seeds.
      miou: in percent, as usually defined: a class that does not occur counts as zero as soon as
        it is predicted.
      miou_spread: its standard deviation over the seeds; NaN with a single seed.
      miou_occurring: in percent, over the classes that occur in the split.
      miou_occurring_spread: its standard deviation, likewise.
      gmacs: the multiply-adds of an image of the most common size, in 10^9.
      milliseconds: the time of a prediction, from such an image to its class map.
      on_frontier: True if no other point has as many multiply-adds or fewer and a higher mean IoU
        over the classes that occur, or fewer and an equal one.
    """

    system: str
    output_stride: int
    scale: float
    iterations: int
    seeds: int
    miou: float
    miou_spread: float
    miou_occurring: float
    miou_occurring_spread: float
    gmacs: float
    milliseconds: float = math.nan
    on_frontier: bool = False


def rows_of(
    system: str, output_stride: int, scale: float, scores: Sequence[Sequence[Score]]
) -> list[Row]:
    """Returns the points of a system at one output stride and scale, without their times.

    Args:
      system: the name of the system.
      output_stride: the output stride.
      scale: the scale of the images.
      scores: for each seed the scores by number of iterations.
    """
    rows = []
    for same in zip(*scores, strict=True):
        usual = mean_and_spread([100 * each.miou for each in same])
        occurring = mean_and_spread([100 * each.miou_occurring for each in same])
        first = same[0]
        place = (system, output_stride, scale, first.iterations, len(same))
        rows.append(Row(*place, *usual, *occurring, first.multiply_adds / 1e9))
    return rows


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Returns the mean and the sample standard deviation, NaN for a single value."""
    spread = statistics.stdev(values) if len(values) > 1 else math.nan
    return statistics.mean(values), spread


def marked(rows: Sequence[Row]) -> list[Row]:
    """Returns all rows, with the points on their common frontier of multiply-adds marked."""
    best = set(frontier_of(rows, "gmacs"))
    return [dataclasses.replace(row, on_frontier=number in best) for number, row in enumerate(rows)]


def frontier_of(rows: Sequence[Row], cost: str) -> list[int]:
    """Returns the indices of the rows that no other row beats, by rising cost.

    Args:
      rows: the points.
      cost: "gmacs" or "milliseconds".
    """
    points = [
        OperatingPoint(str(number), row.iterations, row.miou_occurring, row.gmacs, row.milliseconds)
        for number, row in enumerate(rows)
    ]
    return [int(point.model) for point in frontier(points, cost)]


def table(rows: Iterable[Row]) -> str:
    """Returns all points as a Markdown table; a star marks those on the frontier."""
    titles = ["system", "output stride", "scale", "iterations", "mIoU %", "of classes that occur",
              "multiply-adds G", "milliseconds", "frontier"]  # fmt: skip
    entries = [
        (
            row.system,
            row.output_stride,
            f"{row.scale:g}",
            row.iterations,
            _with_spread(row.miou, row.miou_spread),
            _with_spread(row.miou_occurring, row.miou_occurring_spread),
            f"{row.gmacs:.3f}",
            f"{row.milliseconds:.1f}",
            "*" if row.on_frontier else "",
        )
        for row in rows
    ]
    return markdown_table(titles, entries)


def _with_spread(mean: float, spread: float) -> str:
    return f"{mean:.2f}" if math.isnan(spread) else f"{mean:.2f} ± {spread:.2f}"


def save_plot(path: str | os.PathLike, rows: Sequence[Row]) -> None:
    """Draws mIoU of the classes that occur against both costs.

    A recurrent system has a curve through the points that none of its own beats, over all strides,
    scales and numbers of iterations; its other points are small. A feed-forward system has dots.
    Error bars are one standard deviation over the seeds, up and down.

    Args:
      path: the PNG file.
      rows: the points.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    systems = {}
    for row in rows:
        systems.setdefault(row.system, []).append(row)
    figure = visualize.new_figure((12, 5.4))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (cost, label) in zip(panels, _COSTS.items(), strict=True):
        styles = zip(itertools.cycle(_COLORS), itertools.cycle(_MARKERS))
        for (name, own), (color, marker) in zip(systems.items(), styles, strict=False):
            _draw(axes, name, own, cost, color, marker)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        label_axes(axes, label, "")
    panels[0].set_ylabel("mIoU (%)")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
    )
    visualize.save_figure(path, figure)


def _draw(axes, name: str, rows: Sequence[Row], cost: str, color: str, marker: str) -> None:
    """Draws the points of one system."""
    best, line = range(len(rows)), "none"
    if any(row.iterations > 1 for row in rows):
        best, line = frontier_of(rows, cost), "-"
    drawn = [rows[number] for number in best]
    others = [row for number, row in enumerate(rows) if number not in best]
    axes.plot(
        [getattr(row, cost) for row in others],
        [row.miou_occurring for row in others],
        ".",
        color=color,
        markersize=3,
        alpha=0.5,
    )
    spreads = [row.miou_occurring_spread for row in drawn]
    axes.errorbar(
        [getattr(row, cost) for row in drawn],
        [row.miou_occurring for row in drawn],
        None if any(map(math.isnan, spreads)) else spreads,
        color=color,
        linestyle=line,
        marker=marker,
        markersize=5,
        capsize=2,
        elinewidth=1,
        label=name,
    )
