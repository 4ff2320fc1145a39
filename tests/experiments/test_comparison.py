import dataclasses
import json
import math

import numpy as np
import pytest
from PIL import Image

from experiments import comparison, comparison_report, cost_table, kept_runs
from experiments.comparison_report import Row
from rnnseg import UserError
from rnnseg.evaluation import metrics
from rnnseg.evaluation.evaluator import Evaluator
from rnnseg.models.loading import load_model
from rnnseg.models.registry import MODELS
from rnnseg.training import loop
from rnnseg.training.config import load_recipe
from tests.support.commands import fail, read_csv, run
from tests.support.sources import tiny_source

SYSTEMS = ("recurrence", "LR-ASPP 128", "CRF-RNN")


@pytest.fixture
def source(open_as, monkeypatch):
    source = open_as(tiny_source())
    monkeypatch.setattr(loop, "open_source", lambda name: source)
    return source


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """Those of a comparison of two small systems."""
    monkeypatch.setattr(comparison, "ITERATIONS", (1, 3))
    monkeypatch.setattr(comparison, "_REPEATS", 1)
    costs = [cost_table.Row("recurrent", "6 iterations", 93.7, 94.3, 1608, 1610)]
    monkeypatch.setattr(cost_table, "count", lambda: costs)
    recipe = tmp_path / "recipe.py"
    options = dict(encoder="small_cnn", freeze_batch_norm=False, encoder_weights=None)
    options |= dict(crop=(17, 17), batch_size=4, epochs=1, iterations=2)
    recipe.write_text(f"RECIPE = {options!r}")
    arguments = ["--recipe", recipe, "--data", "tiny", "--out", tmp_path / "runs"]
    return [*arguments, "--output-strides", 16, "--systems", ", ".join(SYSTEMS[::-1])]


def test_only_what_is_missing_is_done(source, arguments, tmp_path, monkeypatch):
    out = tmp_path / "runs"
    printed = run(comparison.main, *arguments, "--scales", "1,0.75")
    assert "| recurrent | 6 iterations | 93.7 | 94.3 |" in printed
    rows = read_csv(out / "comparison.csv")
    keys = ("system", "output_stride", "scale", "iterations")
    points = {tuple(row[key] for key in keys): row for row in rows}
    assert set(points) == {
        (system, "16", scale, number)
        for system, numbers in zip(SYSTEMS, (("1", "3"), ("1",), ("1", "3")), strict=True)
        for scale in ("1.0", "0.75")
        for number in numbers
    }
    # More iterations cost more, and smaller images cost less.
    gmacs = {key: float(row["gmacs"]) for key, row in points.items()}
    assert gmacs["recurrence", "16", "1.0", "3"] > gmacs["recurrence", "16", "1.0", "1"]
    assert gmacs["LR-ASPP 128", "16", "0.75", "1"] < gmacs["LR-ASPP 128", "16", "1.0", "1"]
    assert all(float(row["milliseconds"]) > 0 for row in rows)
    assert (out / "comparison.png").is_file()

    # The scores are what evaluation finds.
    model = load_model(out / "recurrence_seed1" / "last.keras")
    result = Evaluator(model, (1, 3), (0.75,))(source, "val", progress=False)
    row = points["recurrence", "16", "0.75", "3"]
    assert float(row["miou"]) == pytest.approx(100 * result.miou[1])
    occurring = metrics.mean_iou_occurring(result.confusion)[1]
    assert float(row["miou_occurring"]) == pytest.approx(100 * occurring)
    assert float(row["gmacs"]) == result.multiply_adds[1] / 1e9

    # A second call with another seed trains and evaluates that alone.
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*_seed1/**/*") if path.is_file()}
    run(comparison.main, *arguments, "--seeds", "1,2")
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    rows = read_csv(out / "comparison.csv")
    scores = []
    for seed in "12":
        model = load_model(out / f"lr_aspp_128_seed{seed}" / "last.keras")
        scores.append(100 * Evaluator(model, (1,))(source, "val", progress=False).miou[0])
    (row,) = [row for row in rows if row["system"] == "LR-ASPP 128"]
    assert float(row["miou"]) == pytest.approx(np.mean(scores))
    assert float(row["miou_spread"]) == pytest.approx(np.std(scores, ddof=1))

    # If nothing is missing, no model is run.
    monkeypatch.setattr(loop, "train", None)
    monkeypatch.setattr(comparison.timing, "take_turns", None)
    run(comparison.main, *arguments, "--seeds", "1,2")
    assert read_csv(out / "comparison.csv") == rows


def test_an_evaluation_is_made_anew_for_another_model(source, tmp_path):
    values = dict(data="tiny", encoder="small_cnn", encoder_weights=None, freeze_batch_norm=False)
    values |= dict(model="pspnet", output_stride=8, crop=(17, 17), epochs=1, head_channels=4)
    config = comparison.configuration.TrainingConfig(**values, batch_size=4, seed=1)
    own = kept_runs.KeptRun(config, tmp_path / "run", (1,))
    scores, size = own.scores(8, 1.0)
    assert size == (43, 51) and [score.iterations for score in scores] == [1]
    file = tmp_path / "run" / "evaluations" / "stride_8_scale_1.json"
    content = json.loads(file.read_text())
    content["scores"][0]["miou"] = 0.125
    file.write_text(json.dumps(content))
    again = kept_runs.KeptRun(config, tmp_path / "run", (1,))
    assert again.scores(8, 1.0)[0][0].miou == 0.125  # it is what was kept
    content["made_from"]["model"] = "another"
    for other in (json.dumps(content), "damaged"):
        file.write_text(other)
        assert kept_runs.KeptRun(config, tmp_path / "run", (1,)).scores(8, 1.0) == (scores, size)
    with pytest.raises(UserError, match="holds another run: l2 is"):
        other = dataclasses.replace(config, l2=1.0)
        kept_runs.KeptRun(other, tmp_path / "run", (1,)).scores(8, 1.0)


def test_the_weights_are_those_of_the_training_at_every_stride(tmp_path):
    options = dict(encoder="mobilenet_v2_0.35", encoder_weights=None, freeze_batch_norm=False)
    config = comparison.configuration.TrainingConfig(data="tiny", model="lr_aspp", **options)
    own = kept_runs.KeptRun(config, tmp_path / "run", (1,))
    own.trained = MODELS["lr_aspp"](3, encoder="mobilenet_v2_0.35", encoder_weights=None)
    assert own.model(16) is own.trained
    fine = own.model(8)
    assert fine.output_stride == 8 and own.model(8) is fine
    for one, other in zip(fine.weights, own.trained.weights, strict=True):
        assert np.array_equal(one, other)


def test_unknown_systems_are_named(arguments):
    line = fail(comparison.main, *arguments, "--systems", "recurrence,UNet")
    assert line.startswith("error: --systems: 'UNet': expected some of recurrence, ")


def test_every_system_has_a_folder_and_a_configuration():
    folders = [comparison.folder_name(system) for system in comparison.SYSTEMS]
    assert len(set(folders)) == len(folders)
    values = dict(data="any", output_stride=8, early_iterations=(1,), iterations=4)
    for system, changes in comparison.SYSTEMS.items():
        config = comparison.system_config(system, values)
        assert all(getattr(config, name) == value for name, value in changes.items())
        if system == comparison.AS_PUBLISHED:
            assert config.canvas_stride == 8
            assert config.skip_layers == config.early_iterations == ()
        else:
            assert (config.early_iterations == (1,)) == (config.model == "recurrent")


@pytest.mark.parametrize(
    ("system", "canvas_stride", "iterations"),
    [("FCN-8s", 8, None), ("CRF-RNN", 4, 6), ("DeepLab", 4, 11), ("SDN 48", 4, None)],
)
def test_a_recipe_of_the_paper_leaves_other_systems_as_published(system, canvas_stride, iterations):
    values = load_recipe("camvid_paper") | dict(data="any", iterations=3, skip_layers=())
    config = comparison.system_config(system, values)
    assert config.canvas_stride == canvas_stride and config.skip_layers is None
    assert iterations in (None, config.iterations)


def test_table_marks_the_common_frontier(tmp_path):
    def row(system, iterations, gmacs, occurring, milliseconds):
        place = (system, 16, 0.5, iterations, 2)
        return Row(*place, 50.0, 1.25, occurring, 0.5, gmacs, milliseconds)

    rows = comparison_report.marked(
        [
            row("recurrence", 1, 1.0, 50.0, 9.0),
            row("recurrence", 2, 1.5, 55.0, 10.0),
            row("recurrence", 3, 2.0, 54.0, 11.0),  # dearer and worse
            row("rival", 1, 1.5, 54.5, 8.0),  # as dear and worse
            row("other", 1, 3.0, 60.0, 12.0),
        ]
    )
    assert [each.on_frontier for each in rows] == [True, True, False, False, True]
    assert comparison_report.frontier_of(rows, "milliseconds") == [3, 1, 4]
    lines = comparison_report.table(rows).splitlines()
    assert lines[3] == (
        "| recurrence | 16 | 0.5 | 2 | 50.00 ± 1.25 | 55.00 ± 0.50 | 1.500 | 10.0 | * |"
    )
    assert lines[5].endswith("| 8.0 |  |")
    comparison_report.save_plot(tmp_path / "plot.png", rows)
    assert Image.open(tmp_path / "plot.png").width > 1000


def test_a_single_seed_has_no_spread():
    score = kept_runs.Score(1, 0.5, 0.25, 3_000_000_000)
    (row,) = comparison_report.rows_of("rival", 8, 1.0, [[score]])
    assert (row.miou, row.miou_occurring, row.gmacs, row.seeds) == (50.0, 25.0, 3.0, 1)
    assert math.isnan(row.miou_spread)
    assert comparison_report.table([row]).endswith("| 50.00 | 25.00 | 3.000 | nan |  |")
