"""Reads evaluations from event files and compares them, for the front end of the plugin."""

import dataclasses
import logging
from collections.abc import Collection
from typing import Any

from rnnseg import schemas
from rnnseg.budgets.budget import OperatingPoint, frontier
from rnnseg.budgets.profiles import Machine
from rnnseg.dashboard import tags
from rnnseg.errors import UserError, one_line
from rnnseg.score_files import EvaluationContent, present_names

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recorded:
    """What an event holds of an evaluation.

    Attributes:
      evaluation: the scores and costs.
      machine: the machine that the milliseconds were measured on.
      class_names: one name per class.
      class_colors: one colour per class.
      images: the names of the images that are shown.
    """

    evaluation: EvaluationContent
    machine: Machine
    class_names: tuple[str, ...]
    class_colors: tuple[schemas.Color, ...]
    images: tuple[str, ...]


def read_comparisons(
    provider: Any, context: Any, experiment: str, hidden: Collection[str]
) -> list[dict]:
    """Reads the latest evaluation of every run, grouped by the images.

    Args:
      provider: the data provider of TensorBoard.
      context: the context of the request.
      experiment: TensorBoard's id of the experiment.
      hidden: the names of runs to leave out of the frontier.

    Returns:
      One dictionary per set of images, with plain values for JSON:

        - `data`, `split`, `images`, `image_size`: the images;
        - `runs`: as from `_run`;
        - `machines`: the machines on which the runs that are not hidden were timed;
        - `frontier`: for each of the costs "gmacs" and "milliseconds", the points that no other
          point beats, by rising cost, as pairs of run and number of iterations; None for
          milliseconds of several machines.
    """
    blobs = _latest(provider.read_blob_sequences, context, experiment)
    comparisons: dict[tuple, dict[str, Any]] = {}
    read = _latest(provider.read_tensors, context, experiment)
    for name in sorted(read):
        if tags.EVALUATION not in read[name]:
            continue
        datum = read[name][tags.EVALUATION]
        try:
            content = _content(datum, name)
        except UserError as error:
            _log.warning("left out: %s", one_line(str(error)))
            continue
        evaluation = content.evaluation
        key = (evaluation.data, evaluation.split, evaluation.images)
        same = comparisons.setdefault(
            key,
            {
                "data": evaluation.data,
                "split": evaluation.split,
                "images": evaluation.images,
                "image_size": list(evaluation.image_size),
                "runs": [],
            },
        )
        same["runs"].append(_run(name, datum.step, content, blobs.get(name, {}), name in hidden))
    for each in comparisons.values():
        shown = [run for run in each["runs"] if not run["hidden"]]
        each["machines"] = sorted({run["machine"] for run in shown})
        points = [point for run in shown for point in _operating_points(run)]
        each["frontier"] = {"gmacs": _frontier(points, "gmacs"), "milliseconds": None}
        if len(each["machines"]) == 1:
            each["frontier"]["milliseconds"] = _frontier(points, "milliseconds")
    return list(comparisons.values())


def _content(datum, name: str) -> Recorded:
    """Returns what the event of an evaluation holds.

    Raises:
      UserError: it is damaged.
    """
    where, way_out = f"the evaluation of {name}", "evaluate the run again"
    data = datum.numpy.item()
    text = schemas.decode_text(data, where, way_out) if isinstance(data, bytes) else str(data)
    content = schemas.parse_json(text, where, way_out)
    if isinstance(content, dict):
        content = present_names(content)
        if isinstance(content.get("evaluation"), dict):
            content["evaluation"] = present_names(content["evaluation"])
    recorded = schemas.check(content, Recorded, where, way_out)
    if any(row.multiply_adds is None for row in recorded.evaluation.results):
        raise UserError(f"{where}: no multiply-adds, expected those of a model; {way_out}")
    return recorded


def _latest(read, context, experiment) -> dict[str, dict[str, Any]]:
    """Returns the last datum of every run and tag."""
    series = read(context, experiment_id=experiment, plugin_name=tags.PLUGIN, downsample=1)
    return {
        run: {tag: data[-1] for tag, data in of_tag.items() if data}
        for run, of_tag in series.items()
    }


def _run(name, step, content, blobs, hidden) -> dict[str, Any]:
    """Returns a run as plain values: its points, with the IoU of every class, and its images.

    The IoU of a class that never occurs is None.
    """
    evaluation = content.evaluation
    return {
        "name": name,
        "hidden": hidden,
        "step": step,
        "machine": str(content.machine),
        "scales": list(evaluation.scales),
        "flip": evaluation.flip,
        "class_names": list(content.class_names),
        "class_colors": list(map(list, content.class_colors)),
        "points": [
            {
                "iterations": row.iterations,
                "miou": row.miou,
                "gmacs": row.multiply_adds / 1e9,
                "milliseconds": row.milliseconds,
                "class_iou": [row.class_iou.get(each) for each in content.class_names],
            }
            for row in evaluation.results
        ],
        "images": _images(step, content, blobs),
    }


def _images(step, content, blobs) -> list[dict[str, Any]]:
    """Returns names and keys of the images that belong to this evaluation."""
    images = []
    for index, name in enumerate(content.images):
        datum = blobs.get(f"{tags.IMAGE}{index}")
        expected = tags.BEFORE_MAPS + len(content.evaluation.results)
        if datum is None or datum.step != step or len(datum.values) != expected:
            continue
        image, label, *maps = (each.blob_key for each in datum.values)
        images.append({"name": name, "image": image, "label": label, "maps": maps})
    return images


def _operating_points(run) -> list[OperatingPoint]:
    names = ("iterations", "miou", "gmacs", "milliseconds")
    return [
        OperatingPoint(run["name"], *(point[name] for name in names)) for point in run["points"]
    ]


def _frontier(points, kind) -> list[tuple[str, int]]:
    return [(point.model, point.iterations) for point in frontier(points, kind)]
