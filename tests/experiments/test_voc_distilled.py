import json

import numpy as np
import pytest
from PIL import Image

from experiments import voc_distilled
from rnnseg.data import open_source
from rnnseg.data.tables import PASCAL_VOC
from rnnseg.pretrained.names import open_preset
from tests.support.commands import fail, run
from tests.support.models import make_model
from tests.support.sources import tiny_source


class Teacher:
    """Says background to the left half and dog to the right half of what it sees."""

    name, checksum, size, path = "teacher.tflite", "0" * 64, None, "teacher.tflite"
    names = colors = None

    def __init__(self, path):
        pass

    def __call__(self, image):
        labels = np.zeros(image.shape[:2], np.int32)
        labels[:, image.shape[1] // 2 :] = 12
        return labels


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """Those of a small kit, with two images without labels."""
    monkeypatch.setattr(voc_distilled, "Teacher", Teacher)
    monkeypatch.setattr(voc_distilled, "SCALES", (1.0,))
    small = dict(encoder="small_cnn", iterations=2, crop=(33, 33), batch_size=2, epochs=1)
    monkeypatch.setattr(voc_distilled, "RECIPE", voc_distilled.RECIPE | small)
    generator = np.random.default_rng(1)
    kit = tmp_path / "VOC2012"
    lists = {"train_aug": ("a", "b"), "val": ("c",)}
    for split, names in lists.items():
        path = kit / "ImageSets" / "Segmentation" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(names))
        masks = "SegmentationClassAug" if split == "train_aug" else "SegmentationClass"
        for name in names:
            save(kit / "JPEGImages" / f"{name}.jpg", generator.integers(0, 256, (40, 48, 3)))
            save(kit / masks / f"{name}.png", generator.choice([0, 7, 255], (40, 48)))
    for name in ("d.jpg", "deep/e [1].bmp"):
        save(tmp_path / "photos" / name, generator.integers(0, 256, (40, 48, 3)))
    return [
        *("--voc", kit, "--images", tmp_path / "photos", "--weights", "coco.weights.h5"),
        *("--teacher", tmp_path / "teacher.tflite", "--out", tmp_path / "out"),
    ]


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.uint8(values)).save(path)


def test_the_student_sees_true_labels_and_those_of_the_teacher(tmp_path, arguments, monkeypatch):
    configs, presets = [], []
    monkeypatch.setattr(
        "rnnseg.training.loop.train", lambda config, out, resume: configs.append((config, out))
    )
    monkeypatch.setattr(voc_distilled, "make_preset", lambda *args: presets.append(args))
    printed = run(voc_distilled.main, *arguments)
    assert "labelled 2 images" in printed
    source = open_source(str(tmp_path / "out" / "voc"))
    assert source.class_names == PASCAL_VOC.names
    assert [source.require_split(split) for split in ("train", "val")] == [4, 1]
    ((config, out),) = configs
    assert config.encoder_weights == "coco.weights.h5" and not config.train_encoder
    assert config.teacher == str(tmp_path / "teacher.tflite")
    assert config.data == str(tmp_path / "out" / "voc")
    assert out == tmp_path / "out" / "run"
    ((run_folder, _, about, _, preset),) = presets
    assert run_folder == out and preset.name == "mobilenet_v2_voc"
    assert "2 images of PASCAL VOC" in about and "2 images without" in about
    settings = json.loads((tmp_path / "out" / "labels" / "pseudo_labels.json").read_text())
    assert settings["teacher"] == "teacher.tflite"
    # Mirrored, left is right: the views differ everywhere.
    assert set(np.unique(np.asarray(Image.open(tmp_path / "out/labels/deep/e [1].png")))) == {255}
    run(voc_distilled.main, *arguments)  # goes on
    (tmp_path / "out" / "mobilenet_v2_voc").mkdir()
    assert "everything is done" in fail(voc_distilled.main, *arguments)


def test_the_preset_has_scores_weaknesses_and_a_file_for_devices(tmp_path, monkeypatch):
    monkeypatch.setattr(voc_distilled, "SIZE", (33, 33))
    monkeypatch.setattr(voc_distilled, "IMAGE_SCALES", (0.5, 1.0))
    source = tiny_source()
    monkeypatch.setattr("rnnseg.data.open_source", lambda name: source)
    monkeypatch.setattr("rnnseg.exporting.export.open_source", lambda name: source)
    model = make_model(num_classes=3, class_names=source.class_names)
    (tmp_path / "run").mkdir()
    model.save(tmp_path / "run" / "best.keras")
    preset = tmp_path / "mine"
    voc_distilled.make_preset(tmp_path / "run", "tiny", "Drawn.", tmp_path / "exported", preset)
    found = open_preset(preset)
    assert found.file("anytime_int8.tflite").stat().st_size > 0
    assert {row.scale for row in found.scores().results} == {0.5, 1.0}
    card = (preset / "README.md").read_text()
    assert "Drawn." in card and "the IoU is below 50 % for" in card


def test_a_kit_without_the_augmented_masks_is_named(arguments, tmp_path):
    (tmp_path / "VOC2012/ImageSets/Segmentation/train_aug.txt").unlink()
    assert "train_aug.txt cannot be read" in fail(voc_distilled.main, *arguments)
