import csv

import numpy as np
import pytest

import rnnseg
from experiments import device_comparison
from experiments.device_benchmark import Ours
from experiments.device_comparison import Point, ScaledFile
from rnnseg.evaluation.evaluator import Evaluator
from rnnseg.models.loading import load_model
from tests.support.commands import fail, read_markdown, run
from tests.support.litert import write_anytime
from tests.support.models import make_lively_model


@pytest.fixture
def exports(monkeypatch):
    """Exports write float32 files in place of int8; returns their folders and sizes."""
    made = []

    def export_model(model, out, size, quantize, data, split, on_progress):
        assert quantize == ["int8"] and split == "val"
        made.append((out, size))
        write_anytime(model, size, out, classes=tuple(model.names), colors=tuple(model.colors))
        (out / "anytime.tflite").rename(out / "anytime_int8.tflite")

    monkeypatch.setattr(rnnseg, "export_model", export_model)
    return made


def compare(model, scales, out):
    return run(device_comparison.main, model, "--data", "tiny", "--scales", scales, "--out", out,
               "--repeats", 1, "--threads", 1)  # fmt: skip


def test_all_files_are_measured_in_one_run_and_exports_are_kept(source, exports, models, tmp_path):
    path, out = models / "model.keras", tmp_path / "out"
    text = compare(path, "0.5,1", out)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| model |")]
    assert [row[1:3] for row in rows[1:]] == [
        [scale, str(number)] for scale in ("0.5", "1") for number in (1, 2, 3, 6, 12)
    ]
    with open(out / "comparison.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert all(float(row["milliseconds_1_threads"]) > 0 for row in found)
    # The files of full size have the model's own answers.
    expected = Evaluator(load_model(path), (1, 2, 3, 6, 12))(source, "val", progress=False)
    mious = [float(row["miou"]) / 100 for row in found if row["scale"] == "1.0"]
    np.testing.assert_allclose(mious, expected.miou, atol=2e-3)
    assert [size for _, size in exports] == [(21, 29), (41, 57)]
    compare(path, "1", out)
    assert len(exports) == 2
    model = load_model(path)
    assert device_comparison.digest(model, "tiny") != device_comparison.digest(model, "other")
    make_lively_model(num_classes=3).save(tmp_path / "model.keras")
    compare(tmp_path / "model.keras", "0.5", out)
    folders = {folder.parent for folder, _ in exports}
    assert len(exports) == 3 and len(folders) == 2
    assert all(each.name.startswith("model_") for each in folders)


def test_images_are_enlarged_for_scales_above_one(tmp_path):
    model = make_lively_model()
    path = write_anytime(model, (81, 113), tmp_path)
    blocks = np.random.default_rng(3).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    image = blocks.repeat(7, 0).repeat(8, 1)[:41, :57]
    unroll = Evaluator(model, (1, 6), (2.0,)).unroll
    found = ScaledFile(path, 1, "large", 2.0).maps(image)
    padded = Ours(path, 1).maps(image)
    for number in (1, 6):
        expected = unroll.predict(image, number)
        assert found[number].shape == (41, 57)
        assert (found[number] == expected).mean() > 0.98
        assert (padded[number] == expected).mean() < 0.6


def test_stars_mark_what_no_other_point_beats_on_as_many_threads():
    found = [
        Point("a", 1.0, 1, 50.0, {1: 10.0, 2: 9.0}),
        Point("b", 1.0, 1, 49.0, {1: 12.0, 2: 6.0}),
        Point("b", 1.0, 2, 51.0, {1: 12.0, 2: 9.0}),
    ]
    assert device_comparison.best(found, 1) == {0, 2}
    assert device_comparison.best(found, 2) == {1, 2}
    text = device_comparison.table(found)
    assert "ms, 1 thread | ms, 2 threads" in text
    assert read_markdown(text)["a"] == ["1", "1", "50.00", "10.0 *", "9.0"]


def test_models_of_other_classes_are_refused(source, exports, tmp_path):
    make_lively_model(num_classes=5).save(tmp_path / "other.keras")
    message = fail(device_comparison.main, tmp_path / "other.keras", "--data", "tiny", "--out",
                   tmp_path / "out")  # fmt: skip
    assert "5 classes" in message and not exports
