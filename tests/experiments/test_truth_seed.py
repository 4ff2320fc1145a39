import numpy as np
import pytest

from experiments import truth_seed
from tests.support.commands import fail, image_size, read_csv, run


def test_hulls_and_counts_of_a_known_shape():
    label = np.zeros((30, 40), np.uint8)
    label[5:15, 5:15] = 1  # a square with a square hole, ...
    label[8:12, 8:12] = 0
    label[8, 8] = 255
    label[20:28, 30] = 1  # ... and an L of two bars, whose hull is a triangle
    label[27, 30:38] = 1
    hull = truth_seed.convex_hull(label == 1)
    assert hull[5:15, 5:15].all() and hull.sum() == 100 + 8 * 9 // 2
    found = np.ones_like(label)
    (everything, truth, nothing) = truth_seed.count([found, label, 0 * label], label, 1)
    size, empty = 84 + 15, 15 + 36 - 15
    assert everything == truth_seed.Counts(size, size, empty, empty, 1200 - 1 - size - empty)
    assert truth == truth_seed.Counts(size, size, empty, 0, 0)
    assert nothing == truth_seed.Counts(size, 0, empty, 0, 0)
    tally = truth_seed.Tally([1, 2])
    tally.add(label, {"truth": [label, found], "initial": [0 * label]})
    tally.add(label, {"truth": [label, label], "initial": [found]})
    rows = {(row.canvas, row.iterations): row for row in tally.rows(["a", "b", "c"])}
    assert list(rows) == [("truth", 0), ("truth", 1), ("initial", 1)]
    assert {row.class_name for row in rows.values()} == {"b"} and rows["initial", 1].images == 2
    assert rows["truth", 0].iou == 100 and rows["truth", 0].filled == 0
    assert rows["truth", 1].filled == 50 and rows["truth", 1].lost == 0
    assert rows["truth", 1].spread == pytest.approx(100 * (1199 - size - empty) / (2 * size))
    assert rows["initial", 1].lost == 50 and rows["initial", 1].iou == pytest.approx(
        100 * size / (size + 1199)
    )
    assert rows["initial", 1].solidity == pytest.approx(100 * size / (size + empty))


def test_truth_seed_command(models, source, tmp_path):
    out = tmp_path / "truth"
    run(truth_seed.main, models / "model.keras", "--data", "tiny", "--iterations", 3, "--out", out,
        "--strip", tmp_path / "strip.png")  # fmt: skip
    rows = read_csv(f"{out}.csv")
    assert len(rows) == 3 * (3 + 4)
    seeds = [row for row in rows if row["canvas"] == "truth" and row["iterations"] == "0"]
    assert all(float(row["iou"]) > 60 for row in seeds)
    assert image_size(f"{out}.png")[0] == 1500 and image_size(tmp_path / "strip.png")[0] > 800
    message = fail(truth_seed.main, models / "model.keras", "--data", "tiny", "--output-stride", 16,
                   "--out", out)  # fmt: skip
    assert "output stride 16" in message
