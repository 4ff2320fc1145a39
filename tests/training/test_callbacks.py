import math

import pytest

from rnnseg import UserError
from rnnseg.training import loop
from rnnseg.training.callbacks import RunFiles
from tests.support.sources import tiny_source
from tests.training.test_loop import CONFIG


@pytest.fixture(scope="module")
def model():
    model = loop.build_model(CONFIG, tiny_source())
    loop.compile_model(model, CONFIG, 4)
    return model


def scores(miou):
    return {"val_loss": 0.7, "val_miou_1_iteration": 10.0, "val_miou": miou}


def row(epoch, miou):
    return {"epoch": str(epoch), "val_miou": miou}


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_files(tmp_path, loss):
    run = loop.Run(tmp_path / "run")
    files = RunFiles(run, tiny_source(), CONFIG, [])
    with pytest.raises(UserError, match=f"the loss became {loss} in epoch 5: try a lower"):
        files.on_epoch_end(4, {"loss": loss})
    assert not run.folder.exists()


def test_best_keras_is_the_model_that_validated_best(model, tmp_path, monkeypatch):
    """Also if the best epoch was before an interruption, as 45 % in the last case."""
    run = loop.Run(tmp_path / "run")
    monkeypatch.setattr(run, "write_history", lambda rows: None)
    for before, expected in ([], [1, 2]), ([row(1, ""), row(2, "45")], [2]):
        files = RunFiles(run, tiny_source(), CONFIG, before)
        files.set_model(model)
        saved = []
        monkeypatch.setattr(files, "_save", saved.append)
        for epoch, miou in enumerate((30.0, 50.0, 40.0, 50.0)):
            files._validate = lambda epoch, miou=miou: scores(miou)
            files.on_epoch_end(epoch, {"loss": 1.0})
            saved.append(epoch + 1)
        epochs = [saved[index + 2] for index, path in enumerate(saved) if path == run.best]
        assert epochs == expected and saved.count(run.last) == 4
