"""Whole files of every kind that is read, small and written by what writes them."""

import base64
import dataclasses
import io
import json
import pathlib
import shutil
import zlib

import numpy as np
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image

from rnnseg.cli.app import main
from rnnseg.training.config import TrainingConfig
from rnnseg.training.runs import HistoryRow, Run
from tests.support.litert import write_anytime
from tests.support.models import make_model
from tests.support.sources import halves
from tests.video import clips

NAMES = ("left", "right", "top", "none")
COLORS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (0, 0, 0))
_SIZE = (40, 48)
_SQUARE = [[2, 3], [16, 3], [16, 17], [2, 17]]


def write(folder: pathlib.Path) -> None:
    """Writes all files below a folder."""
    for kind in (_images, _masks, _tables, _outlines, _small_files, _data, _models, _others):
        kind(folder)


def _run(*arguments) -> None:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output


def _images(folder) -> None:
    photos = folder / "segment" / "photos"
    photos.mkdir(parents=True)
    image = Image.fromarray(halves(1, *_SIZE)[0][0])
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    image.save(photos / "turned.jpg", exif=exif, quality=90)
    image.save(photos / "large.png", exif=exif, dpi=(300, 300))
    image.convert("P").save(photos / "palette.png", transparency=3)
    image.convert("L").save(photos / "grey.webp")
    image.convert("RGBA").save(photos / "alpha.tiff", compression="tiff_lzw")
    image.save(photos / "plain.bmp")
    Image.fromarray(np.full(_SIZE, 40000, np.uint16)).save(photos / "deep.png")
    (folder / "video").mkdir()
    clips.write(folder / "video" / "clip.mp4", clips.scene(4), sound=True, rotation=90)


def _masks(folder) -> None:
    masks = folder / "masks" / "masks"
    masks.mkdir(parents=True)
    labels = np.where(halves(1, *_SIZE)[0][1] == 255, 3, halves(1, *_SIZE)[0][1])
    palette = Image.fromarray(labels)
    palette.putpalette(np.uint8(COLORS).tobytes())
    palette.save(masks / "palette.png", transparency=2)
    Image.fromarray(labels).save(masks / "grey.png")
    Image.fromarray(np.uint8(COLORS)[labels]).save(masks / "color.png")
    (folder / "masks" / "classes.txt").write_text(_lines("{0} {1} {2} {3}"))


def _lines(form: str) -> str:
    rows = zip(NAMES, COLORS, strict=True)
    return "".join(form.format(name, *color) + "\n" for name, color in rows)


def _tables(folder) -> None:
    tables = folder / "tables"
    tables.mkdir()
    rows = [
        {"name": name, "index": index, "r": color[0], "g": color[1], "b": color[2]}
        for index, (name, color) in enumerate(zip(NAMES, COLORS, strict=True))
    ]
    (tables / "names.txt").write_text("# of a street\n" + _lines("{0}"))
    (tables / "colors.txt").write_text(_lines("{1} {2} {3} {0}"))
    (tables / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + _lines(
        "{0}:{1},{2},{3}::"))  # fmt: skip
    (tables / "_classes.csv").write_text("Pixel Value, Class\n" + "".join(
        f"{index}, {name}\n" for index, name in enumerate(NAMES)))  # fmt: skip
    (tables / "table.csv").write_text("name,r,g,b\n" + _lines("{0},{1},{2},{3}"))
    (tables / "table.json").write_text(json.dumps(rows))
    classes = [
        {"title": name, "shape": "polygon", "color": f"#1a2b{index}c"}
        for index, name in enumerate(NAMES[:3])
    ]
    (tables / "meta.json").write_text(json.dumps({"classes": classes, "tags": []}))
    categories = [{"id": 3 * index + 1, "name": name} for index, name in enumerate(NAMES)]
    coco = {"images": [], "annotations": [], "categories": categories}
    (tables / "coco.json").write_text(json.dumps(coco))


def _outlines(folder) -> None:
    height, width = _SIZE
    mask = io.BytesIO()
    Image.new("L", (5, 6), 1).save(mask, "PNG")
    mask = mask.getvalue()
    shapes = [
        {"label": "left", "points": _SQUARE, "shape_type": "polygon"},
        {"label": "top", "points": [[5, 4], [8, 4]], "shape_type": "circle"},
        {"label": "right", "points": _SQUARE[::2], "shape_type": "rectangle"},
        {"label": "left", "points": [[2, 3], [6, 8]], "shape_type": "mask",
         "mask": base64.b64encode(mask).decode()},
    ]  # fmt: skip
    labelme = {"shapes": shapes, "imageWidth": width, "imageHeight": height, "imagePath": "a.jpg"}
    objects = [
        {"classTitle": "left", "geometryType": "polygon",
         "points": {"exterior": _SQUARE, "interior": [[[4, 5], [8, 5], [8, 9]]]}},
        {"classTitle": "top", "geometryType": "bitmap",
         "bitmap": {"data": base64.b64encode(zlib.compress(mask)).decode(), "origin": [3, 4]}},
    ]  # fmt: skip
    supervisely = {"size": {"width": width, "height": height}, "objects": objects}
    annotations = [
        {"id": 1, "image_id": 7, "category_id": 1, "iscrowd": 0,
         "segmentation": [[x for point in _SQUARE for x in point]]},
        {"id": 2, "image_id": 7, "category_id": 2, "iscrowd": 1,
         "segmentation": {"size": [height, width], "counts": [100, 50, height * width - 150]}},
    ]  # fmt: skip
    coco = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": width, "height": height}],
        "annotations": annotations,
        "categories": [{"id": index, "name": name} for index, name in enumerate(NAMES)],
    }
    for kind, content in (("labelme", labelme), ("supervisely", supervisely), ("coco", coco)):
        (folder / kind).mkdir()
        Image.new("RGB", (width, height)).save(folder / kind / "a.jpg")
        file = "coco.json" if kind == "coco" else "a.json"
        (folder / kind / file).write_text(json.dumps(content))
        (folder / kind / "classes.txt").write_text("background\n" + _lines("{0}"))


def _small_files(folder) -> None:
    run = Run(folder / "run")
    run.folder.mkdir()
    run.begin(TrainingConfig(data="shapes", crop=(32, 40), hidden_channels=(8, 6), epochs=3))
    rows = [HistoryRow(epoch, 4 * epoch, 1.5, 0.01, 1.25, 20.5, 40.25) for epoch in (1, 2)]
    run.write_history([dataclasses.asdict(row) for row in rows])
    weights = folder / "weights"
    weights.mkdir()
    (weights / "weights.txt").write_text(_lines("{0} 1.5"))
    (weights / "weights.json").write_text(json.dumps(dict.fromkeys(NAMES, 0.5)))


def _data(folder) -> None:
    """Writes records of both kinds, which the commands make of images and masks."""
    for part, count in (("train", 4), ("val", 2)):
        for kind in ("images", "masks"):
            (folder / "plain" / part / kind).mkdir(parents=True)
        for index, (image, label) in enumerate(halves(count, *_SIZE, seed=count)):
            Image.fromarray(image).save(folder / "plain" / part / "images" / f"{part}{index}.png")
            Image.fromarray(label).save(folder / "plain" / part / "masks" / f"{part}{index}.png")
    plain, built = folder / "plain", folder / "built"
    (plain / "classes.txt").write_text(_lines("{0} {1} {2} {3}"))
    _run("prepare", "folder", "--images", plain / "train" / "images", "--masks",
         plain / "train" / "masks", "--val-images", plain / "val" / "images", "--val-masks",
         plain / "val" / "masks", "--classes", plain / "classes.txt", "--ignore", 255,
         "--processes", 1, "--out", built)  # fmt: skip
    garden = folder / "garden"
    _run("prepare", "to_model_garden", "--data", built, "--out", garden, "--shards", 1)
    described = folder / "described"
    shutil.copytree(garden, described / "records")
    description = {"data": "records", "classes": [{"name": name} for name in NAMES]}
    (described / "data.json").write_text(json.dumps(description))


def _models(folder) -> None:
    """Writes a model in all its forms, with its scores and times."""
    model = make_model(class_names=NAMES, class_colors=COLORS)
    for kind in ("model", "scored"):
        (folder / kind).mkdir()
        model.save(folder / kind / "model.keras")
    scored = folder / "scored"
    _run("evaluate", scored / "model.keras", "--data", folder / "built", "--iterations", "1-2",
         "--tensorboard", folder / "events")  # fmt: skip
    _run("benchmark", scored / "model.keras", "--size", "40x48", "--repeats", 1, "--save")
    model.save_to_preset(folder / "preset", description="a test", data="halves")
    write_anytime(model, _SIZE, folder / "segment", classes=NAMES, colors=COLORS)
    shutil.copy(folder / "segment" / "anytime.tflite", folder / "video")


def _others(folder) -> None:
    """Writes a LiteRT file as others make them, and gives an event file the ending of records."""
    # One file is that of the run, which is larger than that of the layout.
    events = max((folder / "events").rglob("*tfevents*"), key=lambda path: path.stat().st_size)
    events.rename(events.with_name("events.out.tfevents.1.tfrecord"))
    (folder / "teacher").mkdir()

    def scores(images):
        bright = tf.nn.conv2d(tf.cast(images, tf.float32), tf.ones((3, 3, 3, 1)), 1, "SAME")
        return tf.concat([bright - 3000, 3000 - bright], -1)

    spec = tf.TensorSpec((1, *_SIZE, 3), tf.uint8)
    traced = tf.function(scores, input_signature=[spec]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced])
    (folder / "teacher" / "model.tflite").write_bytes(converter.convert())
