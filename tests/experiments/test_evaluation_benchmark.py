import pytest
from click.testing import CliRunner

from experiments import evaluation_benchmark
from rnnseg.data.pipeline import evaluation_images
from tests.support.models import make_model
from tests.support.sources import tiny_source


def test_prints_what_it_measured(tmp_path, monkeypatch):
    memory = [("small_cnn", 2, {"one view": 1.5e9, "all views": 2.5e9, "logits kept": 3.5e9})]
    monkeypatch.setattr(evaluation_benchmark, "open_source", lambda name: tiny_source())
    monkeypatch.setattr(evaluation_benchmark, "measure_all_memory", lambda: memory)
    monkeypatch.setattr(evaluation_benchmark, "FULL_SIZE", (64, 96))
    make_model(num_classes=3).save(tmp_path / "model.keras")
    arguments = [str(tmp_path / "model.keras"), "--data", "tiny", "--images", "2"]
    result = CliRunner().invoke(evaluation_benchmark.main, [*arguments, "--repeats", "1"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
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


@pytest.mark.parametrize("form", evaluation_benchmark.MEMORY_FORMS)
def test_every_form_takes_memory(form):
    peak = evaluation_benchmark.measure_memory(form, "small_cnn", (6, 5), 2, size=(64, 96))
    assert peak > 1e6
