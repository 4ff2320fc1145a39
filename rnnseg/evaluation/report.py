"""Prints evaluations, costs, latencies and plans as tables; writes JSON files and curves."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnseg import visualize
from rnnseg.budgets.budget import OperatingPoint
from rnnseg.budgets.planning import Plan, Scores
from rnnseg.budgets.profiles import Machine, Profile
from rnnseg.budgets.timing import Latency
from rnnseg.files import atomic_path
from rnnseg.runtime.file_model import FileCosts

if TYPE_CHECKING:  # they load TensorFlow, which a plan does without
    from rnnseg.budgets.costs import Stage, StageCosts
    from rnnseg.evaluation.evaluator import Evaluation

_STAGES = ("encode", "prepare", "refine", "read")


def table(*results: Evaluation) -> str:
    """Returns the scores by number of iterations, and the IoU of every class at a few of them.

    Args:
      *results: an evaluation; or several of the same images at different scales.
    """
    first = results[0]
    lines = [
        f"{first.data}, {first.split}: {first.images} images; multiply-adds and "
        f"milliseconds of one of {first.image_size[0]}x{first.image_size[1]}, the most "
        "common size",
    ]
    if first.scale is None:
        scales = ", ".join(f"{scale:g}" for scale in first.scales)
        mirrored = ", each also mirrored" if first.flip else ""
        lines.append(f"logits averaged over scales {scales}{mirrored}")
    columns = [
        ("iterations", "d"),
        ("mIoU %", ".2f"),
        ("accuracy %", ".2f"),
        ("multiply-adds G", ".3f"),
        ("milliseconds", ".1f"),
    ]
    rows = []
    for result in results:
        rows += _with_scale(
            result,
            zip(
                result.iterations,
                100 * result.miou,
                100 * result.pixel_accuracy,
                _giga(result.multiply_adds),
                result.milliseconds,
                strict=True,
            ),
        )
    lines += ["", *_scaled_table(results, columns, rows), "", *_class_lines(results)]
    return "\n".join(lines + _cityscapes_lines(results))


def _with_scale(result: Evaluation, rows: Iterable[tuple]) -> list[tuple]:
    return [(result.scale, *row) for row in rows]


def _scaled_table(results, columns, rows) -> list[str]:
    """Formats rows that begin with a scale, which is left out if it is that of every image."""
    if {result.scale for result in results} <= {1, None}:
        return _table(columns, [row[1:] for row in rows])
    return _table([("scale", "g"), *columns], rows)


def _class_lines(results: Sequence[Evaluation]) -> list[str]:
    """Returns a table of every class's IoU at some numbers of iterations.

    They are the first, the best and the last; of several evaluations the best of each.
    """
    # They show the gain of each class from the iterations; the JSON file has all of them.
    first = results[0]
    if len(results) == 1:
        shown = sorted({0, int(first.miou.argmax()), len(first.iterations) - 1})
        columns = [f"{first.iterations[index]:6d}" for index in shown]
        values = 100 * first.class_iou[shown]
        title = "IoU % at iterations"
    else:
        best = [int(result.miou.argmax()) for result in results]
        columns = [
            f"{f'{result.scale:g}: {result.iterations[index]}':>8s}"
            for result, index in zip(results, best, strict=True)
        ]
        pairs = zip(results, best, strict=True)
        values = 100 * np.stack([result.class_iou[index] for result, index in pairs])
        title = "IoU % at scale: iterations"
    width = max(len(title) - 14, 5, *map(len, first.class_names)) + 14
    formats = [(f"{title:{width}s}", "s"), *((column, ".2f") for column in columns)]
    rows = [(f"  {name}", *values[:, each]) for each, name in enumerate(first.class_names)]
    return _table(formats, rows)


def _cityscapes_lines(results: Sequence[Evaluation]) -> list[str]:
    """Returns a table of the means of Cityscapes' scores; the JSON file has all of them."""
    if results[0].cityscapes is None:
        return []
    columns = [("iterations", "d"), *2 * [("     IoU", ".2f"), ("    iIoU", ".2f")]]
    rows = []
    for result in results:
        pairs = zip(result.iterations, result.cityscapes or (), strict=True)
        own = [(number, *(100 * value for value in each.means.values())) for number, each in pairs]
        rows += _with_scale(result, own)
    title = "Cityscapes, %            classes          categories"
    return ["", title, *_scaled_table(results, columns, rows)]


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
    rows: list[tuple] = [(name, getattr(costs, name) / 1e9) for name in _STAGES]
    if stages:
        columns += [("parameters M", ".3f"), ("memory MB", ".1f")]
        rows = [(*row, *_millions(stages[row[0]])) for row in rows]
        # The stages run one after the other; the tensors passed from one to the next count in both.
        parameters, memory = zip(*map(_millions, stages.values()), strict=True)
        rows.append(("all", None, sum(parameters), max(memory)))
    totals = zip(iterations, _giga(map(costs.total, iterations)), strict=True)
    lines = [*_table(columns, rows), *_early_lines(costs)]
    lines += ["", *_table([("iterations", "d"), ("multiply-adds G", ".3f")], totals)]
    return "\n".join(lines)


def _early_lines(costs: StageCosts) -> list[str]:
    """Returns a table of how far the encoder has to run for some numbers of iterations."""
    if not costs.early:
        return []
    columns = [("iterations", "s"), ("encode G", ".3f"), ("prepare G", ".3f"), ("% of both", ".1f")]
    parts = [(each.encode, each.prepare) for each in costs.early]
    parts.append((costs.encode, costs.prepare))
    names = [f"up to {each.iterations}" for each in costs.early]
    names.append(f"from {costs.early[-1].iterations + 1}")
    whole = costs.encode + costs.prepare
    rows = [
        (name, encode / 1e9, prepare / 1e9, 100 * (encode + prepare) / whole)
        for name, (encode, prepare) in zip(names, parts, strict=True)
    ]
    return ["", *_table(columns, rows)]


def cost_json(
    costs: StageCosts, stages: Mapping[str, Stage] | None, iterations: Sequence[int]
) -> dict[str, Any]:
    """Returns the content of `cost_table` as plain numbers, without rounding."""
    early = [each._asdict() for each in costs.early]
    return {
        "multiply_adds": dataclasses.asdict(costs) | {"early": early},
        "stages": {name: dataclasses.asdict(stage) for name, stage in (stages or {}).items()},
        "total_multiply_adds": {number: costs.total(number) for number in iterations},
    }


def save_json(path: str | os.PathLike, content: Mapping[str, Any]) -> None:
    """Writes plain values, as from `Evaluation.to_json` or `cost_json`, to a file."""
    # Lists of numbers, such as the rows of a confusion matrix, take one line each.
    text = re.sub(
        r"\[[\d\s.,eE+-]*\]",
        lambda match: re.sub(r"\s+", " ", match[0]).replace("[ ", "[").replace(" ]", "]"),
        json.dumps(content, indent=2),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n")


def save_scores(path: str | os.PathLike, *results: Evaluation) -> None:
    """Writes evaluations, their confusion matrices and the machine of their milliseconds.

    `rnnseg.budgets.planning` reads them.

    Args:
      path: the JSON file to write.
      *results: an evaluation; or several of the same images at different scales.
    """
    rows = [row for each in results for row in each.to_json(with_confusion=True)["results"]]
    content = results[0].to_json() | {"results": rows}
    if len(results) > 1:
        # Nothing was averaged: every row has a scale of its own.
        content["scales"] = [1.0]
    save_json(path, content | {"machine": dataclasses.asdict(Machine.this())})


def profile_table(
    profile: Profile, costs: Sequence[StageCosts], stages: Sequence[Mapping[str, Stage]]
) -> str:
    """Returns the latency, multiply-adds and memory of stages and whole predictions, by size.

    Args:
      profile: the latency of a model.
      costs: the multiply-adds at each size of the profile.
      stages: the memory at each size of the profile.
    """
    lines = [_profile_title(profile)]
    for size, cost, stage in zip(profile.sizes, costs, stages, strict=True):
        columns = [
            (f"{f'{size.height}x{size.width}':15s}", "s"),
            ("milliseconds", ".2f"),
            ("multiply-adds G", ".3f"),
            ("memory MB", ".1f"),
        ]
        memory = {name: stage[name].memory / 1e6 for name in _STAGES}
        rows = [
            (name, time, getattr(cost, name) / 1e9, memory[name])
            for name, time in size.stages.items()
        ]
        rows += [
            (f"n = {number}", time, cost.total(number) / 1e9, max(memory.values()))
            for number, time in size.predictions.items()
        ]
        lines += ["", *_table(columns, rows), *_latency_lines(profile.latency(size))]
    return "\n".join(lines)


def file_profile_table(profile: Profile, costs: FileCosts) -> str:
    """Returns the latency of a LiteRT file, and the multiply-adds that are known, by size.

    Args:
      profile: the latency of the file.
      costs: the multiply-adds of the file, which scales images to its own size.
    """
    lines = [_profile_title(profile)]
    for size in profile.sizes:
        columns = [
            (f"{f'{size.height}x{size.width}':15s}", "s"),
            ("milliseconds", ".2f"),
            ("multiply-adds G", ".3f"),
        ]
        rows: list[tuple] = [(name, time, None) for name, time in size.stages.items()]
        rows += [
            (f"n = {number}", time, *_giga([costs.total(number)]))
            for number, time in size.predictions.items()
        ]
        lines += ["", *_table(columns, rows), *_latency_lines(profile.latency(size))]
    return "\n".join(lines)


def _profile_title(profile: Profile) -> str:
    library = f"{profile.library} {profile.tensorflow}"
    return f"{profile.machine}, {library}; medians, one image at a time"


def _latency_lines(latency: Latency) -> list[str]:
    """Returns the formula of the time of a prediction, one for each stage of the encoder."""
    firsts = [before + 1 for before in latency.first_iterations]
    lasts = [*latency.first_iterations[1:], None]
    lines = []
    for first, last, start in zip(firsts, lasts, latency.starts, strict=True):
        numbers = f"{first} and more" if last is None else f"{first} to {last}"
        numbers = f" for n = {first if first == last else numbers}" if len(firsts) > 1 else ""
        lines.append(f"n iterations take {start:.2f} ms + n * {latency.each:.2f} ms{numbers}")
    return lines


def plan_table(plan: Plan) -> str:
    """Returns the frontier of several models, the best point within the budget, and the next."""
    first, kind, unit = plan.scores[0], plan.budget.kind, plan.budget.unit
    lines = [
        f"{first.data}, {first.split}: {first.images} images, most often "
        f"{first.image_size[0]}x{first.image_size[1]}",
    ]
    width = max(5, *(len(each.model) for each in plan.scores))
    columns = [
        (f"  {'model':{width}s}", "s"),
        ("iterations", "d"),
        ("mIoU %", ".2f"),
        ("multiply-adds G", ".3f"),
    ]
    scaled = any(point.scale != 1 for point in plan.frontier)
    if scaled:
        columns.insert(2, ("scale", "g"))
    if kind == "milliseconds":
        columns.append(("milliseconds", ".1f"))
        lines.append(f"milliseconds of {first.machine}")
        for scores in plan.scores:
            source = "profile" if scores.profiled else "evaluation"
            lines.append(f"  {scores.model}: from its {source}")
    rows = []
    for point in plan.frontier:
        mark = "*" if point is plan.best else " "
        scale = (point.scale,) if scaled else ()
        row = (f"{mark} {point.model}", point.iterations, *scale, 100 * point.miou, point.gmacs)
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


def points_table(points: Iterable[OperatingPoint]) -> str:
    """Returns the cost and the score of operating points of one model, a line for each."""
    columns = [
        ("iterations", "d"),
        ("image scale", "g"),
        ("multiply-adds G", ".3f"),
        ("milliseconds", ".1f"),
        ("mIoU %", ".1f"),
    ]
    rows = [
        (point.iterations, point.scale, point.gmacs, point.milliseconds, 100 * point.miou)
        for point in points
    ]
    return "\n".join(_table(columns, rows))


def save_curve(
    path: str | os.PathLike,
    name: str,
    results: Evaluation | Sequence[Evaluation],
    trained: int,
) -> None:
    """Draws the speed-accuracy curve of one model, with a line for each scale of the images.

    Args:
      path: the PNG file to write.
      name: the name of the model in the legend.
      results: the evaluation of the model, or one for each scale of the images.
      trained: the number of iterations in training, which is marked.
    """
    results = results if isinstance(results, Sequence) else [results]
    curves = [
        visualize.Curve(
            name=_curve_name(name, result.scale, len(results)),
            iterations=result.iterations,
            miou=tuple(map(float, result.miou)),
            multiply_adds=result.multiply_adds,
            milliseconds=result.milliseconds,
            trained_iterations=trained if len(result.iterations) > 1 else None,
        )
        for result in results
    ]
    visualize.save_curve(path, curves)


def save_scores_curve(path: str | os.PathLike, name: str, scores: Scores, trained: int) -> None:
    """Draws the speed-accuracy curve of scores that were read from a file, as `save_curve`.

    Args:
      path: the PNG file to write.
      name: the name of the model in the legend.
      scores: the scores of the model.
      trained: the number of iterations in training, which is marked.
    """
    by_scale: dict[float, list[OperatingPoint]] = {}
    for point in sorted(scores.points, key=lambda each: (each.scale, each.iterations)):
        by_scale.setdefault(point.scale, []).append(point)
    curves = [
        visualize.Curve(
            name=_curve_name(name, scale, len(by_scale)),
            iterations=[point.iterations for point in points],
            miou=[point.miou for point in points],
            multiply_adds=[
                None if math.isnan(point.gmacs) else round(1e9 * point.gmacs) for point in points
            ],
            milliseconds=[point.milliseconds for point in points],
            trained_iterations=trained if len(points) > 1 else None,
        )
        for scale, points in by_scale.items()
    ]
    visualize.save_curve(path, curves)


def _curve_name(name: str, scale: float | None, curves: int) -> str:
    return name if curves == 1 else f"{name}, images scaled by {scale:g}"


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


def _giga(counts: Iterable[int | None]) -> list[float]:
    """Returns counts in 10^9; NaN for one that is not known."""
    return [math.nan if count is None else count / 1e9 for count in counts]


def _millions(stage: Stage) -> tuple[float, float]:
    """Returns the parameters in millions and the memory in megabytes."""
    return stage.parameters / 1e6, stage.memory / 1e6
