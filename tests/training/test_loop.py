import contextlib
import dataclasses
import json
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnseg import UserError
from rnnseg.data.pipeline import decode
from rnnseg.data.reading import read_images
from rnnseg.evaluation.evaluator import Evaluator
from rnnseg.locks import hold_folder
from rnnseg.models import encoders
from rnnseg.models.loading import load_model
from rnnseg.training import loop
from rnnseg.training.callbacks import RunFiles
from rnnseg.training.class_weights import balanced_weights
from rnnseg.training.config import TrainingConfig
from rnnseg.training.losses import DiceLoss
from rnnseg.training.sampling import sampled_batches
from tests.support.models import make_model
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
# With all options that have a state of their own to resume, or choose what is trained.
EVERYTHING = dataclasses.replace(
    CONFIG,
    augment="strong",
    balanced_crops=True,
    batch_size=1,
    accumulate=2,
    schedule="cosine",
    warmup_epochs=1,
    clip_norm=1.0,
    ema=0.8,
    patience=9,
)


@pytest.fixture(scope="module")
def source():
    source = tiny_source()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "open_source", lambda data: source)
        yield source


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """A run that was never interrupted; no test changes it."""
    return loop.train(EVERYTHING, tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def copied(whole, tmp_path):
    """A copy of the run, to damage."""
    return loop.Run(shutil.copytree(whole.folder, tmp_path / "copied"))


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

    monkeypatch.setattr(RunFiles, "on_epoch_begin", begin_epoch)
    monkeypatch.setattr(keras.callbacks.TensorBoard, "on_train_batch_begin", begin_batch)


def train_and_kill(config, folder, epoch):
    with pytest.MonkeyPatch.context() as patch:
        kill_in_epoch(patch, epoch)
        with pytest.raises(Killed):
            # Without a run in the folder, one that may be resumed starts.
            loop.train(config, folder, resume=True)


def test_a_run_leaves_its_files(whole, source):
    assert TrainingConfig.from_json(json.loads(whole.config.read_text())) == EVERYTHING
    rows = whole.read_history()
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert float(rows[-1]["learning_rate"]) == 0
    assert list(whole.logs.rglob("events*"))
    best = max(float(row["val_miou"]) for row in rows)
    found = Evaluator(load_model(whole.folder), (2,))(source, "val", progress=False).miou[0]
    assert best == pytest.approx(100 * found)
    assert all(float(row["val_loss"]) > 0 for row in rows)
    assert not [path for path in whole.folder.iterdir() if path.name.startswith(".")]


def test_one_process_at_a_time_trains_in_a_folder(source, tmp_path):
    for folder, resume in (("run", False), ("run", True)):
        with hold_folder(tmp_path / folder), pytest.raises(UserError, match="run is being written"):
            loop.train(EVERYTHING, tmp_path / folder, resume)
    assert list(tmp_path.iterdir()) == []


def test_killed_and_resumed_it_ends_as_if_never_killed(whole, tmp_path, capsys):
    train_and_kill(EVERYTHING, tmp_path / "killed", epoch=3)
    printed = capsys.readouterr().out
    for part in ("8 images to train on, 3 to validate, 3 classes", "parameters", "G per iteration"):
        assert part in printed
    assert "epoch 1 to 4, 4 steps of 2 batches of 1 images each, 2 iterations" in printed
    killed = loop.train(EVERYTHING, tmp_path / "killed", resume=True)
    assert (
        "epoch 3 to 4, 4 steps of 2 batches of 1 images each, 2 iterations"
        in capsys.readouterr().out
    )
    assert [row["epoch"] for row in killed.read_history()] == ["1", "2", "3", "4"]
    for column in ("loss", "val_loss", "val_miou", "learning_rate"):
        np.testing.assert_allclose(
            [float(row[column]) for row in killed.read_history()],
            [float(row[column]) for row in whole.read_history()],
            rtol=1e-3,
        )
    models = [keras.saving.load_model(run.last) for run in (whole, killed)]
    assert models[0].optimizer.iterations == models[1].optimizer.iterations == 16
    # The weights are the averages, and the state of the optimizer holds the weights.
    values = [[*model.get_weights(), *model.optimizer.variables] for model in models]
    for ours, theirs in zip(*values, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_finished_run_stays_as_it_is(copied, capsys):
    before = copied.last.read_bytes()
    loop.train(EVERYTHING, copied.folder, resume=True)
    assert copied.last.read_bytes() == before
    assert "all 4 epochs are done" in capsys.readouterr().out


def test_a_run_is_not_overwritten(whole):
    files = {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*")}
    with pytest.raises(UserError, match="holds a run already.*--resume"):
        loop.train(EVERYTHING, whole.folder)
    with pytest.raises(UserError, match="epochs is 4 there, not 5"):
        loop.train(dataclasses.replace(EVERYTHING, epochs=5), whole.folder, resume=True)
    assert files == {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*")}


def test_damaged_files_of_a_run_are_named(copied):
    header = copied.history.read_text().splitlines()[0]
    copied.history.write_text(f"{header}\n1,3,0.5,0.1,,,\n")
    with pytest.raises(UserError, match="history.csv has no line for step 16"):
        loop.train(EVERYTHING, copied.folder, resume=True)
    copied.last.write_text("cut off")
    with pytest.raises(UserError, match="last.keras cannot be loaded as a model"):
        loop.train(EVERYTHING, copied.folder, resume=True)


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


@pytest.mark.parametrize("choice", ["auto", "file"])
def test_class_weights_and_the_loss_reach_the_model(choice, source, tmp_path):
    """And stay with it: a resumed run reads neither the data nor the file again for them."""
    path = tmp_path / "weights.csv"
    path.write_text(f"{source.class_names[1]}, 3\n")
    config = dataclasses.replace(
        CONFIG,
        class_weights="auto" if choice == "auto" else str(path),
        loss="cross_entropy_dice",
        hard_pixels=0.5,
        boundary_weight=2.0,
        crop=(16, 16),
        epochs=1,
    )
    run = loop.train(config, tmp_path / "run")
    expected = (1.0, 3.0, *[1.0] * (source.num_classes - 2))
    if choice == "auto":
        labels = np.concatenate(
            [np.bincount(label.ravel(), minlength=256)[None] for label in all_labels(source)]
        )
        expected = balanced_weights(labels.sum(0)[: source.num_classes])
    pixels, dice = load_model(run.last, compile=True).loss.losses
    assert pixels.class_weights == pytest.approx(expected) == dice.class_weights
    assert isinstance(dice, DiceLoss) and pixels.hard_pixels == 0.5
    path.unlink()
    loop.train(config, run.folder, resume=True)


def all_labels(source):
    return [decode(example)[1].numpy() for example in source.read("train")]


def test_a_wrong_file_of_class_weights_ends_a_run_before_it_starts(source, tmp_path):
    config = dataclasses.replace(CONFIG, class_weights=str(tmp_path / "missing.csv"))
    with pytest.raises(UserError, match="class weights .*missing.csv: cannot be read"):
        loop.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Logger(keras.callbacks.Callback):
    """Keeps what a logger sees at the end of an epoch."""

    def __init__(self, run):
        super().__init__()
        self.run, self.seen = run, []

    def on_epoch_end(self, epoch, logs=None):
        assert self.run.last.is_file()
        self.seen.append(dict(logs))


def test_a_run_starts_from_the_weights_of_another(whole, source, tmp_path, monkeypatch, capsys):
    """With the learning rate at nearly zero, all validations are that of the other's model.

    So it stops after the second one. A logger sees both, and a resumed run stays stopped.
    """
    config = dataclasses.replace(
        CONFIG, init=str(whole.folder), encoder_weights="imagenet", learning_rate=1e-12, epochs=9,
        patience=1, freeze_batch_norm=True,
    )  # fmt: skip
    assert config.encoder_weights is None
    logger = Logger(loop.Run(tmp_path / "run"))
    run = loop.train(config, tmp_path / "run", callbacks=[logger])
    printed = capsys.readouterr().out
    assert f"init        {whole.folder}: took encoder, gates of " in printed
    assert "stopped after epoch 2 of 9: a validation without a better mIoU than the " in printed
    before, after = load_model(whole.folder), load_model(run.last)
    for mine, its in zip(after.get_weights(), before.get_weights(), strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-6)
    rows = run.read_history()
    names = ["loss", "learning_rate", "val_loss", "val_miou_1_iteration", "val_miou"]
    for row, logs in zip(rows, logger.seen, strict=True):
        assert logs == {name: pytest.approx(float(row[name])) for name in names}
    # A resumed run has its own weights and needs no other.
    monkeypatch.setattr(loop, "start_from", None)
    loop.train(config, run.folder, resume=True, callbacks=[logger])
    assert len(logger.seen) == 2 and "stopped after epoch 2 of 9" in capsys.readouterr().out


@pytest.mark.parametrize("in_validation", [True, False])
def test_data_that_are_damaged_on_the_way(source, tmp_path, monkeypatch, in_validation):
    """The steps of training themselves are left out: `fit` reads the data and no more."""
    state = {"damaged": False}

    def read(split):
        image = "no image" if state["damaged"] else None
        return source.read(split).map(lambda each: each | {"image": image or each["image"]})

    def fit(model, batches, **options):
        state["damaged"] = True
        if in_validation:
            next(read_images(own, "val"))
        raise tf.errors.InvalidArgumentError(None, None, "Graph execution error")

    own = dataclasses.replace(source, read=read)
    monkeypatch.setattr(loop, "open_source", lambda data: own)
    monkeypatch.setattr(keras.Model, "fit", fit)
    name = "val" if in_validation else "train"
    with pytest.raises(
        UserError,
        match=rf"^tiny, split '{name}': {name}_0 cannot be decoded .* copy or build its files "
        r"again, then continue the run by --resume; complete epochs that are kept: 0$",
    ):
        loop.train(CONFIG, tmp_path / "run")


def test_wrong_callbacks_end_a_run_before_it_starts(tmp_path):
    with pytest.raises(UserError, match="callbacks: <class .*Logger.*: expected instances of ker"):
        loop.train(CONFIG, tmp_path / "run", callbacks=[Logger])
    assert not (tmp_path / "run").exists()


def begin_after_epoch(model, config, folder, step):
    """Makes a run that stands after one epoch, which ended at a step of the optimizer."""
    run = loop.Run(folder)
    run.begin(config)
    getattr(model.optimizer, "inner_optimizer", model.optimizer).iterations.assign(step)
    model.save(run.last)
    row = {"epoch": 1, "step": step, "loss": 1.5, "learning_rate": 0.03}
    run.write_history([row | {"val_miou_1_iteration": "", "val_miou": ""}])
    return run


def test_float16_resumes_with_its_loss_scale(source, tmp_path):
    """`tests/models` trains in both 16-bit precisions; only this one wraps the optimizer."""
    config = dataclasses.replace(CONFIG, precision="mixed_float16", crop=(16, 16), epochs=2)
    model = loop.build_model(config, source)
    loop.compile_model(model, config, 4)
    model.optimizer.build(model.trainable_variables)
    model.optimizer.dynamic_scale.assign(512.0)
    # One of four steps overflowed.
    run = begin_after_epoch(model, config, tmp_path / "run", step=3)
    loop.train(config, run.folder, resume=True)
    rows = run.read_history()
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "3"), ("2", "7")]
    model = load_model(run.last, compile=True)
    assert float(model.optimizer.dynamic_scale) == 512 and model.compute_dtype == "float16"


def test_a_run_on_sampled_patches_resumes_with_the_next_patches(
    source, tmp_path, monkeypatch, capsys
):
    """With all options that change what is trained: AdamW, weighted iterations, frozen encoder."""
    weights = tmp_path / "encoder.weights.h5"
    encoders.build_encoder("small_cnn", output_stride=8).network.save_weights(weights)
    config = dataclasses.replace(
        CONFIG,
        encoder_weights=str(weights),
        train_encoder=False,
        optimizer="adamw",
        iteration_weights=(1.0, 2.0),
        sampled_patches=5,
        recompute=True,
        epochs=2,
    )
    asked = []

    def spy(*args):
        asked.append(args[1:5])
        return sampled_batches(*args)

    monkeypatch.setattr(loop, "sampled_batches", spy)
    model = loop.build_model(config, source)
    loop.compile_model(model, config, 4)
    model.optimizer.build(model.trainable_variables)
    before = model.get_weights()
    run = begin_after_epoch(model, config, tmp_path / "run", step=4)
    loop.train(config, run.folder, resume=True)
    printed = capsys.readouterr().out
    assert "2 images each, 5 patches per image, 2 iterations" in printed
    # A crop of CONFIG has 5x6 canvas pixels, and those of 5 patches are 20.
    assert "note" not in printed
    # 5 patches at output stride 8, from step 4, by the seed 3.
    assert asked == [(5, 8, 4, 3)]
    model = load_model(run.folder)
    assert model.get_config()["recompute"]
    for weight, old, new in zip(model.weights, before, model.get_weights(), strict=True):
        trained = weight.path.startswith("stack")
        assert np.any(old != new) == trained, weight.path


@pytest.fixture
def frozen(tmp_path):
    """A configuration with a frozen encoder that keeps views, and a teacher of the classes."""
    weights = tmp_path / "encoder.weights.h5"
    encoders.build_encoder("small_cnn", output_stride=8).network.save_weights(weights)
    teacher = make_model(num_classes=3, class_names=("left", "right", "top"))
    teacher.save(tmp_path / "teacher.keras")
    return dataclasses.replace(
        CONFIG,
        encoder_weights=str(weights),
        train_encoder=False,
        context_channels=4,
        context_rates=(),
        sampled_patches=5,
        kept_views=2,
        teacher=str(tmp_path / "teacher.keras"),
        epochs=3,
    )


def test_a_run_on_kept_views_resumes_with_the_next_patches(
    source, frozen, tmp_path, monkeypatch, capsys
):
    whole = loop.train(frozen, tmp_path / "whole")
    printed = capsys.readouterr().out
    assert "2 images each, as many mixed patches as 5 per image, 2 iterations" in printed
    assert "2 of every image, encoded once; 5 patches of each are kept" in printed
    kill_in_epoch(monkeypatch, 2)
    with pytest.raises(Killed):
        loop.train(frozen, tmp_path / "run")
    monkeypatch.undo()
    monkeypatch.setattr(loop, "open_source", lambda data: source)
    run = loop.train(frozen, tmp_path / "run", resume=True)
    assert sorted(each.name for each in run.folder.iterdir()) == sorted(
        each.name for each in whole.folder.iterdir()
    )
    model, expected = load_model(run.last), load_model(whole.last)
    for ours, theirs in zip(model.weights, expected.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert load_model(run.last, compile=True).loss.temperature == 3


def test_views_are_kept_on_one_device(source, frozen, tmp_path, monkeypatch):
    strategy = SimpleNamespace(num_replicas_in_sync=2, scope=contextlib.nullcontext)
    monkeypatch.setattr(loop, "training_strategy", lambda size: strategy)
    with pytest.raises(UserError, match="kept_views=2: expected one worker and at most one GPU"):
        loop.train(frozen, tmp_path / "run")


def test_a_teacher_that_is_missing_is_told_before_the_encoding(source, frozen, tmp_path):
    config = dataclasses.replace(frozen, teacher=str(tmp_path / "none.keras"))
    with pytest.raises(UserError, match="none.keras: no such model"):
        loop.train(config, tmp_path / "run")


def test_a_teacher_of_other_classes_is_refused_before_the_encoding(source, frozen, tmp_path):
    names = ("right", "left", "top")
    make_model(num_classes=3, class_names=names).save(tmp_path / "other.keras")
    config = dataclasses.replace(frozen, teacher=str(tmp_path / "other.keras"))
    with pytest.raises(UserError, match="other.keras has the classes right, left, top; expected"):
        loop.train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_teacher_of_another_maker_with_more_classes_is_refused_before_the_encoding(
    source, frozen, tmp_path
):
    foreign = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(5, 1)])
    foreign.save(tmp_path / "foreign.keras")
    config = dataclasses.replace(
        frozen, teacher=str(tmp_path / "foreign.keras"), teacher_range=(0.0, 1.0)
    )
    with pytest.raises(UserError, match="foreign.keras scores 5 classes; expected the 3 of"):
        loop.train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


def test_crops_that_do_not_fit_into_the_memory_are_refused(source, tmp_path):
    config = dataclasses.replace(CONFIG, crop=(32768, 32768))
    with pytest.raises(
        UserError, match="2 images of 32768x32768 pixels: .* GB.*train on a smaller --crop"
    ):
        loop.train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()
