"""Prints evaluations, costs, latencies and plans as tables; writes JSON files and curves."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnnseg import visualize
from rnnseg.budgets.budget import OperatingPoint
from rnnseg.budgets.planning import Plan
from rnnseg.budgets.profiles import Machine, Profile
from rnnseg.files import atomic_path

if TYPE_CHECKING:  # they load TensorFlow, which a plan does without
    from rnnseg.budgets.costs import Stage, StageCosts
    from rnnseg.evaluation.evaluator import Evaluation


def table(result: Evaluation) -> str:
    """Returns the scores by number of iterations, and the IoU of every class at a few of them."""
    lines = [
        f"{result.data}, {result.split}: {result.images} images; multiply-adds and "
        f"milliseconds of one of {result.image_size[1]}x{result.image_size[0]}, the most "
        "common size",
    ]
    if result.scales != (1,) or result.flip:
        scales = ", ".join(f"{scale:g}" for scale in result.scales)
        mirrored = ", each also mirrored" if result.flip else ""
        lines.append(f"logits averaged over scales {scales}{mirrored}")
    columns = [
        ("iterations", "d"),
        ("mIoU %", ".2f"),
        ("accuracy %", ".2f"),
        ("multiply-adds G", ".3f"),
        ("milliseconds", ".1f"),
    ]
    rows = zip(
        result.iterations,
        100 * result.miou,
        100 * result.pixel_accuracy,
        _giga(result.multiply_adds),
        result.milliseconds,
        strict=True,
    )
    lines += ["", *_table(columns, rows), "", *_class_lines(result)]
    return "\n".join(lines + _cityscapes_lines(result))


def _class_lines(result: Evaluation) -> list[str]:
    """Returns a table of every class's IoU at the first, the best and the last iteration."""
    # They show the gain of each class from the iterations; the JSON file has all of them.
    shown = sorted({0, int(result.miou.argmax()), len(result.iterations) - 1})
    width = max(5, *map(len, result.class_names)) + 14
    columns = [(f"{'IoU % at iterations':{width}s}", "s")]
    columns += [(f"{result.iterations[index]:6d}", ".2f") for index in shown]
    values = 100 * result.class_iou[shown]
    rows = [(f"  {name}", *values[:, each]) for each, name in enumerate(result.class_names)]
    return _table(columns, rows)


def _cityscapes_lines(result: Evaluation) -> list[str]:
    """Returns a table of the means of Cityscapes' scores; the JSON file has all of them."""
    if result.cityscapes is None:
        return []
    columns = [("iterations", "d"), *2 * [("     IoU", ".2f"), ("    iIoU", ".2f")]]
    rows = [
        (iterations, *(100 * value for value in scores.means.values()))
        for iterations, scores in zip(result.iterations, result.cityscapes, strict=True)
    ]
    title = "Cityscapes, %            classes          categories"
    return ["", title, *_table(columns, rows)]


def cost_table(
    costs: StageCosts, stages: Mapping[str, Stage] | None, iterations: Sequence[int]
) -> str:
    """Returns the cost of a prediction by stage, and by number of iterations.

    Args:
      costs: the multiply-adds.
      stages: the parameters and memory; None at several scales, where they have no meaning.
      iterations: the numbers of iterations.
    """
    columns = [("stage  ", "s"), ("multiply-adds G", ".3f")]
    rows = [(name, count / 1e9) for name, count in dataclasses.asdict(costs).items()]
    if stages:
        columns += [("parameters M", ".3f"), ("memory MB", ".1f")]
        rows = [(*row, *_millions(stages[row[0]])) for row in rows]
        # The stages run one after the other; the tensors passed from one to the next count in both.
        parameters, memory = zip(*map(_millions, stages.values()), strict=True)
        rows.append(("all", None, sum(parameters), max(memory)))
    totals = zip(iterations, _giga(map(costs.total, iterations)), strict=True)
    lines = _table(columns, rows)
    lines += ["", *_table([("iterations", "d"), ("multiply-adds G", ".3f")], totals)]
    return "\n".join(lines)


def cost_json(
    costs: StageCosts, stages: Mapping[str, Stage] | None, iterations: Sequence[int]
) -> dict[str, Any]:
    """Returns the content of `cost_table` as plain numbers, without rounding."""
    return {
        "multiply_adds": dataclasses.asdict(costs),
        "stages": {name: dataclasses.asdict(stage) for name, stage in (stages or {}).items()},
        "total_multiply_adds": {number: costs.total(number) for number in iterations},
    }


def save_json(path: str | os.PathLike, content: Mapping[str, Any]) -> None:
    """Writes plain values, as from `Evaluation.to_json` or `cost_json`, to a file."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def save_scores(path: str | os.PathLike, result: Evaluation) -> None:
    """Writes an evaluation and the machine of its milliseconds, for `rnnseg.budgets.planning`."""
    save_json(path, result.to_json() | {"machine": dataclasses.asdict(Machine.this())})


def profile_table(
    profile: Profile, costs: Sequence[StageCosts], stages: Sequence[Mapping[str, Stage]]
) -> str:
    """Returns the latency, multiply-adds and memory of stages and whole predictions, by size.

    Args:
      profile: the latency.
      costs: the multiply-adds at each size of the profile.
      stages: the memory at each size of the profile.
    """
    lines = [
        f"{profile.machine}, TensorFlow {profile.tensorflow}; medians, one image at a time",
    ]
    for size, cost, stage in zip(profile.sizes, costs, stages, strict=True):
        columns = [
            (f"{f'{size.height}x{size.width}':15s}", "s"),
            ("milliseconds", ".2f"),
            ("multiply-adds G", ".3f"),
            ("memory MB", ".1f"),
        ]
        counted = dataclasses.asdict(cost)
        memory = {name: stage[name].memory / 1e6 for name in counted}
        rows = [
            (name, time, counted[name] / 1e9, memory[name]) for name, time in size.stages.items()
        ]
        rows += [
            (f"n = {number}", time, cost.total(number) / 1e9, max(memory.values()))
            for number, time in size.predictions.items()
        ]
        start, each = size.line
        lines += ["", *_table(columns, rows)]
        lines.append(f"n iterations take {start:.2f} ms + n * {each:.2f} ms")
    return "\n".join(lines)


def plan_table(plan: Plan) -> str:
    """Returns the frontier of several models, the best point within the budget, and the next."""
    first, kind, unit = plan.scores[0], plan.budget.kind, plan.budget.unit
    lines = [
        f"{first.data}, {first.split}: {first.images} images, most often "
        f"{first.image_size[1]}x{first.image_size[0]}",
    ]
    width = max(5, *(len(each.model) for each in plan.scores))
    columns = [
        (f"  {'model':{width}s}", "s"),
        ("iterations", "d"),
        ("mIoU %", ".2f"),
        ("multiply-adds G", ".3f"),
    ]
    if kind == "milliseconds":
        columns.append(("milliseconds", ".1f"))
        lines.append(f"milliseconds of {first.machine}")
        for scores in plan.scores:
            source = "profile" if scores.profiled else "evaluation"
            lines.append(f"  {scores.model}: from its {source}")
    rows = []
    for point in plan.frontier:
        mark = "*" if point is plan.best else " "
        row = (f"{mark} {point.model}", point.iterations, 100 * point.miou, point.gmacs)
        rows.append((*row, point.milliseconds)[: len(columns)])
    lines += ["", "points that no other beats:", *_table(columns, rows)]
    lines += ["", f"within {plan.budget}: {_point(plan.best, kind, unit)}"]
    beyond = plan.frontier[plan.frontier.index(plan.best) + 1 :]
    # The gain of a slightly larger budget, and of an unlimited budget.
    for point in dict.fromkeys((*beyond[:1], *beyond[-1:])):
        gain = 100 * (point.miou - plan.best.miou)
        lines.append(f"{gain:+.2f} points for more: {_point(point, kind, unit)}")
    if not beyond:
        lines.append("a larger budget would gain nothing")
    return "\n".join(lines)


def _point(point: OperatingPoint, kind: str, unit: str) -> str:
    return f"{point}: mIoU {100 * point.miou:.2f} % at {getattr(point, kind):.4g} {unit}"


def save_curve(path: str | os.PathLike, name: str, result: Evaluation, trained: int) -> None:
    """Draws the speed-accuracy curve of one model.

    Args:
      path: the PNG file to write.
      name: the name of the model in the legend.
      result: the evaluation of the model.
      trained: the number of iterations in training, which is marked.
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


def _table(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence]) -> list[str]:
    """Formats a table whose columns are as wide as their headers.

    Args:
      columns: the header and the format of each column, such as "d" or ".2f". Text, "s", is aligned
        to the left.
      rows: one value per column; NaN is shown as "-", None leaves the cell empty.

    Returns:
      The lines, the header first.
    """
    lines = ["  ".join(header for header, _ in columns)]
    for row in rows:
        cells = []
        for value, (header, form) in zip(row, columns, strict=True):
            if value is None or value != value:
                text = "" if value is None else "-"
            else:
                text = format(value, form)
            cells.append(text.ljust(len(header)) if form == "s" else text.rjust(len(header)))
        lines.append("  ".join(cells))
    return lines


def _giga(counts: Iterable[int]) -> list[float]:
    return [count / 1e9 for count in counts]


def _millions(stage: Stage) -> tuple[float, float]:
    """Returns the parameters in millions and the memory in megabytes."""
    return stage.parameters / 1e6, stage.memory / 1e6
