import dataclasses

import numpy as np
import pytest
from PIL import Image

from experiments import rare_class
from rnnseg.data import shapes
from rnnseg.demos import drawn
from rnnseg.models.loading import load_model
from tests.support.commands import fail, read_csv, run

STAR = shapes.CLASS_NAMES.index("star")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(rare_class, "IMAGES", 8)
    monkeypatch.setattr(rare_class, "RARE", 2)
    monkeypatch.setattr(rare_class, "VALIDATED", 3)
    config = dataclasses.replace(drawn.CONFIG, iterations=2, iteration_weights=None, epochs=1)
    config = dataclasses.replace(config, hidden_channels=(4,), validate_every=1, crop=(33, 33))
    monkeypatch.setattr(drawn, "CONFIG", config)


def masks(folder):
    return [np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))]


def test_losses_are_compared_on_images_of_which_few_show_the_class(tmp_path):
    run(rare_class.main, "--out", tmp_path, "--choices", "weight 20 for the class")
    train = masks(tmp_path / "train" / "masks")
    assert [bool((mask == STAR).any()) for mask in train].count(True) == 2 and len(train) == 8
    labels = masks(tmp_path / "val" / "masks")
    expected = [shapes.draw_image((0, 2, index))[1] for index in range(3)]
    np.testing.assert_array_equal(labels, expected)
    (row,) = read_csv(tmp_path / "rare_class.csv")
    assert row["choice"] == "weight 20 for the class"
    model = load_model(tmp_path / "weight_20_for_the_class_seed1" / "last.keras")
    images = np.stack([shapes.draw_image((0, 2, index))[0] for index in range(3)])
    found, shown = model.predict_classes(images) == STAR, np.array(labels) == STAR
    right = (found & shown).sum()
    iou = 100 * right / max((found | shown).sum(), 1)
    precision = 100 * right / found.sum() if found.any() else np.nan
    assert float(row["recall"]) == pytest.approx(100 * right / shown.sum(), abs=0.2)
    assert float(row["iou"]) == pytest.approx(iou, abs=0.2)
    assert float(row["precision"]) == pytest.approx(precision, abs=0.2, nan_ok=True)


def test_a_class_that_is_nowhere_found_has_no_precision():
    rows = [rare_class.Row("dice", 50.0, 0.0, 0.0, float("nan"))]
    assert rare_class.table(rows).splitlines()[-1] == "| dice | 50.0 | 0.0 | 0.0 | – |"


def test_unknown_losses_are_named(tmp_path):
    assert "hinge" in fail(rare_class.main, "--out", tmp_path, "--choices", "hinge")
