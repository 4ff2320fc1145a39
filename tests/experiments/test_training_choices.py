import numpy as np
import pytest
from PIL import Image

from experiments import training_choices
from experiments.training_choices import Row
from rnnseg.evaluation.evaluator import Evaluator
from rnnseg.models.loading import load_model
from rnnseg.training import config, loop
from tests.support.commands import read_csv, run
from tests.support.sources import tiny_source


def test_a_choice_is_trained_once_with_every_seed(tmp_path, open_as, monkeypatch):
    source = open_as(tiny_source())
    monkeypatch.setattr(loop, "open_source", lambda name: source)
    choices = {"loss at 2": training_choices.CHOICES["loss at 2"]}
    monkeypatch.setattr(training_choices, "CHOICES", choices)
    small = training_choices.SMALL | dict(crop=(33, 33), epochs=1, train_encoder=True)
    monkeypatch.setattr(training_choices, "SMALL", small)
    monkeypatch.setattr(training_choices, "ITERATIONS", (1, 2, 9))
    recipe = tmp_path / "recipe.py"
    options = dict(encoder="small_cnn", encoder_weights=None, freeze_batch_norm=False)
    recipe.write_text(f"RECIPE = {options | dict(batch_size=4)!r}")
    out = tmp_path / "runs"
    arguments = ["--recipe", recipe, "--data", "tiny", "--out", out]
    run(training_choices.main, *arguments, "--seeds", 1)
    kept = out / "loss_at_2_seed1" / "last.keras"
    stamp = kept.stat().st_mtime_ns
    run(training_choices.main, *arguments, "--seeds", "1,2")
    assert kept.stat().st_mtime_ns == stamp
    rows = read_csv(out / "training_choices.csv")
    assert [(row["seed"], row["iterations"]) for row in rows] == [
        (seed, number) for seed in "12" for number in ("1", "2", "9")
    ]
    model = load_model(out / "loss_at_2_seed2" / "last.keras")
    assert model.iterations == 2 == int(rows[-1]["trained_iterations"])
    result = Evaluator(model, (1, 2, 9))(source, "val", progress=False)
    assert [float(row["miou"]) for row in rows[3:]] == pytest.approx(100 * result.miou)
    assert Image.open(out / "training_choices.png").width > 1000


def test_choices_are_configurations_that_change_one_thing():
    for options in training_choices.CHOICES.values():
        config.TrainingConfig(data="any", **training_choices.SMALL | options)
    names = [name for _, choices in training_choices._PANELS for name in choices]
    assert set(names) == set(training_choices.CHOICES)


def test_table_and_figure_have_the_means_of_the_seeds(tmp_path):
    miou = {("loss at 6", 1): (50, 60, 61), ("loss at 6", 2): (52, 61, 63)}
    miou |= {("loss at 3", 1): (55, 58, 40), ("loss at 3", 2): (55, 58, 44)}
    rows = [
        Row(choice, seed, 0.5 + seed / 10, 6, iterations, value)
        for (choice, seed), values in miou.items()
        for iterations, value in zip((1, 6, 12), values, strict=True)
    ]
    found = training_choices.curves(rows)
    np.testing.assert_array_equal(found["loss at 3"], [[55, 58, 40], [55, 58, 44]])
    lines = training_choices.table(rows).splitlines()
    assert lines[0].startswith("| choice | n = 1 | n = 6 | n = 12 | best | at n |")
    assert lines[2] == "| loss at 6 | 51.00 | 60.50 | 62.00 | 62.00 | 12 | 2.00 | 0.6500 |"
    assert lines[3] == "| loss at 3 | 55.00 | 58.00 | 42.00 | 58.00 | 6 | 4.00 | 0.6500 |"
    training_choices.save_plot(tmp_path / "figure.png", rows)
    drawn = np.asarray(Image.open(tmp_path / "figure.png").convert("RGB")).reshape(-1, 3)
    for color in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):
        assert np.all(drawn == color, axis=1).sum() > 1000
