"""What evaluations and costs look like: tables, JSON files, a curve."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from rnnseg import visualize
from rnnseg.budgets import Stage, StageCosts
from rnnseg.evaluation import Evaluation
from rnnseg.files import atomic_path


def table(result: Evaluation) -> str:
    """The scores by number of iterations, and the IoU of every class at the best of them."""
    lines = [
        f"{result.data}, {result.split}: {result.pictures} pictures; multiply-adds at "
        f"{result.picture_size[1]}x{result.picture_size[0]}, the most common size; milliseconds a "
        "picture, median",
        "",
        "iterations  mIoU %  accuracy %  multiply-adds G  milliseconds",
    ]
    for index, iterations in enumerate(result.iterations):
        lines.append(
            f"{iterations:10d}  {100 * result.miou[index]:6.2f}  "
            f"{100 * result.pixel_accuracy[index]:10.2f}  "
            f"{result.multiply_adds[index] / 1e9:15.3f}  {result.milliseconds[index]:12.1f}"
        )
    # First and last show what the iterations are worth to each class; all of them are in the JSON.
    shown = sorted({0, int(result.miou.argmax()), len(result.iterations) - 1})
    width = max(5, *map(len, result.class_names))
    lines += [
        "",
        "IoU % at iterations".ljust(width + 14)
        + "".join(f"{result.iterations[index]:8d}" for index in shown),
    ]
    for number, name in enumerate(result.class_names):
        values = (100 * result.class_iou[index, number] for index in shown)
        lines.append(
            f"  {name}".ljust(max(width + 14, 19))
            + "".join("       -" if value != value else f"{value:8.2f}" for value in values)
        )
    return "\n".join(lines)


def cost_table(
    costs: StageCosts, stages: Mapping[str, Stage] | None, iterations: Sequence[int]
) -> str:
    """What a prediction costs, by stage and by number of iterations.

    Args:
      costs: multiply-adds.
      stages: parameters and memory; None where they would mean nothing, at several scales.
      iterations: numbers of iterations.
    """
    lines = ["stage    multiply-adds G" + ("  parameters M  memory MB" if stages else "")]
    for name, count in dataclasses.asdict(costs).items():
        line = f"{name:8s} {count / 1e9:15.3f}"
        if stages:
            line += f"  {stages[name].parameters / 1e6:12.3f}  {stages[name].memory / 1e6:9.1f}"
        lines.append(line)
    lines += ["", "iterations  multiply-adds G"]
    lines += [f"{number:10d}  {costs.total(number) / 1e9:15.3f}" for number in iterations]
    return "\n".join(lines)


def cost_json(
    costs: StageCosts, stages: Mapping[str, Stage] | None, iterations: Sequence[int]
) -> dict[str, Any]:
    """The same as a dictionary of plain numbers."""
    return {
        "multiply_adds": dataclasses.asdict(costs),
        "stages": {name: dataclasses.asdict(stage) for name, stage in (stages or {}).items()},
        "total_multiply_adds": {number: costs.total(number) for number in iterations},
    }


def save_json(path: str | os.PathLike, content: Mapping[str, Any]) -> None:
    """Writes what `Evaluation.to_json` or `cost_json` gives."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def save_curve(path: str | os.PathLike, name: str, result: Evaluation, trained: int) -> None:
    """Draws the speed-accuracy curve of one model.

    Args:
      path: PNG file.
      name: what the legend calls the model.
      result: its evaluation.
      trained: the number of iterations it was trained with, which gets a mark.
    """
    curve = visualize.Curve(
        name=name,
        iterations=result.iterations,
        miou=tuple(map(float, result.miou)),
        multiply_adds=result.multiply_adds,
        milliseconds=result.milliseconds,
        trained_iterations=trained,
    )
    visualize.save_curve(path, [curve])
