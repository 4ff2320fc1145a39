import csv
import dataclasses
import json

import keras
import numpy as np
import pytest

from rnnseg import UserError
from rnnseg.evaluation.evaluator import Evaluator
from rnnseg.models import encoders
from rnnseg.models.loading import load_model
from rnnseg.training import loop
from rnnseg.training.config import TrainingConfig
from tests.support.sources import halves, make_source, tiny_source

CONFIG = TrainingConfig(
    data="shapes",
    encoder="small_cnn",
    encoder_weights=None,
    output_stride=8,
    hidden_channels=(8, 6),
    freeze_batch_norm=False,
    iterations=2,
    crop=(32, 40),
    batch_size=2,
    epochs=4,
    learning_rate=0.05,
    seed=3,
)


@pytest.fixture
def source(monkeypatch):
    source = tiny_source()
    monkeypatch.setattr(loop, "open_source", lambda data: source)
    return source


class Killed(Exception):
    pass


def kill_in_epoch(monkeypatch, epoch):
    """Ends training in the middle of an epoch, as an interrupt would."""
    on_batch = keras.callbacks.TensorBoard.on_train_batch_begin
    state = {}

    def begin_epoch(self, number, logs=None):
        state["epoch"] = number + 1

    def begin_batch(self, batch, logs=None):
        if state["epoch"] == epoch and batch == 2:
            raise Killed
        on_batch(self, batch, logs)

    monkeypatch.setattr(loop._RunFiles, "on_epoch_begin", begin_epoch)
    monkeypatch.setattr(keras.callbacks.TensorBoard, "on_train_batch_begin", begin_batch)


def test_a_run_leaves_its_files(source, tmp_path, capsys):
    run = loop.train(CONFIG, tmp_path / "run")
    printed = capsys.readouterr().out
    for part in ("8 images to train on, 3 to validate, 3 classes", "parameters", "an iteration"):
        assert part in printed
    assert TrainingConfig.from_json(json.loads(run.config.read_text())) == CONFIG
    rows = run.read_history()
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert float(rows[-1]["learning_rate"]) == 0
    assert list(run.logs.rglob("events*"))
    best = max(float(row["val_miou"]) for row in rows)
    found = Evaluator(load_model(run.folder), (2,))(source, "val", progress=False).miou[0]
    assert found == pytest.approx(best)
    assert not [path for path in run.folder.iterdir() if path.name.startswith(".")]


def test_killed_and_resumed_it_ends_as_if_never_killed(source, tmp_path, monkeypatch):
    whole = loop.train(CONFIG, tmp_path / "whole")
    with monkeypatch.context() as patch:
        kill_in_epoch(patch, 3)
        with pytest.raises(Killed):
            loop.train(CONFIG, tmp_path / "killed")
    killed = loop.train(CONFIG, tmp_path / "killed", resume=True)
    assert [row["epoch"] for row in killed.read_history()] == ["1", "2", "3", "4"]
    for column in ("loss", "val_miou", "learning_rate"):
        np.testing.assert_allclose(
            [float(row[column]) for row in killed.read_history()],
            [float(row[column]) for row in whole.read_history()],
            rtol=1e-3,
        )
    models = [keras.saving.load_model(run.last) for run in (whole, killed)]
    assert models[0].optimizer.iterations == models[1].optimizer.iterations == 16
    for ours, theirs in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_resuming_a_finished_or_a_new_run(source, tmp_path, capsys):
    config = dataclasses.replace(CONFIG, epochs=1)
    run = loop.train(config, tmp_path / "run", resume=True)
    before = run.last.read_bytes()
    capsys.readouterr()
    loop.train(config, tmp_path / "run", resume=True)
    assert run.last.read_bytes() == before
    assert "all 1 epochs are done" in capsys.readouterr().out


def test_a_folder_that_holds_something_is_left_alone(source, tmp_path):
    config = dataclasses.replace(CONFIG, epochs=1)
    run = loop.train(config, tmp_path / "run")
    files = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}
    with pytest.raises(UserError, match="holds a run already.*--resume"):
        loop.train(config, run.folder)
    with pytest.raises(UserError, match="epochs is 1 there, not 2"):
        loop.train(dataclasses.replace(config, epochs=2), run.folder, resume=True)
    assert files == {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("mine")
    with pytest.raises(UserError, match="photos is not empty and holds no run"):
        loop.train(config, tmp_path / "photos")


def test_bad_data_ends_a_run_before_it_starts(tmp_path, monkeypatch):
    train = halves(4)
    train[2][1][0, 0] = 77
    source = make_source({"train": train, "val": halves(2), "empty": []})
    monkeypatch.setattr(loop, "open_source", lambda data: source)
    with pytest.raises(UserError, match="train_2: label 77; expected 0-2 or 255"):
        loop.train(CONFIG, tmp_path / "run")
    with pytest.raises(UserError, match="split 'empty' of tiny is empty"):
        loop.train(dataclasses.replace(CONFIG, val_split="empty"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_is_left_of_a_run_is_named(source, tmp_path):
    config = dataclasses.replace(CONFIG, epochs=1)
    run = loop.train(config, tmp_path / "run")
    run.history.write_text("epoch,loss\n1,0.5\n")
    with pytest.raises(UserError, match="history.csv has no line for step 4"):
        loop.train(config, run.folder, resume=True)
    run.history.write_text("epoch,step\n1,3\n")
    with pytest.raises(UserError, match="history.csv has no line for step 4"):
        loop.train(config, run.folder, resume=True)
    run.last.write_text("cut off")
    with pytest.raises(UserError, match="last.keras cannot be loaded as a model"):
        loop.train(config, run.folder, resume=True)
    run.config.write_text("{")
    with pytest.raises(UserError, match="config.json is damaged"):
        loop.train(config, run.folder, resume=True)


def test_what_a_kill_while_writing_left_is_removed(source, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in (".config.abc.json", ".last.abc.keras"):
        (folder / name).write_text("half")
    loop.train(dataclasses.replace(CONFIG, epochs=1), folder, resume=True)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_steps_that_float16_skips_do_not_confuse_resuming(source, tmp_path):
    """An overflow leaves the optimizer's step behind; the epoch is the history's all the same."""
    run = loop.train(dataclasses.replace(CONFIG, epochs=2), tmp_path / "run")
    rows = run.read_history()
    for row, step in zip(rows, (2, 7), strict=True):
        row["step"] = step
    with open(run.history, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    assert len(loop._rows_until(run, 2)) == 1 and len(loop._rows_until(run, 7)) == 2


def test_a_diverging_run_says_so_and_keeps_what_was(source, tmp_path):
    config = dataclasses.replace(CONFIG, learning_rate=1e30)
    with pytest.raises(UserError, match="the loss became (nan|inf) in epoch 1: try a lower"):
        loop.train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "last.keras").exists()


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_runs_go_on_too(source, tmp_path, monkeypatch, precision):
    config = dataclasses.replace(CONFIG, precision=precision, epochs=2)
    with monkeypatch.context() as patch:
        kill_in_epoch(patch, 2)
        with pytest.raises(Killed):
            loop.train(config, tmp_path / "run")
    run = loop.train(config, tmp_path / "run", resume=True)
    rows = run.read_history()
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[1]["learning_rate"]) == 0
    assert load_model(run.folder).compute_dtype == precision.removeprefix("mixed_")


def test_poly_schedule_by_its_formula():
    schedule = loop.poly_schedule(0.007, 100)
    for step in (0, 30, 99):
        assert float(schedule(step)) == pytest.approx(0.007 * (1 - step / 100) ** 0.9, rel=1e-5)


def test_adamw_iteration_weights_and_frozen_encoder_train_too(source, tmp_path):
    weights = tmp_path / "encoder.weights.h5"
    encoders.build_encoder("small_cnn", output_stride=8).network.save_weights(weights)
    config = dataclasses.replace(
        CONFIG,
        epochs=1,
        optimizer="adamw",
        iteration_weights=(1.0, 2.0),
        encoder_weights=str(weights),
        train_encoder=False,
    )
    run = loop.train(config, tmp_path / "run")
    model = load_model(run.folder)
    assert not model.encoder.trainable_weights
    with pytest.raises(UserError, match="gives no features unless it is trained"):
        dataclasses.replace(config, encoder_weights=None)


def test_a_run_on_sampled_patches_goes_on_as_if_never_killed(source, tmp_path, monkeypatch, capsys):
    weights = tmp_path / "encoder.weights.h5"
    loop.build_model(CONFIG, source, 4).encoder.network.save_weights(weights)
    config = dataclasses.replace(
        CONFIG,
        encoder_weights=str(weights),
        train_encoder=False,
        sampled_patches=5,
        recompute=True,
        epochs=2,
    )
    whole = loop.train(config, tmp_path / "whole")
    assert "2 images each, 5 patches of each, 2 iterations" in capsys.readouterr().out
    assert load_model(whole.folder).get_config()["recompute"]
    with monkeypatch.context() as patch:
        kill_in_epoch(patch, 2)
        with pytest.raises(Killed):
            loop.train(config, tmp_path / "killed")
    killed = loop.train(config, tmp_path / "killed", resume=True)
    losses = [[float(row["loss"]) for row in run.read_history()] for run in (whole, killed)]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    assert losses[0][1] < losses[0][0]
