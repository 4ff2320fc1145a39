"""The recurrence beside feed-forward systems: the paper's Figure 5.

    python -m experiments.comparison --recipe camvid --data data/camvid --out runs/compared

Trains every system of `SYSTEMS` with the same recipe, encoder weights, epochs and seed (each in a
folder of its own in `--out`; what is there already is not trained again, and a killed training goes
on), evaluates all of them at output strides 16 and 8, the recurrent ones after 1 to 12 iterations,
and prints one table; below it the costs of the paper's Table 3 beside those counted here
(`experiments.cost_table`). `comparison.csv` and `comparison.png` in `--out` hold the first.
Milliseconds are measured in the end, all predictions in turns, on one image of the most common
size; of a system at one stride they are those of the line through its medians.

At another stride than the one of training the weights are the same and kernels reach as many
pixels, which is how DeepLabv3 gets its points at stride 8 in the paper's figure.

The paper's figure (without numbers) shows its recurrence on a par with feed-forward systems at the
same cost, and its curve rising from the first iteration to the last.

Found on CamVid and a subset of VOC: at equal cost the feed-forward systems are one to three points
ahead; below what they cost, and between their strides, there is nothing but the recurrence. Context
beside the features brings it nearer, by twelve points on VOC (`docs/experiments/comparison.md`).
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
from .tables import save_csv

# What each adds to the recipe.
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
      system: of `SYSTEMS`.
      output_stride: in pixels.
      iterations: 1 for a feed-forward system.
      miou: in percent, as usually defined: a class that does not occur counts as zero as soon as
        it is predicted.
      miou_occurring: over the classes that occur in the split.
      gmacs: multiply-adds of an image of the most common size, in 10^9.
      milliseconds: of a prediction from such an image to its class map.
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
@click.option("--seed", type=int, default=1, show_default=True, help="Of all trainings.")
def main(recipe, data, weights, seed, out):
    """Train and evaluate the recurrence and its rivals."""
    values = configuration.load_recipe(recipe) | {"data": data, "seed": seed}
    if weights:
        values["encoder_weights"] = weights
    points = []
    for system, changes in SYSTEMS.items():
        config = configuration.TrainingConfig(**(values | dict(changes)))
        points += compare(system, config, out / folder_name(system))
    rows = timed(points)
    save_csv(out / "comparison.csv", rows)
    save_plot(out / "comparison.png", rows)
    print(f"\n{table(rows)}\n\nwrote {out}/comparison.csv and {out}/comparison.png")
    print(f"\nTable 3, ResNet-101 at 513x513\n\n{cost_table.table(cost_table.count())}")


def folder_name(system: str) -> str:
    """What a system's run is called."""
    return system.lower().replace(", ", "_").replace(" ", "_")


def compare(
    system: str, config: configuration.TrainingConfig, folder: str | os.PathLike
) -> list[tuple[Row, Callable]]:
    """Trains a system, unless it is there, and evaluates its last model at all strides.

    Args:
      system: its name.
      config: its training.
      folder: of its run.

    Returns:
      Its points, without their times, each with a call that makes one such prediction.
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
    """The rows of all points with the time of a prediction.

    They take turns, so that whatever else the machine does meets all of them alike; those of one
    system at one stride are on a line.
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
    """All points, as a table of Markdown."""
    lines = [
        "| system | output stride | iterations | mIoU % | of classes that occur | multiply-adds G "
        "| milliseconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.system} | {row.output_stride} | {row.iterations} | {row.miou:.2f} | "
        f"{row.miou_occurring:.2f} | {row.gmacs:.3f} | {row.milliseconds:.1f} |"
        for row in rows
    ]
    return "\n".join(lines)


def save_plot(path: str | os.PathLike, rows: Iterable[Row]) -> None:
    """Draws mIoU of the classes that occur against both costs, one line a system and stride."""
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
