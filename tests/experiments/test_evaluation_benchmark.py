import keras
import numpy as np
import pytest

from experiments import evaluation_benchmark
from rnnseg.data.pipeline import evaluation_images
from tests.support.commands import run
from tests.support.models import make_model
from tests.support.sources import tiny_source


def test_the_measurements_are_printed(models, open_as, monkeypatch):
    memory = [("small_cnn", 2, {"one view": 1.5e9, "all views": 2.5e9, "logits kept": 3.5e9})]
    open_as(tiny_source())
    monkeypatch.setattr(evaluation_benchmark, "measure_all_memory", lambda: memory)
    monkeypatch.setattr(evaluation_benchmark, "FULL_SIZE", (64, 96))
    arguments = [models / "model.keras", "--data", "tiny", "--images", 2, "--repeats", 1]
    lines = run(evaluation_benchmark.main, *arguments).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["as", "densely", "all"]
    assert lines[4].startswith("reading at the images' size: sparsely ")
    assert lines[5].startswith("reading at 64x96: sparsely ") and lines[5].endswith("equal")
    assert lines[-1].split() == ["small_cnn", "2", "1.50", "2.50", "3.50"]


def test_both_ways_to_read_are_compared(monkeypatch):
    model = make_model(num_classes=3)
    images = [image for image, *_ in evaluation_images(tiny_source(), "val").as_numpy_iterator()]
    sparse, dense, share = evaluation_benchmark.measure_reading(model, images, None, repeats=1)
    assert sparse > 0 and dense > 0 and 0 <= share <= 1
    read = evaluation_benchmark.reading.read_sparsely
    monkeypatch.setattr(
        evaluation_benchmark.reading, "read_sparsely", lambda *args: read(*args) + 1
    )
    with pytest.raises(AssertionError):
        evaluation_benchmark.measure_reading(model, images, None, repeats=1)


def test_forms_whose_memory_is_compared_score_the_same_maps(monkeypatch):
    maps = {}
    for form in evaluation_benchmark.MEMORY_FORMS:
        found = maps[form] = []
        monkeypatch.setattr(
            evaluation_benchmark.metrics, "confusion_matrix",
            lambda label, class_map, classes, found=found: found.append(class_map),
        )  # fmt: skip
        keras.utils.set_random_seed(0)
        evaluation_benchmark.measure_memory(form, "mobilenet_v2_0.35", (6, 5), 2, size=(64, 96))
    np.testing.assert_array_equal(maps["one view"], maps["logits kept"])
    assert np.shape(maps["all views"]) == np.shape(maps["one view"]) == (2, 64, 96)
    assert not np.array_equal(maps["all views"], maps["one view"])
