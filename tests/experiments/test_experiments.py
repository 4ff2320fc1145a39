import csv
import dataclasses
import importlib.util
import json
import math
import mmap
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image

from experiments import (
    adaptive,
    benchmark,
    comparison,
    cost_table,
    curve_shape,
    measuring,
    pipeline_benchmark,
    training_benchmark,
)
from rnnseg import data
from rnnseg.data.pipeline import decode
from rnnseg.evaluation.evaluator import Evaluator
from rnnseg.models.loading import load_model
from rnnseg.training import loop
from tests.support.models import make_model
from tests.support.sources import halves, tiny_source


def test_curve_shape_prints_frequent_classes_and_increments(tmp_path, monkeypatch):
    source = tiny_source(val=12)
    monkeypatch.setattr(data, "open_source", lambda name: source)
    model = make_model(num_classes=3)
    model.save(tmp_path / "model.keras")
    arguments = [str(tmp_path / "model.keras"), "--data", "tiny", "--iterations", "3"]
    result = CliRunner().invoke(curve_shape.main, [*arguments, "--images", "5"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "in 5 or more images: left, right, top"
    rows = np.array([line.split() for line in lines[-3:]], float)
    np.testing.assert_allclose(rows[:, 1], rows[:, 2])
    assert np.all(rows[:, 3] < 1)
    increments, leads = curve_shape._canvas_moves(model, source, "val", 3, every=100)
    first = next(source.read("val").as_numpy_iterator())
    canvases = model.unroll(decode(first)[0][None], 3).numpy()
    np.testing.assert_allclose(increments[1], np.abs(canvases[1] - canvases[0]).mean(), rtol=1e-4)
    top = np.sort(canvases[2], -1)
    np.testing.assert_allclose(leads[2], (top[..., -1] - top[..., -2]).mean(), rtol=1e-4)


def test_pipeline_benchmark_prints_what_it_measured(tmp_path, monkeypatch):
    if not importlib.util.find_spec("official"):
        pytest.skip("needs tf-models-official")
    case = pipeline_benchmark.Case(
        33, images=12, batch=2, steps=2, model_garden={"output_size": [33] * 2}
    )
    monkeypatch.setattr(pipeline_benchmark, "CASES", {"voc": case})
    monkeypatch.setattr(data, "open_source", lambda name: tiny_source())
    arguments = ["--voc", "tiny", "--repeats", "3", "--json", str(tmp_path / "numbers.json")]
    result = CliRunner().invoke(pipeline_benchmark.main, arguments)
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "numbers.json").read_text())["results"]["voc"]
    speeds = written["images_per_second"]
    assert {len(values) for values in speeds.values()} == {3}
    printed = {line[2:26].strip(): line[26:].split() for line in result.stdout.splitlines()}
    for name, values in speeds.items():
        assert float(printed[name][0]) == pytest.approx(np.median(values), abs=0.06)
    for other in ("Model Garden", "decoding alone"):
        ratio = np.median(np.divide(speeds["ours"], speeds[other]))
        assert float(printed[f"ours / {other}"][0]) == pytest.approx(ratio, abs=0.006)
    wait, compute = (np.array(written["training"][key]) for key in ("wait", "compute"))
    assert wait.shape == compute.shape == (2,)
    share = 100 * wait.sum() / (wait + compute).sum()
    assert float(printed["training waits"][0]) == pytest.approx(share, abs=0.006)


def test_pipeline_benchmark_gives_everyone_the_same_images():
    if not importlib.util.find_spec("official"):
        pytest.skip("needs tf-models-official")
    case = pipeline_benchmark.Case(
        48, images=12, batch=4, steps=1, model_garden={"output_size": [40, 48]}
    )
    source = tiny_source()
    examples = list(source.read("train").as_numpy_iterator())
    decoded = list(pipeline_benchmark._decoded(examples, case))
    ours = list(pipeline_benchmark._ours(source, examples, case, epochs=1))
    model_garden = list(pipeline_benchmark._model_garden(examples, case))
    assert [image.shape for image, _ in decoded] == [(40, 48, 3)] * 12
    assert [image.shape for image, _ in ours] == [(4, 48, 48, 3)] * 3
    assert [image.shape for image, _ in model_garden] == [(4, 40, 48, 3)] * 3
    values = set(np.unique([labels["masks"] for _, labels in model_garden]))
    assert {0, 1} <= values <= {0, 1, 2, 255}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "give --voc DIR"), (["--voc", "x"], "pip install rnnseg[model-garden]")],
)
def test_pipeline_benchmark_says_what_is_missing(arguments, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "official.vision.dataloaders", None)
    result = CliRunner().invoke(pipeline_benchmark.main, arguments)
    assert result.exit_code == 2
    assert message in result.stderr and len(result.stderr.splitlines()) == 1


def test_benchmark_compares_forms_of_the_same():
    case = benchmark.Case("tiny", side=5, features=12, hidden_channels=(8, 4), classes=3)
    result = benchmark.measure(case, repeats=2, iterations=(1, 2, 3))
    assert list(result) == ["naive", "as built", "bfloat16", "XLA"]
    assert result["XLA"].difference < 1e-5 and math.isnan(result["XLA"].train)
    assert result["as built"].difference < 1e-5 < result["bfloat16"].difference < 0.1
    for times in result.values():
        assert len(times.refine) == 3 and min(*times.refine, times.prepare) > 0
        assert not times.train <= 0
    # The gates of every layer, without the features' part; the first iteration has no forget gate.
    later = 25 * 4 * (8 * (3 + 8) + 4 * (8 + 4) + 3 * (4 + 3))
    first = 25 * 3 * (4 * 8 + 3 * 4)
    assert [case.refine_cost(n) for n in (1, 2, 3)] == [first, first + later, first + 2 * later]


def test_benchmark_reports_what_was_measured():
    case = benchmark.CASES[0]
    result = {
        form: benchmark.Times(
            tuple(start + n * each for n in range(1, 13)), prepare=0.004, train=0.1, difference=1e-6
        )
        for form, start, each in (
            ("naive", 0.005, 0.030),
            ("as built", -0.002, 0.010),
            ("bfloat16", 0, 0.005),
            ("XLA", 0, 0.020),
        )
    }
    result["XLA"] = dataclasses.replace(result["XLA"], train=math.nan)
    cost = case.refine_cost(2) - case.refine_cost(1)
    peaks = {tf.float32: 2 * cost / 0.005, tf.bfloat16: 2 * cost / 0.0025}
    lines = benchmark.report(case, result, peaks).splitlines()
    assert lines[-6].split()[:5] == ["12", "365.00", "118.00", "122.00", "2.99"]
    assert lines[-5] == "an iteration naive: 30.00 ms"
    assert "as built: 10.00 ms, ratio 3.00" in lines[-4] and "50% of the peak" in lines[-4]
    assert "R^2 = 1.0000" in lines[-4] and "1.0e-06" in lines[-4]
    assert "bfloat16: 5.00 ms, ratio 6.00" in lines[-3] and "50% of the peak" in lines[-3]
    assert "XLA: 20.00 ms, ratio 1.50" in lines[-2]
    assert lines[-1].endswith("100.0 ms naive, 100.0 ms as built, 100.0 ms bfloat16")


def test_comparison_trains_once_and_puts_all_in_one_table(tmp_path, monkeypatch):
    source = tiny_source()
    for module in (data, loop):
        monkeypatch.setattr(module, "open_source", lambda name: source)
    monkeypatch.setattr(comparison, "ITERATIONS", (1, 3))
    monkeypatch.setattr(comparison, "_REPEATS", 1)
    costs = [cost_table.Row("recurrent", "6 iterations", 93.7, 94.3, 1608, 1610)]
    monkeypatch.setattr(cost_table, "count", lambda: costs)
    systems = {name: comparison.SYSTEMS[name] for name in ("RNN", "PSPNet")}
    monkeypatch.setattr(comparison, "SYSTEMS", systems)
    recipe = tmp_path / "recipe.py"
    options = dict(encoder="mobilenet_v2_0.35", train_encoder=True, freeze_batch_norm=False)
    options |= dict(encoder_weights=None, crop=(33, 33), batch_size=4, epochs=1)
    recipe.write_text(f"RECIPE = {options!r}")
    out = tmp_path / "runs"
    arguments = ["--recipe", str(recipe), "--data", "tiny", "--out", str(out)]
    first = CliRunner().invoke(comparison.main, arguments)
    assert first.exit_code == 0, first.output
    stamps = [path.stat().st_mtime_ns for path in sorted(out.glob("*/last.keras"))]
    assert len(stamps) == 2
    assert "| recurrent | 6 iterations | 93.7 | 94.3 |" in first.output
    with open(out / "comparison.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    monkeypatch.setattr(comparison, "SYSTEMS", {"PSPNet": comparison.SYSTEMS["PSPNet"]})
    monkeypatch.setattr(comparison, "STRIDES", (16,))
    again = CliRunner().invoke(comparison.main, arguments)
    assert again.exit_code == 0, again.output
    assert stamps == [path.stat().st_mtime_ns for path in sorted(out.glob("*/last.keras"))]
    points = {(row["system"], row["output_stride"], row["iterations"]) for row in rows}
    assert points == {
        (system, stride, number)
        for system, numbers in (("RNN", ("1", "3")), ("PSPNet", ("1",)))
        for stride in ("16", "8")
        for number in numbers
    }
    # A finer stride and a further iteration cost more; the scores are those of the evaluation.
    cost = {
        (row["system"], row["output_stride"], row["iterations"]): float(row["gmacs"])
        for row in rows
    }
    assert cost["PSPNet", "8", "1"] > 2 * cost["PSPNet", "16", "1"]
    assert cost["RNN", "16", "3"] > cost["RNN", "16", "1"]
    assert all(float(row["milliseconds"]) > 0 for row in rows)
    model = load_model(out / "pspnet" / "last.keras")
    result = Evaluator(model, (1,))(source, "val", progress=False)
    (row,) = (row for row in rows if row["system"] == "PSPNet" and row["output_stride"] == "16")
    assert float(row["miou"]) == pytest.approx(100 * result.miou[0])
    assert f"| PSPNet | 16 | 1 | {100 * result.miou[0]:.2f} |" in again.output
    assert (out / "comparison.png").is_file()


def test_training_benchmark_measures_every_form():
    case = training_benchmark.Case("tiny", 6, (33, 49), 2, (4, 3), 5)
    times = training_benchmark.measure_times(case, 3, cells=2, repeats=1)
    assert list(times) == ["naive", "as built", "recompute", "sampled"] == list(case.forms)
    assert min(times.values()) > 0
    assert dataclasses.replace(case, train_encoder=True).forms == case.forms[:3]


def test_training_benchmark_trains_the_same_in_every_form():
    """Checks that all compared forms have the same losses."""
    case = training_benchmark.Case("tiny", 6, (33, 49), 2, (4, 3), 5)
    losses = []
    for form in case.forms[:3]:
        keras.utils.set_random_seed(1)
        step = training_benchmark.training_step(case, form, 4, cells=2)
        losses.append([float(step()) for _ in range(3)])
    assert losses[0][0] != losses[0][2]
    np.testing.assert_allclose(losses[1:], [losses[0]] * 2, rtol=1e-5)


def test_training_benchmark_reports_what_was_measured():
    case = training_benchmark.CASES[0]
    results = [
        {form: training_benchmark.Step(n * 10**8, n / 10) for form in case.forms} for n in (1, 3)
    ]
    lines = training_benchmark.report(case, results).splitlines()
    assert lines[0].endswith("4 images of 360x480, widths 128, 64, 11")
    assert lines[3].split() == ["3", *["300", "MB", "300", "ms"] * 3]
    assert lines[4] == "memory with 3 over 1: naive 3.00, as built 3.00, recompute 3.00"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells")
def test_measuring_finds_the_peak_of_memory():
    def take(size):
        # Maps new pages, because malloc may still hold some of earlier tests.
        with mmap.mmap(-1, size) as memory:
            np.frombuffer(memory, np.uint8)[:: mmap.PAGESIZE] = 1

    assert 29e6 < measuring.peak_memory(lambda: take(30_000_000)) < 40e6
    take(60_000_000)  # an earlier peak does not count
    assert 29e6 < measuring.peak_memory(lambda: take(30_000_000)) < 40e6


def test_adaptive_measures_what_refine_gives(tmp_path, monkeypatch):
    source = tiny_source()
    monkeypatch.setattr(adaptive, "open_source", lambda name: source)
    model = make_model(num_classes=3)
    model.set_weights([3 * weight for weight in model.get_weights()])
    model.save(tmp_path / "model.keras")
    arguments = [str(tmp_path / "model.keras"), "--data", "tiny", "--iterations", "3"]
    arguments += ["--threshold", "0", "--threshold", "1e9", "--image-threshold", "2"]
    result = CliRunner().invoke(adaptive.main, [*arguments, "--map", str(tmp_path / "map.png")])
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()[1:-1]]
    rows = {" ".join(line[:-6]): np.array(line[-6:], float) for line in lines}
    assert list(rows) == ["1", "2", "3", "images 2", "pixels 0", "pixels 1e+09"]
    scores = 100 * Evaluator(model, (1, 2, 3))(source, "val", progress=False).miou
    np.testing.assert_allclose([rows[name][3] for name in "123"], scores, atol=0.006)
    np.testing.assert_array_equal(rows["pixels 0"][[0, 3, 4, 5]], rows["3"][[0, 3, 4, 5]])
    assert rows["3"][5] == 100 and rows["images 2"][0] == 1 and rows["pixels 1e+09"][0] < 2
    image = np.asarray(Image.open(tmp_path / "map.png"))
    assert image.shape == (43, 3 * 51, 3)
    np.testing.assert_array_equal(image[:, :51], halves(3, 43, 51, seed=1)[0][0])
    prepared = model.prepare(model.encode(image[None, :, :51]))
    spent = model.refine_until_settled(prepared, 3)[1][0].numpy()
    shades = np.array([0, 127, 255])[spent[:6, :7] - 1]
    np.testing.assert_array_equal(image[::8, 102::8, 0], shades)
