import numpy as np
import pytest
from PIL import Image

from experiments import iteration_strips
from experiments.runs import Example
from rnnseg.budgets.costs import stage_costs
from rnnseg.evaluation.evaluator import Evaluator
from rnnseg.inference.predictor import Predictor
from rnnseg.models.loading import load_model
from tests.support.commands import fail, image_size, read_csv, run
from tests.support.sources import halves, make_source


def test_figure_and_table_have_files_and_examples(models, source, tmp_path):
    street = np.random.default_rng(0).integers(0, 256, (50, 90, 3), np.uint8)
    Image.fromarray(street).save(tmp_path / "street.png")
    out = tmp_path / "strips.png"
    run(iteration_strips.main, models / "model.keras", tmp_path / "street.png", "--data", "tiny",
        "--image", 2, "--iterations", "1,3", "--out", out)  # fmt: skip
    rows = read_csv(out.with_suffix(".csv"))
    names = [row["image"] for row in rows]
    assert names == ["street", "street", "val_2", "val_2"] and image_size(out)[0] > 1000
    model = load_model(models / "model.keras")
    costs = stage_costs(model, 50, 90)
    assert float(rows[1]["gmacs"]) == pytest.approx(costs.total(3) / 1e9)
    assert rows[0]["right"] == rows[0]["changed"] == ""
    one = Evaluator(model, (3,))(make_source({"val": halves(3, 41, 57)[2:]}), "val", progress=False)
    assert float(rows[3]["right"]) == pytest.approx(100 * one.pixel_accuracy[0])
    first, _, third = Predictor(model).every_iteration(street, 3)
    assert float(rows[1]["changed"]) == pytest.approx(100 * np.mean(first != third))


def test_titles_name_image_and_cost_apart():
    image = Example("street", np.zeros((4, 6, 3), np.uint8))
    rows = [iteration_strips.Row("street", n, 5 + n / 100, None, None) for n in (1, 2)]
    maps = {n: np.zeros((4, 6), np.uint8) for n in (1, 2)}
    above, below = iteration_strips.panels([(image, maps, rows), (image, maps, rows)])
    expected = ["image", "n = 1\n5.01 G multiply-adds", "n = 2\n5.02 G"]
    assert [panel.title for panel in above] == expected
    assert [panel.title for panel in below] == ["", "", ""]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no image to draw"),
        (["--data", "tiny"], "give --data and --image together"),
        (["--data", "tiny", "--image", "3"], "--image 3: expected 0 to 2"),
    ],
)
def test_what_is_missing_is_said(models, source, tmp_path, arguments, message):
    arguments = [models / "model.keras", *arguments, "--out", tmp_path / "strips.png"]
    assert message in fail(iteration_strips.main, *arguments)
