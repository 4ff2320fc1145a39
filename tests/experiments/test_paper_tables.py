import csv
import statistics

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from experiments import cityscapes_table, cost_table, runs, voc_table
from rnnseg import data
from rnnseg.data.tables import CITYSCAPES, PASCAL_VOC
from rnnseg.evaluation.evaluator import Evaluator
from tests.evaluation.test_cityscapes import LABELS, draw
from tests.support.models import make_lively_model
from tests.support.sources import halves, make_source


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def rows_of_markdown(text):
    """The lines of a printed table, by their first cell."""
    lines = [line.strip("| \n").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {name: cells for name, *cells in lines}


@pytest.fixture(scope="module")
def voc_run(tmp_path_factory):
    model = make_lively_model(num_classes=21, class_names=PASCAL_VOC.names)
    folder = tmp_path_factory.mktemp("runs") / "small"
    folder.mkdir()
    model.save(folder / "last.keras")
    return model, folder


def test_voc_table_has_what_evaluation_finds_and_the_paper_says(voc_run, tmp_path, monkeypatch):
    model, folder = voc_run
    source = make_source({"val": halves(2)}, PASCAL_VOC.names)  # with classes 0, 1 and 2 alone
    monkeypatch.setattr(data, "open_source", lambda name: source)
    monkeypatch.setattr(voc_table, "SCALES", (0.75, 1.0))
    out = tmp_path / "table"
    arguments = [str(folder), "--data", "tiny", "--iterations", "1,3", "--out", str(out)]
    result = CliRunner().invoke(voc_table.main, arguments)
    assert result.exit_code == 0, result.output
    written, printed = read_csv(f"{out}.csv"), rows_of_markdown(result.output)
    assert Image.open(f"{out}.png").width == 1350
    names = ["small, n = 1", "small, n = 3"]
    assert [row["method"] for row in written][:2] == printed["class"][:2] == names
    expected = Evaluator(model, (1, 3), (0.75, 1.0), flip=True)(source, "val", progress=False)
    for row, confusion in zip(written, expected.confusion, strict=False):
        hits = np.diagonal(confusion)
        union = confusion.sum(0) + confusion.sum(1) - hits
        iou = [100 * hit / whole if whole else None for hit, whole in zip(hits, union, strict=True)]
        found = [float(row[name]) if row[name] else None for name in PASCAL_VOC.names]
        assert found == pytest.approx(iou)
        assert float(row["miou"]) == pytest.approx(
            statistics.fmean(value for value in iou if value is not None)
        )
        assert float(row["miou_occurring"]) == pytest.approx(statistics.fmean(iou[:3]))
    assert printed["bicycle"][1] == f"{float(written[1]['bicycle']):.1f}"
    assert "bird (absent)" in printed and "background" in printed
    assert printed["bird (absent)"][-1] == "91.5" and printed["background"][-1] == "–"
    assert printed["mean"][-3:] == ["85.7", "86.6", "80.3"]
    assert written[-1]["method"] == "paper: RNN, n = 6" and written[-1]["background"] == ""


def test_voc_table_wants_voc(voc_run, tmp_path, monkeypatch):
    source = make_source({"val": halves(1)})
    monkeypatch.setattr(data, "open_source", lambda name: source)
    arguments = [str(voc_run[1]), "--data", "tiny", "--out", str(tmp_path / "table")]
    result = CliRunner().invoke(voc_table.main, arguments)
    assert result.exit_code == 2
    assert "tiny has the 3 classes left, right, top, …; expected the 21" in result.stderr


def test_published_rows_are_consistent():
    for *classes, mean in voc_table.PUBLISHED.values():
        assert len(classes) == 20
        # What follows for the background, which has no column: all systems get it nearly right.
        assert 93 < 21 * mean - sum(classes) < 97
    for row in cityscapes_table.PUBLISHED:
        assert row.class_iiou < row.class_iou < row.category_iou > row.category_iiou
    # "Consistently achieves second best".
    for part in ("class_iou", "class_iiou", "category_iou", "category_iiou"):
        ranking = sorted(cityscapes_table.PUBLISHED, key=lambda row: -getattr(row, part))
        assert [row.method for row in ranking[:2]] == ["paper: PSPNet", "paper: RNN, n = 6"]


def test_cityscapes_table_prints_the_official_means(tmp_path, monkeypatch):
    model = make_lively_model(num_classes=19)
    model.save(tmp_path / "street.keras")
    rng = np.random.default_rng(0)
    examples = [
        (rng.integers(0, 256, (60, 90, 3), dtype=np.uint8), LABELS[label_ids], instance_ids)
        for label_ids, instance_ids, _ in (draw(1), draw(2))
    ]
    source = make_source({"val": examples}, CITYSCAPES.names)
    monkeypatch.setattr(data, "open_source", lambda name: source)
    out = tmp_path / "table"
    arguments = [str(tmp_path / "street.keras"), "--data", "tiny", "--out", str(out)]
    result = CliRunner().invoke(cityscapes_table.main, [*arguments, "--iterations", "1,4"])
    assert result.exit_code == 0, result.output
    written, printed = read_csv(f"{out}.csv"), rows_of_markdown(result.output)
    assert Image.open(f"{out}.png").width == 1350
    expected = Evaluator(model, (1, 4))(source, "val", progress=False).to_json()["results"]
    for row, evaluated in zip(written, expected, strict=False):
        assert row["method"] == f"street, n = {evaluated['iterations']}"
        values = [
            100 * evaluated["cityscapes"][f"mean_{key}"] for key in list(row) if key != "method"
        ]
        assert [float(row[key]) for key in list(row)[1:]] == pytest.approx(values)
        assert printed[row["method"]] == [f"{value:.1f}" for value in values]
    assert printed["paper: RNN, n = 6"] == ["72.7", "46.0", "87.6", "73.9"]
    without = make_source({"val": [each[:2] for each in examples]}, CITYSCAPES.names)
    monkeypatch.setattr(data, "open_source", lambda name: without)
    result = CliRunner().invoke(cityscapes_table.main, [*arguments, "--iterations", "1"])
    assert result.exit_code == 2 and "has no instance ids" in result.stderr


def test_cost_table_agrees_with_the_paper_on_the_recurrence(tmp_path, monkeypatch):
    monkeypatch.setattr(cost_table, "PUBLISHED", cost_table.PUBLISHED[-2:])
    out = tmp_path / "costs"
    result = CliRunner().invoke(cost_table.main, ["--out", str(out)])
    assert result.exit_code == 0, result.output
    written = read_csv(f"{out}.csv")
    assert [row["setting"] for row in written] == ["5 iterations", "6 iterations"]
    for row in written:
        for part in ("single", "multi"):
            assert float(row[part]) == pytest.approx(float(row[f"{part}_paper"]), rel=0.01)
    single = float(written[1]["single"])
    assert f"| recurrent | 6 iterations | {single:.1f} | 94.3 |" in result.output
    assert Image.open(f"{out}.png").width == 1350


def test_run_names_are_short_while_they_differ(tmp_path):
    assert runs.run_names([f"{tmp_path}/a/last.keras", f"{tmp_path}/b", "c.keras"]) == [
        "a", "b", "c"
    ]  # fmt: skip
    assert runs.run_names(["a/last.keras", "a/best.keras"]) == ["a/last.keras", "a/best.keras"]
