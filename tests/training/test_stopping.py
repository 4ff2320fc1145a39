import dataclasses

import pytest

from rnnseg.training.stopping import best_validation, early_stop
from tests.training.test_loop import CONFIG


def history(*mious, resumed_at=0):
    """Rows of epochs; those before `resumed_at` are as a CSV file gives them."""
    rows = []
    for epoch, miou in enumerate(mious, start=1):
        row = {"epoch": epoch, "val_miou": miou, "learning_rate": 0.025}
        if epoch <= resumed_at:
            row = {name: str(value) for name, value in row.items()}
        rows.append(row)
    return rows


def test_the_best_validation_is_the_first_of_equals():
    assert best_validation(history("", 9.0, "", 30.0, 30.0, 12.0, resumed_at=4))["epoch"] == "4"
    assert best_validation([]) is None and best_validation(history("", "")) is None


@pytest.mark.parametrize("resumed_at", [0, 3, 5])
def test_patience_counts_validations_without_a_better_one(resumed_at):
    config = dataclasses.replace(CONFIG, patience=2, epochs=9)
    worse = history(30.0, 40.0, "", 40.0, "", 12.5, resumed_at=resumed_at)
    for length in range(6):
        assert early_stop(config, worse[:length]) is None
    message = early_stop(config, worse)
    assert message == (
        "stopped after epoch 6 of 9: 2 validations without a better mIoU than the 40.0 % of epoch "
        "2, which is best.keras; the learning rate was still 0.025"
    )
    assert early_stop(config, history(30.0, 40.0, "", 40.0, "", 40.5, 9.0)) is None


def test_a_run_without_patience_or_at_its_end_does_not_stop_early():
    worse = history(30.0, 20.0, 20.0, 20.0)
    assert early_stop(CONFIG, worse) is None
    assert early_stop(dataclasses.replace(CONFIG, patience=1, epochs=4), worse) is None
