"""Writes evaluations to event files, for the plugin and TensorBoard's standard dashboards."""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import platform
import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from PIL import Image
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as layout_metadata
from tensorboard.plugins.hparams import summary_v2 as hparams
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_tensor_proto

from rnnseg.budgets.profiles import Machine
from rnnseg.dashboard import tags
from rnnseg.dashboard.images import Strip
from rnnseg.evaluation.evaluator import Evaluation
from rnnseg.files import atomic_path
from rnnseg.models.base import SegmentationModel
from rnnseg.runtime.file_model import FileModel
from rnnseg.temporaries import remove_left_behind

_CURVE, _POINT, _CLASSES = "speed_accuracy/", "operating_point/", "class_iou_percent/"
_MIOU, _COST, _TIME = "mIoU_percent", "multiply_adds_G", "milliseconds"
_NAMES = {_MIOU: "mIoU (%)", _COST: "multiply-adds (G)", _TIME: "time per image (ms)"}
_OPTIONS = (
    "encoder",
    "output_stride",
    "canvas_stride",
    "early_iterations",
    "hidden_channels",
    "kernel_size",
    "context_channels",
)


def run_folder(logdir: str | os.PathLike, model: str | os.PathLike, name: str) -> str:
    """Returns the folder, and so TensorBoard's run, for an evaluation of a saved model.

    Args:
      logdir: the folder of logs of TensorBoard.
      model: the folder of a run, or a `.keras` file.
      name: the name of the evaluation, such as its split.

    Returns:
      `LOGDIR/RUN/NAME`, or `LOGDIR/FOLDER_MODEL/NAME` for `FOLDER/MODEL.keras`.
    """
    path = pathlib.Path(model).resolve()
    own = path.name if path.is_dir() else f"{path.parent.name}_{path.stem}"
    return os.path.join(logdir, own, name)


def write_evaluation(
    folder: str | os.PathLike,
    evaluation: Evaluation,
    model: SegmentationModel | FileModel,
    strips: Sequence[Strip] = (),
    step: int = 0,
) -> None:
    """Writes an evaluation; it replaces those of the same and of later steps in the folder.

    Each event file appears as a whole. If the process is killed, there is nothing that TensorBoard
    takes for an evaluation; the next one that is written removes what was left.

    Args:
      folder: the folder of TensorBoard's run, for these event files only: replacing drops steps of
        the whole folder.
      evaluation: the evaluation.
      model: the evaluated model.
      strips: images with their class maps, for the numbers of iterations of the evaluation.
      step: the step of training, such as the epoch; the tab shows the latest one.
    """
    summaries = [
        _for_plugin(evaluation, model, strips),
        _point_scalars(evaluation, model),
        *_hyperparameters(evaluation, model),
    ]
    curves = [(0, _layout())]
    for index, iterations in enumerate(evaluation.iterations):
        curves.append((iterations, _scalars(_CURVE, _numbers(evaluation, index))))
        iou = dict(zip(evaluation.class_names, evaluation.class_iou[index], strict=True))
        present = {name: 100 * value for name, value in iou.items() if not np.isnan(value)}
        curves.append((iterations, _scalars(_CLASSES, present)))
        curves += [(iterations, _class_map(strip, index)) for strip in strips]
    event_files = {
        pathlib.Path(folder): _event_file([(step, summary) for summary in summaries], step),
        pathlib.Path(folder, tags.ITERATIONS): _event_file(curves, 0),
    }
    for each in event_files:
        remove_left_behind(each)
        _wait_for_later_name(each)
    name = f"events.out.tfevents.{int(time.time()):010d}.{platform.node()}.{os.getpid()}.0"
    with contextlib.ExitStack() as stack:  # they get their names at the end, one after the other
        for each, content in event_files.items():
            stack.enter_context(atomic_path(each / name)).write_bytes(content)


def _event_file(summaries: Iterable[tuple[int, summary_pb2.Summary]], first_step: int) -> bytes:
    """Returns the content of an event file that begins at `first_step`.

    Args:
      summaries: the summaries with their steps.
      first_step: readers drop this step and later ones of earlier files.
    """
    content = io.BytesIO()
    writer = RecordWriter(content)

    def add(**values):
        event = event_pb2.Event(wall_time=time.time(), **values)
        writer.write(event.SerializeToString())

    add(file_version="brain.Event:2")
    # That steps are dropped, readers know of a start of training.
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    add(step=first_step, session_log=start)
    for step, summary in summaries:
        add(step=step, summary=summary)
    return content.getvalue()


def _wait_for_later_name(folder: pathlib.Path) -> None:
    """Waits until a new event file sorts behind those in the folder, for at most a second.

    Readers take event files in the order of their names, and a name begins with the second of its
    creation.
    """
    now = str(int(time.time()))
    if any(path.name.split(".")[3] == now for path in folder.glob("events.out.tfevents.*")):
        time.sleep(max(0, int(now) + 1 - time.time()))


# --- for the plugin ---


def _for_plugin(evaluation, model, strips) -> summary_pb2.Summary:
    content = {
        "evaluation": evaluation.to_json(),
        "machine": dataclasses.asdict(Machine.this()),
        "class_names": evaluation.class_names,
        "class_colors": model.colors,
        "images": [strip.name for strip in strips],
    }
    summary = summary_pb2.Summary()
    _add(summary, tags.EVALUATION, json.dumps(content), _metadata(summary_pb2.DATA_CLASS_TENSOR))
    for index, strip in enumerate(strips):
        blobs = [strip.image, strip.label, *strip.maps]
        metadata = _metadata(summary_pb2.DATA_CLASS_BLOB_SEQUENCE)
        _add(summary, f"{tags.IMAGE}{index}", blobs, metadata)
    return summary


def _metadata(data_class) -> summary_pb2.SummaryMetadata:
    plugin = summary_pb2.SummaryMetadata.PluginData(plugin_name=tags.PLUGIN)
    return summary_pb2.SummaryMetadata(plugin_data=plugin, data_class=data_class)


def _add(summary, tag, value, metadata) -> None:
    summary.value.add(
        tag=tag, tensor=make_tensor_proto(np.array(value, dtype=object)), metadata=metadata
    )


# --- for the standard dashboards ---


def _numbers(evaluation, index) -> dict[str, float]:
    return {
        _MIOU: 100 * float(evaluation.miou[index]),
        _COST: evaluation.multiply_adds[index] / 1e9,
        _TIME: evaluation.milliseconds[index],
    }


def _scalars(group: str, numbers: Mapping[str, float]) -> summary_pb2.Summary:
    summary = summary_pb2.Summary()
    for name, value in numbers.items():
        summary.MergeFrom(scalar_pb(group + name, value))
    return summary


def _point_scalars(evaluation, model) -> summary_pb2.Summary:
    """Returns scalars at the number of iterations in training, or else at the best number."""
    if model.iterations in evaluation.iterations:
        index = evaluation.iterations.index(model.iterations)
    else:
        index = int(evaluation.miou.argmax())
    return _scalars(_POINT, _numbers(evaluation, index))


def _hyperparameters(evaluation, model) -> Iterable[summary_pb2.Summary]:
    config = model.get_config()
    values = {"architecture": type(model).__name__, "data": evaluation.data}
    values |= {name: _plain(config[name]) for name in _OPTIONS if name in config}
    values["iterations"] = model.iterations
    # TensorBoard takes the columns from the first run that it finds, so all runs have the same.
    yield hparams.hparams_config_pb(
        hparams=[
            hparams.HParam(name) for name in ("architecture", "data", "iterations", *_OPTIONS)
        ],
        metrics=[hparams.Metric(_POINT + tag, display_name=name) for tag, name in _NAMES.items()],
    )
    # Without an ID, each run is a trial of its own, even if two have the same values. Its name is
    # that of the run, the path below TensorBoard's folder of logs, which is not known here.
    yield hparams.hparams_pb(values, trial_id="")


def _plain(value) -> str | int:
    """Returns an option as a number or a text, the only types of hyperparameters."""
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value))
    return "custom model" if isinstance(value, Mapping) else value


def _class_map(strip: Strip, index: int) -> summary_pb2.Summary:
    """Returns the class map after one number of iterations, as an image."""
    file = strip.maps[index]
    width, height = Image.open(io.BytesIO(file)).size
    summary = summary_pb2.Summary()
    metadata = image_metadata.create_summary_metadata(
        display_name=None, description="Class map; the step is the number of iterations."
    )
    parts = [str(width).encode(), str(height).encode(), file]
    _add(summary, f"class_map/{strip.name}", parts, metadata)
    return summary


def _layout() -> summary_pb2.Summary:
    """Returns the layout of the dashboard of custom scalars: the charts and their tags."""

    def chart(title, tag):
        content = layout_pb2.MultilineChartContent(tag=[tag])
        return layout_pb2.Chart(title=title, multiline=content)

    layout = layout_pb2.Layout(
        category=[
            layout_pb2.Category(
                title="By number of iterations (the step)",
                chart=[
                    *(chart(name, f"^{_CURVE}{tag}$") for tag, name in _NAMES.items()),
                    chart("IoU of every class (%)", f"^{_CLASSES}"),
                ],
            ),
            layout_pb2.Category(
                title="At the number of iterations of training",
                chart=[chart(name, f"^{_POINT}{tag}$") for tag, name in _NAMES.items()],
            ),
        ]
    )
    summary = summary_pb2.Summary()
    metadata = layout_metadata.create_summary_metadata()
    _add(summary, layout_metadata.CONFIG_SUMMARY_TAG, layout.SerializeToString(), metadata)
    return summary
