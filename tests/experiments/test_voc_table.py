import statistics

import numpy as np
import pytest

from experiments import voc_table
from rnnseg.data.tables import PASCAL_VOC
from rnnseg.evaluation.evaluator import Evaluator
from tests.support.commands import fail, image_size, read_csv, read_markdown, run
from tests.support.models import make_lively_model
from tests.support.sources import halves, make_source


@pytest.fixture(scope="module")
def voc_run(tmp_path_factory):
    model = make_lively_model(num_classes=21, class_names=PASCAL_VOC.names)
    folder = tmp_path_factory.mktemp("runs") / "small"
    folder.mkdir()
    model.save(folder / "last.keras")
    return model, folder


def test_voc_table_has_what_evaluation_finds_and_the_paper_says(
    voc_run, tmp_path, open_as, monkeypatch
):
    model, folder = voc_run
    source = open_as(make_source({"val": halves(2)}, PASCAL_VOC.names))  # classes 0, 1, 2 alone
    monkeypatch.setattr(voc_table, "SCALES", (0.75, 1.0))
    out = tmp_path / "table"
    output = run(voc_table.main, folder, "--data", "tiny", "--iterations", "1,3", "--out", out)
    written, printed = read_csv(f"{out}.csv"), read_markdown(output)
    assert image_size(f"{out}.png")[0] == 1350
    # Before the last row of the paper, which is that of the same system.
    names = ["small, n = 1", "small, n = 3", "paper: RNN, n = 6"]
    assert [row["method"] for row in written][-3:] == printed["class"][-3:] == names
    assert "SDN+: --model sdn" in output and "RNN, n = 6: --model" not in output
    expected = Evaluator(model, (1, 3), (0.75, 1.0), flip=True)(source, "val", progress=False)
    for row, confusion in zip(written[-3:-1], expected.confusion, strict=True):
        hits = np.diagonal(confusion)
        union = confusion.sum(0) + confusion.sum(1) - hits
        iou = [100 * hit / whole if whole else None for hit, whole in zip(hits, union, strict=True)]
        found = [float(row[name]) if row[name] else None for name in PASCAL_VOC.names]
        assert found == pytest.approx(iou)
        assert float(row["miou"]) == pytest.approx(
            statistics.fmean(value for value in iou if value is not None)
        )
        assert float(row["miou_occurring"]) == pytest.approx(statistics.fmean(iou[:3]))
    assert printed["bicycle"][-2] == f"{float(written[-2]['bicycle']):.1f}"
    assert "bird (absent)" in printed and "background" in printed
    assert printed["bird (absent)"][-1] == "91.5" and printed["background"][-1] == "–"
    assert printed["mean"][3:5] == ["85.7", "86.6"] and printed["mean"][-1] == "80.3"
    assert written[-1]["method"] == "paper: RNN, n = 6" and written[-1]["background"] == ""


def test_voc_table_wants_voc(voc_run, tmp_path, source):
    message = fail(voc_table.main, voc_run[1], "--data", "tiny", "--out", tmp_path / "table")
    assert "tiny has the 3 classes left, right, top, …; expected the 21" in message


def test_published_rows_are_consistent():
    for *classes, mean in voc_table.PUBLISHED.values():
        assert len(classes) == 20
        # What follows for the background, which has no column: all systems get it nearly right.
        assert 93 < 21 * mean - sum(classes) < 97
