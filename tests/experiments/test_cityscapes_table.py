import numpy as np
import pytest

from experiments import cityscapes_table
from rnnseg.data.tables import CITYSCAPES
from rnnseg.evaluation.evaluator import Evaluator
from tests.evaluation.test_cityscapes import LABELS, draw
from tests.support.commands import fail, image_size, read_csv, read_markdown, run
from tests.support.models import make_lively_model
from tests.support.sources import make_source


def test_cityscapes_table_prints_the_official_means(tmp_path, open_as):
    model = make_lively_model(num_classes=19)
    model.save(tmp_path / "street.keras")
    rng = np.random.default_rng(0)
    examples = [
        (rng.integers(0, 256, (60, 90, 3), dtype=np.uint8), LABELS[label_ids], instance_ids)
        for label_ids, instance_ids, _ in (draw(1), draw(2))
    ]
    source = open_as(make_source({"val": examples}, CITYSCAPES.names))
    out = tmp_path / "table"
    arguments = [tmp_path / "street.keras", "--data", "tiny", "--out", out, "--iterations"]
    output = run(cityscapes_table.main, *arguments, "1,4")
    written, printed = read_csv(f"{out}.csv"), read_markdown(output)
    assert image_size(f"{out}.png")[0] == 1350
    expected = Evaluator(model, (1, 4))(source, "val", progress=False).to_json()["results"]
    assert [row["method"] for row in written][-1] == "paper: RNN, n = 6"
    for row, evaluated in zip(written[-3:-1], expected, strict=True):
        assert row["method"] == f"street, n = {evaluated['iterations']}"
        values = [
            100 * evaluated["cityscapes"][f"mean_{key}"] for key in list(row) if key != "method"
        ]
        assert [float(row[key]) for key in list(row)[1:]] == pytest.approx(values)
        assert printed[row["method"]] == [f"{value:.1f}" for value in values]
    assert printed["paper: RNN, n = 6"] == ["72.7", "46.0", "87.6", "73.9"]
    open_as(make_source({"val": [each[:2] for each in examples]}, CITYSCAPES.names))
    assert "has no instance ids" in fail(cityscapes_table.main, *arguments, "1")


def test_published_rows_are_consistent():
    rows = cityscapes_table.PUBLISHED.values()
    for row in rows:
        assert row.class_iiou < row.class_iou < row.category_iou > row.category_iiou
    # "Consistently achieves second best".
    for part in cityscapes_table.SCORES:
        ranking = sorted(rows, key=lambda row: -getattr(row, part))
        assert [row.method for row in ranking[:2]] == ["paper: PSPNet", "paper: RNN, n = 6"]
