"""Exports a model as a SavedModel, LiteRT and ONNX files, and checks them against the model."""

import dataclasses
import fnmatch
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from tqdm import tqdm

from rnnseg import files, schemas
from rnnseg._renamed import renamed_arguments
from rnnseg.budgets.costs import stage_costs
from rnnseg.budgets.planning import Scores, scores_path
from rnnseg.data import open_source
from rnnseg.data.images import find_images
from rnnseg.data.pipeline import MEAN_COLOR
from rnnseg.errors import UserError
from rnnseg.evaluation.evaluator import check_classes
from rnnseg.exporting import (
    examples,
    litert,
    onnx,
    parity,
    predictions,
    processes,
    quantization,
    saved_model,
    signatures,
)
from rnnseg.models.base import SegmentationModel
from rnnseg.models.finite import check_weights
from rnnseg.runtime.model_info import ModelInfo

_SIZE = (513, 513)
_REPORT = "parity.json"
_ONNX = "segment.onnx"

# Part of the description of the images that the files are compared on.
_THE_SAME = ", which int8 was calibrated on, too"

# The files of an export, and what is written beside them of what was measured on them.
_FILES = (
    _REPORT,
    _ONNX,
    *(f"{name}.tflite" for name in ("anytime", "segment")),
    *(f"{name}_{kind}.tflite" for name in ("anytime", "segment") for kind in quantization.KINDS),
    *(
        f"{name}*.{kind}"
        for name in ("anytime", "segment")
        for kind in (
            "scores_*.json",
            "curve_*.png",
            "report_*.html",
            "report_*/*.png",
            "profile.json",
        )
    ),
    "saved_model/assets/*",
    "saved_model/fingerprint.pb",
    "saved_model/saved_model.pb",
    "saved_model/variables/variables.*",
)


@renamed_arguments(pictures="images")
def export_model(
    model: SegmentationModel,
    out: str | os.PathLike,
    size: tuple[int, int] | str | None = None,
    quantize: Sequence[str] = (),
    data: str | None = None,
    split: str = "val",
    images: Sequence[str] = (),
    limit: int = 32,
    overwrite: bool = False,
    with_onnx: bool = False,
    on_progress: Callable[[str], None] = lambda line: None,
) -> parity.Parity:
    """Exports a model for serving and for devices, and compares the files with it.

    The folder then holds `saved_model`, for images of any size; `anytime.tflite`, whose stages an
    app calls one by one; `segment.tflite`, the whole prediction in one call; both again for each
    quantization, such as `anytime_int8.tflite`; and `parity.json`, the agreement of all of them
    with the model. Every `.tflite` has metadata (`rnnseg.runtime.model_info.ModelInfo`). A model
    that was trained in mixed precision is exported and compared in float32.

    Args:
      model: a model, as from `load_model`.
      out: the folder to write to.
      size: the `(height, width)` of the images of the LiteRT files, in pixels, or "any"; None for
        the crop of the run that the model was loaded from, else 513x513. For calibration and
        comparison images are letterboxed.
      quantize: some of "float16", "dynamic" and "int8", in addition to float32.
      data: labelled data, as `rnnseg.data.open_source` takes it. int8 is calibrated on the training
        split of the run, or "train"; files are compared on `split`. None for the data of the run,
        if they still exist.
      split: the split to compare on.
      images: files, folders and patterns of images without labels, instead of data. For int8, every
        other image is used for calibration, and the files are compared on the rest.
      limit: the largest number of images to calibrate on, and of images to compare on, evenly
        spread.
      overwrite: True to replace an earlier export in `out`.
      with_onnx: True to write `segment.onnx`, too (`rnnseg.exporting.onnx.convert`), which needs
        the extra `onnx`.
      on_progress: called with a line when a file is begun and when it is written.

    Returns:
      The agreement of the files with the model. A missed target is reported there; it is no error.

    Raises:
      UserError: an argument out of its range, no images, an `out` that holds something else or that
        another process writes, or a model that cannot be converted. Nothing is written then.
    """
    wrong = set(quantize) - set(quantization.KINDS)
    if wrong:
        raise UserError(
            f"quantize {', '.join(sorted(wrong))}: expected some of {', '.join(quantization.KINDS)}"
        )
    if limit < 1:
        raise UserError(f"limit {limit}: expected at least 1 image")
    if with_onnx:
        onnx.check_installed((*onnx.CONVERTING, *onnx.RUNNING))
    check_weights(model, str(model.loaded_from or model.name))
    out = _check_out(out, overwrite)
    run = _run_config(model)
    if size is None:
        size = run.crop
    size = None if size == "any" else size
    if size is not None:
        model.check_image(*size)
    calibration, checking, checked_on = _choose_images(
        model, run, data, split, images, size, limit, "int8" in quantize
    )
    model = signatures.in_float32(model)
    info = _model_info(model, size, split)
    with files.atomic_folder(out, overwrite) as folder:
        written = _write(model, info, folder, quantize, calibration, on_progress)
        if with_onnx:
            on_progress("converting to ONNX")
            (folder / _ONNX).write_bytes(onnx.convert(model, info))
            on_progress(_written(folder / _ONNX))
            written[_ONNX] = "float32"
        on_progress(f"comparing {len(written) + 1} files on {len(checking)} images")
        checked = _check(model, info, folder, written, checking)
        result = parity.Parity(checked_on, len(checking), checked)
        (folder / _REPORT).write_text(json.dumps(result.to_json(), indent=2) + "\n")
        _check_out(out, overwrite)  # what came meanwhile is not lost, either
    return result


def _check_out(out: str | os.PathLike, overwrite: bool) -> pathlib.Path:
    out = pathlib.Path(os.path.realpath(out))
    files.remove_left_behind(out.parent)  # where two folders cannot be exchanged, it may be away
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not (out / _REPORT).is_file():
            raise UserError(f"{out} already exists and is not an export: choose another --out")
        if not overwrite:
            raise UserError(
                f"{out} already exists: choose another --out, or replace it by --overwrite"
            )
        for path in sorted(out.rglob("*")):
            name = path.relative_to(out).as_posix()
            if not path.is_dir() and not any(fnmatch.fnmatch(name, each) for each in _FILES):
                raise UserError(
                    f"{path} is not part of an export and would be lost: move it elsewhere, or "
                    "choose another --out"
                )
    return out


@dataclasses.dataclass(frozen=True)
class _RunConfig:
    """What an export takes from the `config.json` of a run."""

    crop: tuple[schemas.Side, schemas.Side] = _SIZE
    data: schemas.Text | None = None
    train_split: schemas.Text = "train"


def _run_config(model) -> _RunConfig:
    """Returns the configuration of the run that a model was loaded from; defaults without one."""
    path = pathlib.Path(model.loaded_from or "", "config.json")
    if not model.loaded_from or not path.is_file():
        return _RunConfig()
    return schemas.read_json(path, _RunConfig, "restore the file, or export the .keras file in it")


def _choose_images(model, run, data, split, images, size, limit, calibrate):
    """Returns the images to calibrate on, those to compare on, and a description of the latter."""
    if images:
        if data is not None:
            raise UserError("--data and --images: give one of them")
        found, name = find_images(images), ", ".join(images)
        if not calibrate:
            return [], examples.from_files(found, size, limit), name
        if len(found) == 1:
            found, name = 2 * found, f"{name}{_THE_SAME}"
        calibration, checking = (
            examples.from_files(found[first::2], size, limit) for first in (0, 1)
        )
        return calibration, checking, name
    if data is None:
        if run.data is None:
            raise UserError(
                "no images to compare the files on: give labelled data by --data, or images by "
                "--images"
            )
        try:
            source = open_source(run.data)
        except UserError as error:
            raise UserError(
                f"the data that {model.loaded_from} was trained on cannot be opened ({error}): "
                "give it by --data, or images by --images"
            ) from error
    else:
        source = open_source(data)
    check_classes(model, source)
    checking = examples.from_source(source, split, size, limit)
    calibration = examples.from_source(source, run.train_split, size, limit) if calibrate else []
    same = _THE_SAME if calibrate and split == run.train_split else ""
    return calibration, checking, f"{source.name}, {split}{same}"


def _model_info(model, size, split) -> ModelInfo:
    costs: Any = None
    early_costs: dict[int, Any] | None = None
    if size:
        costs = dataclasses.asdict(stage_costs(model, *size))
        early_costs = {
            each.iterations: {"encode": each.encode, "prepare": each.prepare}
            for each in costs.pop("early")
        }
    found = None
    if model.loaded_from and scores_path(model.loaded_from, split).is_file():
        found = Scores.load(model.loaded_from, split)
    return ModelInfo(
        kind="anytime",
        recurrent=model.recurrent,
        quantization="float32",
        classes=model.names,
        colors=model.colors,
        size=size,
        output_stride=model.output_stride,
        canvas_stride=model.canvas_stride,
        early_iterations=model.early_iterations,
        encoder_outputs=signatures.encoder_outputs(model),
        padding=MEAN_COLOR,
        iterations=model.iterations,
        state=model.state_channels,
        initial_state={
            name: tuple(value.numpy().tolist()) for name, value in model.initial_values.items()
        },
        multiply_adds=costs,
        early_multiply_adds=early_costs,
        miou=None if found is None else found.miou,
        scored_on=None if found is None else f"{found.data}, {found.split}",
    )


def _write(model, info, folder, quantize, calibration, on_progress) -> dict[str, str]:
    """Writes everything except for ONNX and the report.

    Returns:
      The quantization of every LiteRT file by its name.
    """
    on_progress("writing saved_model")
    saved_model.export(model, folder / "saved_model")
    on_progress(_written(folder / "saved_model"))
    on_progress("converting to LiteRT")
    floats = litert.convert(model, info.size)
    written = {}
    for kind in ("float32", *dict.fromkeys(quantize)):
        if kind != "float32":
            on_progress(f"quantizing to {kind}")
        made = floats if kind == "float32" else quantization.quantize(floats, kind, calibration)
        for name, file in made.items():
            own = dataclasses.replace(info, kind=name, quantization=kind)
            file_name = f"{name}.tflite" if kind == "float32" else f"{name}_{kind}.tflite"
            (folder / file_name).write_bytes(own.append_to(file))
            on_progress(_written(folder / file_name))
            written[file_name] = kind
    return written


def _written(path: pathlib.Path) -> str:
    """Returns the line of a file, or a folder, that is written."""
    return f"  {path.name}: {_megabytes(path):.1f} MB"


def _megabytes(path: pathlib.Path) -> float:
    """Returns the size of a file, or of all files of a folder, in 10^6 bytes."""
    parts = path.rglob("*") if path.is_dir() else [path]
    return sum(each.stat().st_size for each in parts if each.is_file()) / 1e6


def _check(model, info, folder, written, checking) -> tuple[parity.FileParity, ...]:
    """Compares all files with the model."""
    bar = tqdm(total=len(checking) * (len(written) + 1), desc="check", unit="image", disable=None)

    def predict(predictor):
        for image in checking:
            yield predictor(image.image)
            bar.update()

    def compare(name, kind, found):
        agreements = parity.compare(checking, expected, found, model.num_classes)
        path = folder / name
        milliseconds = predictions.milliseconds(path, checking[0].image)
        return parity.FileParity(name, kind, agreements, _megabytes(path), milliseconds)

    with bar:
        expected = list(predict(predictions.of_stages(model.compiled_stages)))
        checked = [
            compare(name, kind, predict(predictions.of_file(folder / name)))
            for name, kind in written.items()
        ]
    try:
        served = predictions.of_saved_model(folder / "saved_model", checking, info)
    except processes.ProcessError as error:
        raise UserError(f"the SavedModel cannot be served by TensorFlow alone: {error}") from error
    checked += [
        parity.FileParity(
            f"saved_model ({names})",
            "float32",
            parity.compare(checking, expected, found, model.num_classes),
            _megabytes(folder / "saved_model"),
        )
        for names, found in served.items()
    ]
    return tuple(checked)
