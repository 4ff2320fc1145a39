import csv
import dataclasses
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnseg import UserError
from rnnseg.training import loop, replicas
from rnnseg.training.config import TrainingConfig
from tests.support.sources import tiny_source
from tests.training.test_loop import CONFIG, Killed, kill_in_epoch

SAMPLED = dict(
    train_encoder=False,
    sampled_patches=5,
    iteration_weights=(1.0, 2.0),
    recompute=True,
    epochs=1,
)


def train_in_both_ways(folder: pathlib.Path) -> None:
    """The runs that the tests compare; for a process of its own, whose CPU is divided in two."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    keras.utils.set_random_seed(0)
    source = tiny_source(train=12)
    loop.open_source = lambda data: source
    fit = keras.Model.fit

    def fit_and_tell(model, *args, **options):
        print(f"\nreplicas: {model.distribute_strategy.num_replicas_in_sync}")
        return fit(model, *args, **options)

    keras.Model.fit = fit_and_tell
    weights = folder / "encoder.weights.h5"
    loop.build_model(CONFIG, source, 3).encoder.network.save_weights(weights)
    config = dataclasses.replace(
        CONFIG,
        batch_size=4,
        epochs=2,
        encoder_weights=str(weights),
        freeze_batch_norm=True,
        l2=1e-3,
    )
    sampled = dataclasses.replace(config, **SAMPLED)
    loop.train(config, folder / "one")
    loop.train(sampled, folder / "one_sampled")
    replicas.gpus = lambda: ("CPU:0", "CPU:1")
    loop.train(sampled, folder / "two_sampled")
    with pytest.MonkeyPatch.context() as patch:
        kill_in_epoch(patch, 2)
        with pytest.raises(Killed):
            loop.train(config, folder / "two")
    loop.train(config, folder / "two", resume=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of all runs, and what the commands printed."""
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


def weights_and_history(run):
    model = keras.saving.load_model(run / "last.keras")
    with open(run / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [*model.get_weights(), *model.optimizer.variables], rows


def assert_same(run, other):
    """Weights, optimizer, and every column of the history."""
    ours, our_rows = weights_and_history(run)
    theirs, their_rows = weights_and_history(other)
    for left, right in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)
    assert len(our_rows) == len(their_rows)
    for left, right in zip(our_rows, their_rows, strict=True):
        assert left.keys() == right.keys()
        for key in left:
            assert float(left[key]) == pytest.approx(float(right[key]), abs=1e-5)


def test_two_devices_learn_what_one_does_even_if_killed_and_resumed(runs):
    """Each sees half of the images, and pixels that count are not spread evenly over them."""
    folder, printed = runs
    assert_same(folder / "one", folder / "two")
    assert re.findall(r"^replicas: (\d+)", printed, re.MULTILINE) == ["1", "1", "2", "2", "2"]
    for first in (1, 2):
        line = f"epoch {first} to 2, 3 steps of 4 images each, 2 of them on each of 2 GPUs, "
        assert printed.count(line) == 1


def test_two_devices_learn_from_sampled_patches_what_one_does(runs):
    folder, _ = runs
    assert_same(folder / "one_sampled", folder / "two_sampled")


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
