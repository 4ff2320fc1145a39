"""Training and `rnnseg evaluate --tensorboard` write the data of the tab."""

import json

import pytest
from click.testing import CliRunner

from rnnseg import data
from rnnseg.cli import main
from rnnseg.training import loop, reporting
from tests.dashboard.logdirs import comparisons
from tests.support.models import make_model
from tests.support.sources import tiny_source


def run(*arguments, status=0):
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exit_code == status, result.output + repr(result.exception)
    return result.output


@pytest.fixture(autouse=True)
def source(monkeypatch):
    source = tiny_source()
    for module in (data, loop, reporting):
        monkeypatch.setattr(module, "open_source", lambda name: source)


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "mine" / "model.keras"
    path.parent.mkdir()
    make_model(num_classes=3, class_names=tiny_source().class_names).save(path)
    return path


def test_evaluate_writes_the_scores_that_it_prints(tmp_path, model_file):
    printed = run("evaluate", model_file, "--data", "tiny", "--iterations", "1-3", "--flip",
                  "--tensorboard", tmp_path / "logs")  # fmt: skip
    assert f"tensorboard --logdir {tmp_path / 'logs'}" in printed
    (comparison,) = comparisons(tmp_path / "logs")
    (shown,) = comparison["runs"]
    assert shown["name"] == "mine_model/val_flip" and shown["flip"]
    scores = json.loads((model_file.parent / "model.scores_val_flip.json").read_text())
    expected = [(row["iterations"], row["miou"]) for row in scores["results"]]
    assert [(point["iterations"], point["miou"]) for point in shown["points"]] == expected


def test_a_logdir_that_cannot_be_written_is_named_first(tmp_path, model_file):
    (tmp_path / "logs").write_text("a file")
    printed = run("evaluate", model_file, "--data", "tiny", "--tensorboard", tmp_path / "logs",
                  status=2)  # fmt: skip
    assert "logs" in printed and "iterations  mIoU" not in printed


def test_training_writes_its_validations(tmp_path):
    run("train", "--data", "tiny", "--encoder", "small_cnn", "--weights", "none", "--output-stride",
        8, "--hidden-channels", "8,6", "--train-batch-norm", "--crop", "32x40", "--batch", 2,
        "--iterations", 3, "--epochs", 2, "--out", tmp_path / "run")  # fmt: skip
    (comparison,) = comparisons(tmp_path / "run" / "logs")
    (shown,) = comparison["runs"]
    assert shown["name"] == "speed_accuracy" and shown["step"] == 1
    last = loop.Run(tmp_path / "run").read_history()[-1]
    assert [point["iterations"] for point in shown["points"]] == [1, 2, 3]
    percent = [100 * point["miou"] for point in shown["points"]]
    assert percent[0] == pytest.approx(float(last["val_miou_1_iteration"]))
    assert percent[2] == pytest.approx(float(last["val_miou"]))
