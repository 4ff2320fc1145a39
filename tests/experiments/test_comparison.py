import pytest

from experiments import comparison, cost_table
from rnnseg.evaluation.evaluator import Evaluator
from rnnseg.models.loading import load_model
from rnnseg.training import loop
from tests.support.commands import read_csv, read_markdown, run
from tests.support.sources import tiny_source


def test_systems_are_trained_once_and_share_one_table(tmp_path, monkeypatch, open_as):
    source = open_as(tiny_source())
    monkeypatch.setattr(loop, "open_source", lambda name: source)
    monkeypatch.setattr(comparison, "ITERATIONS", (1, 3))
    monkeypatch.setattr(comparison, "_REPEATS", 1)
    costs = [cost_table.Row("recurrent", "6 iterations", 93.7, 94.3, 1608, 1610)]
    monkeypatch.setattr(cost_table, "count", lambda: costs)
    systems = {name: comparison.SYSTEMS[name] for name in ("RNN", "PSPNet")}
    monkeypatch.setattr(comparison, "SYSTEMS", systems)
    recipe = tmp_path / "recipe.py"
    options = dict(encoder="mobilenet_v2_0.35", freeze_batch_norm=False, encoder_weights=None)
    options |= dict(crop=(33, 33), batch_size=4, epochs=1)
    recipe.write_text(f"RECIPE = {options!r}")
    out = tmp_path / "runs"
    arguments = ["--recipe", recipe, "--data", "tiny", "--out", out]
    assert "| recurrent | 6 iterations | 93.7 | 94.3 |" in run(comparison.main, *arguments)
    stamps = [path.stat().st_mtime_ns for path in sorted(out.glob("*/last.keras"))]
    assert len(stamps) == 2
    rows = read_csv(out / "comparison.csv")
    points = {(row["system"], row["output_stride"], row["iterations"]): row for row in rows}
    assert set(points) == {
        (system, stride, number)
        for system, numbers in (("RNN", ("1", "3")), ("PSPNet", ("1",)))
        for stride in ("16", "8")
        for number in numbers
    }
    # A finer stride costs more, another iteration too; the scores are what evaluation finds.
    gmacs = {key: float(row["gmacs"]) for key, row in points.items()}
    assert gmacs["PSPNet", "8", "1"] > 2 * gmacs["PSPNet", "16", "1"]
    assert gmacs["RNN", "16", "3"] > gmacs["RNN", "16", "1"]
    assert all(float(row["milliseconds"]) > 0 for row in rows)
    monkeypatch.setattr(comparison, "SYSTEMS", {"PSPNet": comparison.SYSTEMS["PSPNet"]})
    monkeypatch.setattr(comparison, "STRIDES", (16,))
    again = run(comparison.main, *arguments)
    assert stamps == [path.stat().st_mtime_ns for path in sorted(out.glob("*/last.keras"))]
    model = load_model(out / "pspnet" / "last.keras")
    result = Evaluator(model, (1,))(source, "val", progress=False)
    assert float(points["PSPNet", "16", "1"]["miou"]) == pytest.approx(100 * result.miou[0])
    assert read_markdown(again)["PSPNet"][:3] == ["16", "1", f"{100 * result.miou[0]:.2f}"]
    assert (out / "comparison.png").is_file()
