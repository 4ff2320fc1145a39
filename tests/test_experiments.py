import csv
import importlib.util
import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from experiments import benchmark, comparison, curve_shape, pipeline_benchmark
from rnnseg import data, training
from rnnseg.data.pipeline import decode
from rnnseg.evaluation import Evaluator
from rnnseg.loading import load_model
from tests.models import make_model
from tests.sources import tiny_source


def test_curve_shape_prints_frequent_classes_and_increments(tmp_path, monkeypatch):
    source = tiny_source(val=12)
    monkeypatch.setattr(data, "open_source", lambda name: source)
    model = make_model(num_classes=3)
    model.save(tmp_path / "model.keras")
    arguments = [str(tmp_path / "model.keras"), "--data", "tiny", "--iterations", "3"]
    result = CliRunner().invoke(curve_shape.main, [*arguments, "--pictures", "5"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "in 5 or more pictures: left, right, top"
    rows = np.array([line.split() for line in lines[-3:]], float)
    np.testing.assert_allclose(rows[:, 1], rows[:, 2])
    assert np.all(rows[:, 3] < 1)
    increments, leads = curve_shape._canvas_moves(model, source, "val", 3, every=100)
    first = next(source.read("val").as_numpy_iterator())
    canvases = model.trace(decode(first)[0][None], 3).numpy()
    np.testing.assert_allclose(increments[1], np.abs(canvases[1] - canvases[0]).mean(), rtol=1e-4)
    top = np.sort(canvases[2], -1)
    np.testing.assert_allclose(leads[2], (top[..., -1] - top[..., -2]).mean(), rtol=1e-4)


@pytest.mark.slow
def test_pipeline_benchmark_prints_what_it_measured(tmp_path, monkeypatch):
    if not importlib.util.find_spec("official"):
        pytest.skip("needs tf-models-official")
    case = pipeline_benchmark.Case(
        33, pictures=12, batch=2, steps=2, garden={"output_size": [33] * 2}
    )
    monkeypatch.setattr(pipeline_benchmark, "CASES", {"voc": case})
    monkeypatch.setattr(data, "open_source", lambda name: tiny_source())
    arguments = ["--voc", "tiny", "--repeats", "3", "--json", str(tmp_path / "numbers.json")]
    result = CliRunner().invoke(pipeline_benchmark.main, arguments)
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "numbers.json").read_text())["results"]["voc"]
    speeds = written["pictures_per_second"]
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


def test_pipeline_benchmark_gives_everyone_the_same_pictures():
    if not importlib.util.find_spec("official"):
        pytest.skip("needs tf-models-official")
    case = pipeline_benchmark.Case(
        48, pictures=12, batch=4, steps=1, garden={"output_size": [40, 48]}
    )
    source = tiny_source()
    examples = list(source.read("train").as_numpy_iterator())
    decoded = list(pipeline_benchmark._decoded(examples, case))
    ours = list(pipeline_benchmark._ours(source, examples, case, epochs=1))
    garden = list(pipeline_benchmark._garden(examples, case))
    assert [image.shape for image, _ in decoded] == [(40, 48, 3)] * 12
    assert [image.shape for image, _ in ours] == [(4, 48, 48, 3)] * 3
    assert [image.shape for image, _ in garden] == [(4, 40, 48, 3)] * 3
    values = set(np.unique([labels["masks"] for _, labels in garden]))
    assert {0, 1} <= values <= {0, 1, 2, 255}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "give --voc DIR"), (["--voc", "x"], "pip install rnnseg[garden]")],
)
def test_pipeline_benchmark_says_what_is_missing(arguments, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "official.vision.dataloaders", None)
    result = CliRunner().invoke(pipeline_benchmark.main, arguments)
    assert result.exit_code == 2
    assert message in result.stderr and len(result.stderr.splitlines()) == 1


def test_benchmark_compares_two_forms_of_the_same():
    case = benchmark.Case("tiny", cells=5, features=12, hidden_channels=(8, 4), classes=3)
    result = benchmark.measure(case, repeats=2, iterations=(1, 2, 3))
    assert result.difference < 1e-5
    assert len(result.naive) == len(result.built) == 3
    assert min(*result.naive, *result.built, result.prepare) > 0
    # Gates of every layer, of what it sees but the features.
    assert case.refine_cost == 25 * 4 * (8 * (3 + 8) + 4 * (8 + 4) + 3 * (4 + 3))


def test_benchmark_reports_what_was_measured():
    case = benchmark.CASES[0]
    built, naive = [
        tuple(start + n * each for n in range(1, 13))
        for start, each in ((0.002, 0.010), (0.005, 0.030))
    ]
    result = benchmark.Result(naive, built, prepare=0.004, difference=1e-6)
    text = benchmark.report(case, result, peak=2 * case.refine_cost / 0.005)
    assert "30.00 ms naive, 10.00 ms as built, ratio 3.00" in text and "50% of the peak" in text
    assert "R^2 = 1.0000" in text and "1.0e-06" in text
    assert "        12      365.00       122.00           126.00" in text


@pytest.mark.slow
def test_comparison_trains_once_and_puts_all_in_one_table(tmp_path, monkeypatch):
    source = tiny_source()
    for module in (data, training):
        monkeypatch.setattr(module, "open_source", lambda name: source)
    monkeypatch.setattr(comparison, "ITERATIONS", (1, 3))
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
    again = CliRunner().invoke(comparison.main, arguments)
    assert again.exit_code == 0, again.output
    assert stamps == [path.stat().st_mtime_ns for path in sorted(out.glob("*/last.keras"))]
    with open(out / "comparison.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    points = {(row["system"], row["output_stride"], row["iterations"]) for row in rows}
    assert points == {
        (system, stride, number)
        for system, numbers in (("RNN", ("1", "3")), ("PSPNet", ("1",)))
        for stride in ("16", "8")
        for number in numbers
    }
    # A finer stride costs more, another iteration too; the scores are what evaluation finds.
    cost = {
        (row["system"], row["output_stride"], row["iterations"]): float(row["gmacs"])
        for row in rows
    }
    assert cost["PSPNet", "8", "1"] > 2 * cost["PSPNet", "16", "1"]
    assert cost["RNN", "16", "3"] > cost["RNN", "16", "1"]
    model = load_model(out / "pspnet" / "last.keras")
    result = Evaluator(model, (1,))(source, "val", progress=False)
    (row,) = (row for row in rows if row["system"] == "PSPNet" and row["output_stride"] == "16")
    assert float(row["miou"]) == pytest.approx(100 * result.miou[0])
    assert f"| PSPNet | 16 | 1 | {100 * result.miou[0]:.2f} |" in again.output
    assert (out / "comparison.png").is_file()


def test_comparison_prints_the_paper_s_costs_beside_ours(monkeypatch):
    monkeypatch.setattr(comparison, "PUBLISHED", comparison.PUBLISHED[-1:])
    result = CliRunner().invoke(comparison.main, ["--costs"])
    assert result.exit_code == 0, result.output
    cells = [cell.strip() for cell in result.output.splitlines()[2].split("|")]
    assert cells[1:3] == ["recurrent", "6 iterations"]
    for ours, paper in (cells[3:5], cells[5:7]):
        assert float(ours) == pytest.approx(float(paper), rel=0.01)
    result = CliRunner().invoke(comparison.main, ["--recipe", "camvid"])
    assert result.exit_code == 2 and "give --recipe, --data and --out" in result.output
