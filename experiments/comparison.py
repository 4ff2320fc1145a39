"""The paper's Figure 5: the recurrence beside feed-forward systems.

    python -m experiments.comparison --recipe camvid --data data/camvid --out runs/compared

Trains every system of `SYSTEMS` with the same recipe, encoder weights, epochs and seed, each in a
subfolder of `--out`. A finished training is not repeated, and an interrupted training is resumed.
Then evaluates all systems at output strides 16 and 8, the recurrent ones after 1 to 12 iterations,
and prints one table, which is also written to `comparison.csv` and drawn in `comparison.png` in
`--out`. Below it stand the multiply-adds of the paper's Table 3, beside those counted here
(`experiments.cost_table`).

Milliseconds are measured at the end on one image of the most common size; all predictions take
turns. Those of one system at one stride are values of the line fitted to its medians.

Models are trained at one stride. At the other stride they have the same weights, and their kernels
are dilated so that they cover the same image pixels. In the paper's figure, DeepLabv3 has its
points at stride 8 in this way.

The paper's figure (without numbers) shows its recurrence on a par with feed-forward systems at the
same cost, with a curve that rises from the first iteration to the last.

Results on CamVid and a subset of VOC: at equal cost the feed-forward systems are one to three
points ahead. At lower costs, and between the costs of their two strides, there is only the
recurrence. Context beside the features narrows the gap, by twelve points on VOC
(`docs/experiments/comparison.md`).
"""

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

import click

from rnnseg.budgets.timing import line, take_turns
from rnnseg.cli.base import Command
from rnnseg.evaluation import metrics
from rnnseg.training import config as configuration

from . import cost_table, options
from .runs import recipe_options
from .tables import ResultFiles, markdown_table

# The options that each system adds to those of the recipe.
SYSTEMS: Mapping[str, Mapping[str, object]] = {
    "RNN": {"context_channels": 0},
    "RNN, context": {"context_channels": 64},
    "DeepLabv3": {"model": "deeplabv3"},
    "PSPNet": {"model": "pspnet"},
}
STRIDES = (16, 8)
ITERATIONS = tuple(range(1, 13))

_REPEATS = 15


@dataclasses.dataclass(frozen=True)
class Row:
    """One point of the comparison.

    Attributes:
      system: a name of `SYSTEMS`.
      output_stride: the output stride, in image pixels.
      iterations: the number of iterations; 1 for a feed-forward system.
      miou: in percent, as usually defined: a class that does not occur counts as zero as soon as
        it is predicted.
      miou_occurring: in percent, over the classes that occur in the split.
      gmacs: the multiply-adds of an image of the most common size, in 10^9.
      milliseconds: the time of a prediction, from such an image to its class map.
    """

    system: str
    output_stride: int
    iterations: int
    miou: float
    miou_occurring: float
    gmacs: float
    milliseconds: float = math.nan


@click.command(cls=Command)
@options.training
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of all trainings.")
def main(recipe, data, weights, seed, out):
    """Train and evaluate the recurrence and feed-forward systems."""
    values = recipe_options(recipe, data, weights) | {"seed": seed}
    files = ResultFiles(out / "comparison.csv", out / "comparison.png")
    points = []
    for system, changes in SYSTEMS.items():
        config = configuration.TrainingConfig(**(values | dict(changes)))
        points += compare(system, config, out / folder_name(system))
    rows = timed(points)
    print(f"\n{table(rows)}\n")
    files.save(rows, lambda path: save_plot(path, rows))
    print(f"\nTable 3, ResNet-101 at 513x513\n\n{cost_table.table(cost_table.count())}")


def folder_name(system: str) -> str:
    """Returns the name of the folder of a system's run."""
    return system.lower().replace(", ", "_").replace(" ", "_")


def compare(
    system: str, config: configuration.TrainingConfig, folder: str | os.PathLike
) -> list[tuple[Row, Callable]]:
    """Trains a system, unless its training is finished, and evaluates its last model.

    Args:
      system: the name of the system.
      config: the configuration of its training.
      folder: the folder of its run.

    Returns:
      The points at all strides, without their times, each with a call that makes such a prediction.
    """
    from rnnseg.data import open_source
    from rnnseg.evaluation.evaluator import Evaluator, image_of_size
    from rnnseg.models.loading import load_model
    from rnnseg.training.loop import train

    print(f"\n{system}", flush=True)
    run = train(config, folder, resume=True)
    source = open_source(config.data)
    trained = load_model(run.last)
    points = []
    for stride in STRIDES:
        same = stride == trained.output_stride
        model = trained if same else trained.at_output_stride(stride)
        numbers = ITERATIONS if model.recurrent else (1,)
        evaluator = Evaluator(model, numbers)
        result = evaluator(source, config.val_split)
        image = image_of_size(source, config.val_split, result.image_size)
        occurring = metrics.mean_iou_occurring(result.confusion)
        for index, iterations in enumerate(result.iterations):
            row = Row(
                system,
                stride,
                iterations,
                100 * float(result.miou[index]),
                100 * float(occurring[index]),
                result.multiply_adds[index] / 1e9,
            )
            points.append((row, functools.partial(evaluator.unroll.predict, image, iterations)))
    return points


def timed(points: Sequence[tuple[Row, Callable]]) -> list[Row]:
    """Measures the predictions of all points and returns their rows with the times.

    Predictions take turns, so that any other load of the machine affects all of them alike. The
    times of one system at one stride are values of the line fitted to its medians.

    Args:
      points: the points from `compare`.
    """
    seconds = take_turns([predict for _, predict in points], _REPEATS)
    groups = {}
    for (row, _), each in zip(points, seconds, strict=True):
        groups.setdefault((row.system, row.output_stride), {})[row.iterations] = 1000 * each
    lines = {key: line(times) for key, times in groups.items()}
    rows = []
    for row, _ in points:
        start, each = lines[row.system, row.output_stride]
        rows.append(dataclasses.replace(row, milliseconds=start + row.iterations * each))
    return rows


def table(rows: Iterable[Row]) -> str:
    """Returns all points as a Markdown table."""
    titles = ["system", "output stride", "iterations", "mIoU %", "of classes that occur",
              "multiply-adds G", "milliseconds"]  # fmt: skip
    entries = [
        (
            row.system,
            row.output_stride,
            row.iterations,
            f"{row.miou:.2f}",
            f"{row.miou_occurring:.2f}",
            f"{row.gmacs:.3f}",
            f"{row.milliseconds:.1f}",
        )
        for row in rows
    ]
    return markdown_table(titles, entries)


def save_plot(path: str | os.PathLike, rows: Iterable[Row]) -> None:
    """Draws mIoU of the classes that occur against both costs, one line per system and stride."""
    from rnnseg import visualize

    groups = {}
    for row in rows:
        groups.setdefault((row.system, row.output_stride), []).append(row)
    curves = [
        visualize.Curve(
            name=f"{system}, stride {stride}",
            iterations=[row.iterations for row in group],
            miou=[row.miou_occurring / 100 for row in group],
            multiply_adds=[round(1e9 * row.gmacs) for row in group],
            milliseconds=[row.milliseconds for row in group],
            trained_iterations=None,
            family=system,
        )
        for (system, stride), group in groups.items()
    ]
    visualize.save_curve(path, curves)


if __name__ == "__main__":
    main()
