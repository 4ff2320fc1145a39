import dataclasses
import pathlib

import pytest

from rnnseg import UserError
from rnnseg.training import recipes
from rnnseg.training.config import TrainingConfig, load_recipe


@pytest.mark.parametrize(
    "options, message",
    [
        ({"epochs": 0}, "epochs=0: expected at least 1"),
        ({"learning_rate": 0}, "learning_rate=0"),
        ({"l2": -1}, "l2=-1"),
        ({"label_smoothing": 1}, "label_smoothing=1: expected at least 0 and less than 1"),
        ({"optimizer": "adam"}, "optimizer='adam': expected one of sgd, adamw"),
        ({"precision": "half"}, "precision='half'"),
        ({"encoder_weights": None}, "gives no features unless it is trained"),
        ({"epochs": "3"}, "epochs='3': expected a whole number"),
        ({"crop": 64}, "crop=64: expected 2 numbers in a tuple"),
        ({"crop": (8, 64)}, "crop=8x64: expected at least 16"),
        ({"hidden_channels": (8, 2.5)}, "hidden_channels=.8, 2.5.: expected a whole number"),
        ({"l2": float("nan")}, "l2=nan: expected a finite number"),
        ({"flip": 1}, "flip=1: expected True or False"),
        ({"seed": -1}, "seed=-1: expected 0 to"),
        ({"sampled_patches": 0, "train_encoder": False}, "sampled_patches=0: expected at least 1"),
        ({"sampled_patches": 9}, "an encoder in training needs the whole.*--freeze-encoder"),
        (
            {"sampled_patches": 9, "train_encoder": False, "kernel_size": 3},
            "sampled_patches=9: kernels of 3 see.*--kernel-size 1",
        ),
        (
            {"sampled_patches": 9, "train_encoder": False, "model": "pspnet"},
            "sampled_patches=9: pspnet sees whole images; omit this option",
        ),
    ],
)
def test_wrong_values_are_named(options, message):
    with pytest.raises(UserError, match=message):
        TrainingConfig(data="shapes", **options)


def test_every_recipe_of_the_package_makes_a_config():
    folder = pathlib.Path(recipes.__file__).parent
    names = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert {"camvid", "voc", "voc_paper", "cityscapes_paper"} <= names
    for name in names:
        TrainingConfig(data="somewhere", **load_recipe(name))


def test_a_recipe_file_of_one_s_own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("RECIPE = dict(epochs=3, crop=(64, 64))")
    assert dataclasses.asdict(TrainingConfig(data="x", **load_recipe(str(path))))["epochs"] == 3
    path.write_text("RECIPE = dict(epoch=3)")
    with pytest.raises(UserError, match="mine.py: unknown epoch; expected some of batch_size"):
        load_recipe(str(path))
    path.write_text("RECIPE = dict(")
    with pytest.raises(UserError, match="mine.py cannot be run: SyntaxError"):
        load_recipe(str(path))
    path.write_text("config = 3")
    with pytest.raises(UserError, match="expected it to set RECIPE"):
        load_recipe(str(path))
    with pytest.raises(UserError, match="recipe 'nothing': no such file"):
        load_recipe("nothing")
