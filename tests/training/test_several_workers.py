"""Training by several processes, beside one that is alone; and a worker that is killed."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys

import keras
import pytest

from rnnseg.models import encoders
from rnnseg.training import loop, workers
from rnnseg.training.config import TrainingConfig
from rnnseg.training.runs import Run
from tests.support.sources import tiny_source
from tests.support.workers import run_python
from tests.training.test_loop import CONFIG
from tests.training.test_replicas import assert_same_weights

# 13 images: one is left over in every epoch, and 5 to validate are shared unevenly.
IMAGES = dict(train=13, val=5)
KILL = "KILL_WORKER"


class KilledInEpoch(keras.callbacks.Callback):
    """Ends the process of worker 1 in the middle of epoch 2, as clusters do, without a word."""

    def on_train_batch_end(self, batch, logs=None):
        if self._epoch == 1 and workers.own_share().index == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch


def config_of(folder: pathlib.Path) -> TrainingConfig:
    """The whole model in training, with a state of the optimizer to resume."""
    return dataclasses.replace(
        CONFIG,
        batch_size=6,
        epochs=2,
        encoder_weights=str(folder / "encoder.weights.h5"),
        freeze_batch_norm=True,
        l2=1e-3,
        clip_norm=0.5,
        ema=0.8,
    )


def train_here(folder: pathlib.Path, name: str) -> None:
    """Trains in this process, one worker of several or alone."""
    source = tiny_source(**IMAGES)
    loop.open_source = lambda data: source
    killed = [KilledInEpoch()] if os.environ.get(KILL) else []
    loop.train(config_of(folder), folder / name, resume=True, callbacks=killed)


def code_for(folder, name):
    return (
        "import pathlib\n"
        "from tests.training.test_several_workers import train_here\n"
        f"train_here(pathlib.Path({str(folder)!r}), {name!r})"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder with a run of one process, and one of two workers that lost one of them."""
    folder = tmp_path_factory.mktemp("runs")
    network = encoders.build_encoder("small_cnn", output_stride=8).network
    network.save_weights(folder / "encoder.weights.h5")
    alone = [sys.executable, "-c", code_for(folder, "alone")]
    subprocess.run(alone, check=True, cwd=pathlib.Path(__file__).parents[2])
    return folder


@pytest.fixture(scope="module")
def killed(folder):
    """The status and the output of two workers, of which the second is killed in epoch 2."""
    return run_python(2, code_for(folder, "several"), **{KILL: "1"})


def test_a_lost_worker_ends_the_others_with_a_way_out(folder, killed):
    (status, output), (killed_status, _) = killed
    assert killed_status == -signal.SIGTERM  # TensorFlow would go on
    assert status == 1
    assert "UserError: worker 0 (127.0.0.1:" in output and "again with --resume" in output
    assert len(Run(folder / "several").read_history()) == 1


def test_a_run_continues_with_other_workers_as_if_undisturbed(folder, killed):
    """The first epoch is that of two workers, the second that of three."""
    done = run_python(3, code_for(folder, "several"))
    assert [status for status, _ in done] == [0, 0, 0], done[0][1][-3000:]
    assert "epoch 2 to 2, 2 steps of 6 images each, 2 of them in each of 3 workers" in done[0][1]
    assert "Epoch 2/2" in done[0][1] and not any("Epoch" in output for _, output in done[1:])
    assert_same_weights(folder / "alone/last.keras", folder / "several/last.keras")
    assert_same_weights(folder / "alone/best.keras", folder / "several/best.keras")
    one, three = (Run(folder / name).read_history() for name in ("alone", "several"))
    assert len(one) == 2
    for mine, other in zip(one, three, strict=True):
        assert mine.keys() == other.keys()
        for key in mine:
            assert float(mine[key]) == pytest.approx(float(other[key]), abs=1e-4), key
    assert sorted(os.listdir(folder / "several")) == sorted(os.listdir(folder / "alone"))
    assert len(list((folder / "several/logs/train").iterdir())) == 2  # of the first worker alone
