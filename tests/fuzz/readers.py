"""What reads files of others: the commands and functions of the product, each with whole files."""

import dataclasses
import pathlib
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Reader:
    """A reader.

    Attributes:
      folder: the folder of whole files, as `tests.fuzz.material` makes it.
      damaged: patterns of the files in it that are damaged, one at a time.
      read: reads a copy of the folder, and writes to a folder that does not exist, if it writes.
      inputs: the number of damaged inputs.
    """

    folder: str
    damaged: tuple[str, ...]
    read: Callable[[pathlib.Path, pathlib.Path], object]
    inputs: int = 200


def _command(*arguments):
    from rnnseg.cli.app import main

    main.main(list(map(str, arguments)))


def _segment(folder, out):
    _command("segment", folder / "anytime.tflite", folder / "photos", "--out", out)


def _video(folder, out):
    out.mkdir()  # the folder that the video lies in
    _command("video", folder / "anytime.tflite", folder / "clip.mp4", out / "out.mp4")


def _masks(folder, out):
    from data_prep.masks import MaskReader
    from rnnseg.data.class_files import read_classes

    table = read_classes(folder / "classes.txt")
    for file in sorted((folder / "masks").iterdir()):
        MaskReader(table, "color" if file.stem == "color" else "auto").read_label(file)


def _tables(folder, out):
    from rnnseg.data.class_files import read_classes

    for file in sorted(folder.iterdir()):
        read_classes(file)


def _outlines(folder, out):
    from data_prep.plans.folder import plan_folder

    masks = next(folder.glob("coco.json"), folder)
    plan = plan_folder(images=folder, masks=masks, classes=folder / "classes.txt")
    for pair in plan.splits["train"]:
        plan.make_example(pair)


def _config(folder, out):
    from rnnseg.training.runs import Run

    run = Run(folder)
    config = run.read_config()
    run.check(config, resume=True)
    run.history_until(8)  # the step of the model


def _plan(folder, out):
    _command("plan", folder / "model.keras", "--milliseconds", "1e9")


def _class_weights(folder, out):
    from rnnseg.training.class_weights import read_class_weights

    for file in sorted(folder.iterdir()):
        read_class_weights(file, ("left", "right", "top", "none"))


def _described(folder, out):
    from rnnseg.data import open_source

    open_source(str(folder / "data.json")).require_split("train")


def _inspect(folder, out):
    _command("inspect", folder, "--sheet", out / "sheet.png")


def _images_of(folder, out):
    """Reads records as training does, without the scan before it."""
    from rnnseg.data import open_source
    from rnnseg.data.reading import read_images

    source = open_source(str(folder))
    for split in source.split_sizes:
        for _ in read_images(source, split):
            pass


def _load(folder, out):
    from rnnseg.models.loading import load_model

    load_model(folder / "model.keras")


def _load_preset(folder, out):
    from rnnseg.models.loading import load_model

    load_model(folder)


def _event_files(folder, out):
    """Reads evaluations as the dashboard does, which leaves out those that are damaged."""
    from google.protobuf.message import DecodeError

    from rnnseg.dashboard.reading import read_comparisons
    from rnnseg.errors import UserError
    from tests.dashboard.logdirs import CONTEXT, open_provider

    try:
        provider = open_provider(folder)
    except DecodeError as error:  # by TensorBoard, before the dashboard sees the file
        raise UserError(f"TensorBoard cannot read it: {error}") from error
    if not read_comparisons(provider, CONTEXT, "", ()):
        raise UserError("no evaluation can be read")


def _teacher(folder, out):
    import numpy as np

    from rnnseg.inference.teachers import Teacher

    Teacher(folder / "model.tflite", threads=1)(np.full((50, 40, 3), 90, np.uint8))


READERS = {
    "images": Reader("segment", ("photos/*",), _segment),
    "exported files": Reader("segment", ("anytime.tflite",), _segment),
    "videos": Reader("video", ("clip.mp4",), _video, 120),
    "masks": Reader("masks", ("masks/*",), _masks, 300),
    "tables of classes": Reader("tables", ("*",), _tables, 600),
    "labelme": Reader("labelme", ("*.json",), _outlines, 300),
    "supervisely": Reader("supervisely", ("*.json",), _outlines, 300),
    "coco": Reader("coco", ("*.json",), _outlines, 300),
    "runs": Reader("run", ("config.json", "history.csv"), _config, 400),
    "scores and profiles": Reader("scored", ("*.json",), _plan, 400),
    "class weights": Reader("weights", ("*",), _class_weights, 300),
    "descriptions": Reader("described", ("data.json",), _described, 300),
    "model garden": Reader("garden", ("*.tfrecord*",), _inspect, 100),
    "model garden in training": Reader("garden", ("*.tfrecord*",), _images_of, 100),
    "builds": Reader("built", ("**/*.*",), _inspect, 100),
    "builds in training": Reader("built", ("**/*.*",), _images_of, 100),
    "models": Reader("model", ("model.keras",), _load, 100),
    "event files": Reader("events", ("**/*.tfrecord",), _event_files),
    "teachers": Reader("teacher", ("*.tflite",), _teacher, 300),
    "presets": Reader("preset", ("*",), _load_preset, 100),
}
