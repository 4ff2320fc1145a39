import numpy as np
import pytest

from experiments import runs
from rnnseg.errors import UserError
from tests.support.sources import halves


def test_run_names_are_short_while_they_differ(tmp_path):
    assert runs.run_names([f"{tmp_path}/a/last.keras", f"{tmp_path}/b", "c.keras"]) == [
        "a", "b", "c"
    ]  # fmt: skip
    assert runs.run_names(["a/last.keras", "a/best.keras"]) == ["a/last.keras", "a/best.keras"]


def test_examples_are_those_of_the_split(source):
    expected = halves(3, 41, 57)
    read = list(runs.read_examples(source, "val"))
    assert [example.name for example in read] == ["val_0", "val_1", "val_2"]
    chosen = runs.choose_examples(source, "val", [2, 0])
    for example, (image, label) in zip(
        [*read, *chosen], [*expected, expected[2], expected[0]], strict=True
    ):
        np.testing.assert_array_equal(example.image, image)
        np.testing.assert_array_equal(example.label, label)
    with pytest.raises(UserError, match="--image 3: expected 0 to 2, the images of val"):
        runs.choose_examples(source, "val", [0, 3])


def test_the_options_of_a_command_come_before_the_recipe(tmp_path):
    recipe = tmp_path / "mine.py"
    recipe.write_text("RECIPE = dict(encoder_weights='imagenet', epochs=7)")
    assert runs.recipe_options(str(recipe), "here", None) == {
        "encoder_weights": "imagenet", "epochs": 7, "data": "here"
    }  # fmt: skip
    assert runs.recipe_options(str(recipe), "here", "x.h5")["encoder_weights"] == "x.h5"
