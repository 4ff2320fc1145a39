"""What evaluations, costs, times and plans look like: tables, JSON files, a curve."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnnseg import visualize
from rnnseg.budgets.budget import OperatingPoint
from rnnseg.budgets.planning import Plan
from rnnseg.budgets.profiles import Machine, Profile
from rnnseg.files import atomic_path

if TYPE_CHECKING:  # they load TensorFlow, which a plan has no need of
    from rnnseg.budgets.costs import Stage, StageCosts
    from rnnseg.evaluation.evaluator import Evaluation


def table(result: Evaluation) -> str:
    """The scores by number of iterations, and the IoU of every class at the best of them."""
    lines = [
        f"{result.data}, {result.split}: {result.images} images; multiply-adds and "
        f"milliseconds of one of {result.image_size[1]}x{result.image_size[0]}, the most "
        "common size",
    ]
    if result.scales != (1,) or result.flip:
        scales = ", ".join(f"{scale:g}" for scale in result.scales)
        mirrored = ", each mirrored, too" if result.flip else ""
        lines.append(f"logits averaged over scales {scales}{mirrored}")
    lines += [
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
    return "\n".join(lines + _cityscapes_lines(result))


def _cityscapes_lines(result: Evaluation) -> list[str]:
    """The means of Cityscapes' official scores; all others are in the JSON."""
    if result.cityscapes is None:
        return []
    lines = [
        "",
        "Cityscapes, %            classes          categories",
        "iterations       IoU      iIoU       IoU      iIoU",
    ]
    for iterations, scores in zip(result.iterations, result.cityscapes, strict=True):
        means = (f"{100 * value:8.2f}" for value in scores.means.values())
        lines.append("  ".join([f"{iterations:10d}", *means]))
    return lines


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
    if stages:
        # One stage after the other; what goes from one to the next is counted in both.
        whole = (
            sum(stage.parameters for stage in stages.values()),
            max(stage.memory for stage in stages.values()),
        )
        lines.append(f"{'all':24s}  {whole[0] / 1e6:12.3f}  {whole[1] / 1e6:9.1f}")
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


def save_scores(path: str | os.PathLike, result: Evaluation) -> None:
    """Writes an evaluation, with the machine whose times it holds, for `rnnseg plan` and others."""
    save_json(path, result.to_json() | {"machine": dataclasses.asdict(Machine.this())})


def profile_table(
    profile: Profile, costs: Sequence[StageCosts], stages: Sequence[Mapping[str, Stage]]
) -> str:
    """Times of stages and whole predictions beside multiply-adds and memory, size by size.

    Args:
      profile: the times.
      costs: one for each of the profile's sizes.
      stages: likewise.
    """
    lines = [
        f"{profile.machine}, TensorFlow {profile.tensorflow}; medians, one image at a time",
    ]
    for size, cost, stage in zip(profile.sizes, costs, stages, strict=True):
        start, each = size.line
        title = f"{size.height}x{size.width}"
        lines += ["", f"{title:15s}  milliseconds  multiply-adds G  memory MB"]
        counted = dataclasses.asdict(cost)
        memory = {name: stage[name].memory / 1e6 for name in counted}
        lines += [
            f"{name:15s}  {time:12.2f}  {counted[name] / 1e9:15.3f}  {memory[name]:9.1f}"
            for name, time in size.stages.items()
        ]
        lines += [
            f"{f'n = {number}':15s}  {time:12.2f}  {cost.total(number) / 1e9:15.3f}  "
            f"{max(memory.values()):9.1f}"
            for number, time in size.predictions.items()
        ]
        lines.append(f"n iterations take {start:.2f} ms + n * {each:.2f} ms")
    return "\n".join(lines)


def plan_table(plan: Plan) -> str:
    """The frontier of several models, the best point within the budget, and what more would buy."""
    first, kind, unit = plan.scores[0], plan.budget.kind, plan.budget.unit
    timed = kind == "milliseconds"
    lines = [
        f"{first.data}, {first.split}: {first.images} images, most often "
        f"{first.image_size[1]}x{first.image_size[0]}",
    ]
    if timed:
        lines.append(f"milliseconds of {first.machine}")
        for scores in plan.scores:
            source = "profile" if scores.profiled else "evaluation"
            lines.append(f"  {scores.model}: from its {source}")
    width = max(5, *(len(each.model) for each in plan.scores))
    header = f"  {'model':{width}s}  iterations  mIoU %  multiply-adds G"
    lines += ["", "points that no other beats:", header + ("  milliseconds" if timed else "")]
    for point in plan.frontier:
        row = f"{'*' if point is plan.best else ' '} {point.model:{width}s}  {point.iterations:10d}"
        row += f"  {100 * point.miou:6.2f}  {point.gmacs:15.3f}"
        lines.append(row + (f"  {point.milliseconds:12.1f}" if timed else ""))
    lines += ["", f"within {plan.budget}: {_point(plan.best, kind, unit)}"]
    beyond = plan.frontier[plan.frontier.index(plan.best) + 1 :]
    # The next step, and all that there is to gain.
    for point in dict.fromkeys((*beyond[:1], *beyond[-1:])):
        gain = 100 * (point.miou - plan.best.miou)
        lines.append(f"{gain:+.2f} points for more: {_point(point, kind, unit)}")
    if not beyond:
        lines.append("more would buy nothing")
    return "\n".join(lines)


def _point(point: OperatingPoint, kind: str, unit: str) -> str:
    return f"{point}: mIoU {100 * point.miou:.2f} % at {getattr(point, kind):.4g} {unit}"


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
        trained_iterations=trained if len(result.iterations) > 1 else None,
    )
    visualize.save_curve(path, [curve])
