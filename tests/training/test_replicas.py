import dataclasses
import pathlib
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnseg import UserError
from rnnseg.data.pipeline import Augmentation, training_batches
from rnnseg.models import encoders
from rnnseg.training import loop, replicas
from rnnseg.training.callbacks import RunFiles
from rnnseg.training.config import TrainingConfig
from tests.support.sources import tiny_source
from tests.training.test_loop import CONFIG


def train_in_both_ways(folder: pathlib.Path) -> None:
    """Trains all that the tests compare, in a process of its own whose CPU is divided in two.

    Each device sees half of the images, and the pixels that count are not spread evenly over them.
    """
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    source = tiny_source(train=12)
    weights = folder / "encoder.weights.h5"
    encoders.build_encoder("small_cnn", output_stride=8).network.save_weights(weights)
    config = dataclasses.replace(
        CONFIG,
        batch_size=4,
        encoder_weights=str(weights),
        freeze_batch_norm=True,
        l2=1e-3,
    )
    sampled = dataclasses.replace(
        config,
        epochs=2,
        train_encoder=False,
        sampled_patches=5,
        iteration_weights=(1.0, 2.0),
        recompute=True,
        augment="strong",
        ema=0.8,
        clip_norm=0.5,
    )
    loop.open_source = lambda data: source
    fit_all(config, source, folder / "one.keras")
    with pytest.MonkeyPatch.context() as patch:
        copy_after_epoch(patch, 1, folder / "two_sampled")
        loop.train(sampled, folder / "one_sampled")
    replicas.gpus = lambda: ("CPU:0", "CPU:1")
    fit_all(config, source, folder / "two.keras")
    loop.train(sampled, folder / "two_sampled", resume=True)


def copy_after_epoch(monkeypatch, epoch, copy):
    """Keeps a copy of the folder of a run, as a kill in the next epoch would leave it."""
    on_end = RunFiles.on_epoch_end

    def end_epoch(self, number, logs=None):
        on_end(self, number, logs)
        if number + 1 == epoch:
            shutil.copytree(self._run.folder, copy)

    monkeypatch.setattr(RunFiles, "on_epoch_end", end_epoch)


def fit_all(config, source, path):
    """Trains all weights on whole images for an epoch, without the rest of a run."""
    keras.utils.set_random_seed(config.seed)
    batches, steps = training_batches(
        source, "train", config.batch_size, Augmentation(config.crop), 1, seed=config.seed
    )
    strategy = replicas.training_strategy(config.batch_size)
    with strategy.scope():
        model = loop.build_model(config, source)
        loop.compile_model(model, config, steps)
    print(f"\nreplicas: {model.distribute_strategy.num_replicas_in_sync}")
    model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)
    model.save(path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of all that was trained, and the output."""
    folder = tmp_path_factory.mktemp("runs")
    code = (
        "import pathlib\n"
        "from tests.training.test_replicas import train_in_both_ways\n"
        f"train_in_both_ways(pathlib.Path({str(folder)!r}))"
    )
    root = pathlib.Path(__file__).parents[2]
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done.stdout


def assert_same_weights(path, other):
    """Compares the weights and the state of the optimizer."""
    models = [keras.saving.load_model(each) for each in (path, other)]
    values = [[*model.get_weights(), *model.optimizer.variables] for model in models]
    for left, right in zip(*values, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)


def test_two_devices_learn_what_one_does(runs):
    folder, printed = runs
    assert_same_weights(folder / "one.keras", folder / "two.keras")
    assert re.findall(r"^replicas: (\d+)", printed, re.MULTILINE) == ["1", "2"]


def test_a_run_of_one_device_continues_on_two_as_if_on_one(runs):
    """On sampled patches, which Keras distributes as a part of the images."""
    folder, printed = runs
    one, two = loop.Run(folder / "one_sampled"), loop.Run(folder / "two_sampled")
    assert_same_weights(one.last, two.last)
    assert len(one.read_history()) == 2
    for left, right in zip(one.read_history(), two.read_history(), strict=True):
        assert left.keys() == right.keys()
        for key in left:
            assert float(left[key]) == pytest.approx(float(right[key]), abs=1e-5)
    assert "epoch 1 to 2, 3 steps of 4 images each, 5 patches per image, " in printed
    assert "epoch 2 to 2, 3 steps of 4 images each, 2 of them on each of 2 GPUs, 5 pat" in printed


def test_one_gpu_or_none_needs_no_strategy(monkeypatch):
    for names in ((), ("GPU:0",)):
        monkeypatch.setattr(replicas, "gpus", lambda names=names: names)
        strategy = replicas.training_strategy(5)
        with strategy.scope():
            assert not tf.distribute.has_strategy()
        assert strategy.num_replicas_in_sync == 1


@pytest.mark.parametrize(
    ("batch_size", "count", "ways_out"),
    [
        (16, 3, "such as 15 or 18; or use 2 of them: CUDA_VISIBLE_DEVICES=0,1"),
        (12, 8, "such as 8 or 16; or use 6 of them: CUDA_VISIBLE_DEVICES=0,1,2,3,4,5"),
        (3, 8, "such as 8; or use 3 of them: CUDA_VISIBLE_DEVICES=0,1,2"),
        (7, 2, "such as 6 or 8; or use 1 of them: CUDA_VISIBLE_DEVICES=0"),
    ],
)
def test_a_batch_that_gpus_cannot_share(monkeypatch, tmp_path, batch_size, count, ways_out):
    monkeypatch.setattr(replicas, "gpus", lambda: ("GPU",) * count)
    config = TrainingConfig(data="shapes", batch_size=batch_size)
    with pytest.raises(UserError) as caught:
        loop.train(config, tmp_path / "run")
    expected = f"batch_size={batch_size}: expected a number that {count} GPUs can share, {ways_out}"
    assert str(caught.value) == expected
    assert not (tmp_path / "run").exists()
