"""Writes evaluations to event files, for the plugin and TensorBoard's standard dashboards."""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from PIL import Image
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as layout_metadata
from tensorboard.plugins.hparams import summary_v2 as hparams
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto

from rnnseg.budgets.profiles import Machine
from rnnseg.dashboard import tags
from rnnseg.dashboard.images import Strip
from rnnseg.evaluation.evaluator import Evaluation

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
    model,
    strips: Sequence[Strip] = (),
    step: int = 0,
) -> None:
    """Writes an evaluation; it replaces those of the same and of later steps in the folder.

    Args:
      folder: the folder of TensorBoard's run, for these event files only: replacing drops steps of
        the whole folder.
      evaluation: the evaluation.
      model: the evaluated model.
      strips: images with their class maps, for the numbers of iterations of the evaluation.
      step: the step of training, such as the epoch; the tab shows the latest one.
    """
    with _events(folder, step) as add:
        add(step, _for_plugin(evaluation, model, strips))
        add(step, _point_scalars(evaluation, model))
        for summary in _hyperparameters(evaluation, model):
            add(step, summary)
    with _events(os.path.join(folder, tags.ITERATIONS), 0) as add:
        add(0, _layout())
        for index, iterations in enumerate(evaluation.iterations):
            add(iterations, _scalars(_CURVE, _numbers(evaluation, index)))
            iou = dict(zip(evaluation.class_names, evaluation.class_iou[index], strict=True))
            present = {name: 100 * value for name, value in iou.items() if not np.isnan(value)}
            add(iterations, _scalars(_CLASSES, present))
            for strip in strips:
                add(iterations, _class_map(strip, index))


@contextlib.contextmanager
def _events(folder, first_step: int) -> Iterator:
    """Yields a function `add(step, summary)` for a new event file that begins at `first_step`."""
    _wait_for_later_name(pathlib.Path(folder))
    writer = EventFileWriter(str(folder))

    def add(step, summary):
        writer.add_event(event_pb2.Event(wall_time=time.time(), step=step, summary=summary))

    try:
        # At a start of training, readers drop this step and later ones.
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        writer.add_event(event_pb2.Event(wall_time=time.time(), step=first_step, session_log=start))
        yield add
    finally:
        writer.close()


def _wait_for_later_name(folder: pathlib.Path) -> None:
    """Waits until a new event file sorts behind those in the folder, for at most a second.

    Readers take event files in the order of their names. A name begins with the second of its
    creation; within a second it counts without leading zeros, so that "10" comes before "9".
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
