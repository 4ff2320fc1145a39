import dataclasses
import json
import pathlib

import pytest

from rnnseg import UserError
from rnnseg.models.options import PSPNetOptions, RecurrentOptions
from rnnseg.training import recipes
from rnnseg.training.config import TrainingConfig, load_recipe, settings_for

KEPT = {"kept_views": 2, "sampled_patches": 9, "train_encoder": False}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"epochs": 0}, "epochs=0: expected 1 to 1000000"),
        ({"learning_rate": 0}, "learning_rate=0"),
        ({"l2": -1}, "l2=-1"),
        ({"loss": "hinge"}, "loss='hinge': expected one of cross_entropy, focal, dice"),
        ({"hard_pixels": 0}, "hard_pixels=0: expected more than 0 and at most 1"),
        (
            {"loss": "dice", "label_smoothing": 0.1},
            "label_smoothing=0.1: the loss dice has none; set it to 0",
        ),
        ({"augment": "weak"}, "augment='weak': expected one of none, standard, strong"),
        ({"ema": 1.0}, "ema=1.0: expected more than 0 and less than 1"),
        ({"clip_norm": 0}, "clip_norm=0: expected more than 0"),
        ({"epochs": 3, "warmup_epochs": 3}, "warmup_epochs=3: expected less than epochs=3"),
        (
            {"accumulate": 2, "loss": "cross_entropy_dice"},
            "accumulate=2: the loss cross_entropy_dice has two means",
        ),
        ({"label_smoothing": 1}, "label_smoothing=1: expected at least 0 and less than 1"),
        (
            {"init": "runs/old", "encoder_weights": "a.h5"},
            "init='runs/old' and encoder_weights='a.h5': .*give one of them",
        ),
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
        (
            {"sampled_patches": 0, "train_encoder": False},
            "sampled_patches=0: expected 1 to 1073741824",
        ),
        (
            {"sampled_patches": 9, "train_encoder": False, "boundary_weight": 2},
            "sampled_patches=9: boundary_weight=2 needs whole images",
        ),
        ({"sampled_patches": 9}, "an encoder in training needs the whole.*--freeze-encoder"),
        (
            {"sampled_patches": 9, "train_encoder": False, "kernel_size": 3},
            "sampled_patches=9: kernels of 3 see.*--kernel-size 1",
        ),
        (
            {"sampled_patches": 9, "train_encoder": False, "model": "pspnet"},
            "sampled_patches=9: pspnet sees whole images; omit this option",
        ),
        (
            {"kept_views": 2, "train_encoder": False},
            "kept_views=2: patches of every view are kept; give their.*--sample-patches 64",
        ),
        (
            KEPT | {"context_channels": 4},
            "kept_views=2: context at rates .6, 12. sees more.*--context-rates none",
        ),
        (KEPT | {"loss": "dice"}, "kept_views=2: the loss dice sees whole images"),
        (KEPT | {"hard_pixels": 0.5}, "kept_views=2: hard_pixels=0.5 are those of whole images"),
        (KEPT | {"accumulate": 3}, "kept_views=2: accumulate=3 is for whole images"),
        (KEPT | {"teacher": "a", "loss": "focal"}, "with a teacher the loss is cross_entropy"),
        ({"teacher": "a.tflite"}, "teacher='a.tflite': it scores views.*--keep-views 2"),
        ({"temperature": 2}, "temperature=2.0: it is of a teacher, and there is none"),
        (
            KEPT | {"teacher": "a", "teacher_range": (1, 1)},
            "teacher_range=.1.0, 1.0.: expected two numbers that differ",
        ),
        (KEPT | {"temperature": 0.5}, "temperature=0.5: expected 1 to 100"),
        (KEPT | {"teacher_share": 0}, "teacher_share=0: expected more than 0 and at most 1"),
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


@pytest.mark.parametrize(
    "content, message",
    [
        ("RECIPE = dict(", ", line 1 cannot be run: SyntaxError: "),
        ("\n\nraise ValueError('no\\nsuch')", ", line 3 cannot be run: ValueError: no$"),
        ("def f():\n    1 / 0\n\nf()", ", line 2 cannot be run: ZeroDivisionError: division"),
        ("import json\njson.loads('')", ", line 2 cannot be run: JSONDecodeError: Expecting"),
        (
            "import sys\nsys.exit(0)",
            r", line 2 cannot be run: SystemExit: it exits \(0\); expected",
        ),
        ("exit('done')", r", line 1 cannot be run: SystemExit: it exits \(done\)"),
        ("class E(BaseException): pass\nraise E", ", line 2 cannot be run: E: E$"),
        ("def f(): f()\nf()", ", line 1 cannot be run: RecursionError: "),
        ("import nothing_of_this_name", ", line 1 cannot be run: ModuleNotFoundError: No module"),
        ("a = '\0'", " cannot be run: (SyntaxError|ValueError): source code"),
    ],
)
def test_a_recipe_that_ends_early_is_a_mistake_in_it(tmp_path, content, message):
    path = tmp_path / "mine.py"
    path.write_text(content)
    with pytest.raises(UserError, match=f"^recipe {path}{message}"):
        load_recipe(str(path))


def test_the_form_that_a_recipe_gives_its_own_model_is_not_that_of_another():
    recipe = load_recipe("voc")
    assert recipe["canvas_stride"] == 16 and recipe["iterations"] == 6
    assert settings_for(recipe, None) == settings_for(recipe, "recurrent") == recipe
    config = TrainingConfig(data="x", **settings_for(recipe, "crf_rnn"))
    published = TrainingConfig(data="x", model="crf_rnn")
    assert config.canvas_stride == published.canvas_stride == 4
    assert config.epochs == recipe["epochs"] and config.train_encoder is False
    # A recipe of another model; and one whose mistake is named when it is used.
    recipe = {"model": "pspnet", "head_channels": 8, "epochs": 3}
    assert settings_for(recipe, "lr_aspp") == {"model": "lr_aspp", "epochs": 3}
    assert settings_for({"model": [], "epochs": 3}, "fcn") == {"model": [], "epochs": 3}


def test_a_recipe_file_of_one_s_own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("RECIPE = dict(epochs=3, crop=(64, 64))")
    assert dataclasses.asdict(TrainingConfig(data="x", **load_recipe(str(path))))["epochs"] == 3
    path.write_text("RECIPE = dict(epoch=3)")
    with pytest.raises(UserError, match="mine.py: unknown epoch; expected some of accumulate, "):
        load_recipe(str(path))
    path.write_text("config = 3")
    with pytest.raises(UserError, match="expected it to set RECIPE"):
        load_recipe(str(path))
    for name in ("nothing", "__init__"):
        with pytest.raises(UserError, match=f"recipe '{name}': no such file") as error:
            load_recipe(name)
        assert str(error.value).endswith(
            "or one of camvid, camvid_paper, cityscapes_paper, voc, voc_paper"
        )


def test_the_options_of_a_model_go_to_its_constructor():
    recurrent = TrainingConfig(data="x", hidden_channels=(3,), l2=0.5).model_options
    assert recurrent["hidden_channels"] == (3,) and recurrent["l2"] == 0.5
    options = RecurrentOptions(hidden_channels=(3,), l2=0.5)
    assert recurrent == dataclasses.asdict(options) | options.defaults()
    feed_forward = TrainingConfig(data="x", model="pspnet", hidden_channels=(3,), l2=0.5)
    assert PSPNetOptions(**feed_forward.model_options) == PSPNetOptions(l2=0.5)


def test_json_gives_the_config_back():
    config = TrainingConfig(data="x", crop=(64, 48), iteration_weights=(0.0, 1.0), iterations=2)
    values = json.loads(json.dumps(dataclasses.asdict(config)))
    assert TrainingConfig.from_json(values) == config


def test_a_run_from_before_there_was_a_choice_has_the_paper_s_canvas():
    config = TrainingConfig.from_json({"data": "x", "output_stride": 32, "iterations": 6})
    assert (config.canvas_stride, config.skip_layers, config.early_iterations) == (32, (), ())
    assert config.increment_scale == 0 and config.iteration_weights == (0, 0, 0, 0, 0, 1)


def test_names_of_the_last_release_work_and_warn(tmp_path):
    values = {"data": "x", "train_encoder": False, "canvas_stride": 16}
    present = TrainingConfig(**values, sampled_patches=9)
    for make in (TrainingConfig.from_json, lambda values: TrainingConfig(**values)):
        with pytest.warns(DeprecationWarning, match="^sampled_cells is now called sampled_patches"):
            assert make(values | {"sampled_cells": 9}) == present
    path = tmp_path / "mine.py"
    path.write_text("RECIPE = dict(sampled_cells=9, train_encoder=False, canvas_stride=16)")
    with pytest.warns(DeprecationWarning, match="mine.py: sampled_cells is now called"):
        recipe = load_recipe(str(path))
    assert TrainingConfig(data="x", **recipe) == present
