import dataclasses

import keras
import numpy as np
import pytest

from rnnseg.training.schedules import learning_rate_schedule, poly_schedule
from tests.training.test_loop import CONFIG

RATE = CONFIG.learning_rate


def rates(steps, **options):
    """The learning rates of the first steps, after a schedule was saved and loaded."""
    schedule = learning_rate_schedule(dataclasses.replace(CONFIG, epochs=5, **options), 4)
    schedule = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    return [float(schedule(np.int64(step))) for step in range(steps)]


def test_poly_schedule_by_its_formula():
    schedule = poly_schedule(0.007, 100)
    for step in (0, 30, 99):
        assert float(schedule(step)) == pytest.approx(0.007 * (1 - step / 100) ** 0.9, rel=1e-5)


def test_cosine_by_its_formula():
    expected = RATE * (1 + np.cos(np.pi * np.arange(20) / 20)) / 2
    np.testing.assert_allclose(rates(20, schedule="cosine"), expected, rtol=1e-5)


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_a_warm_up_rises_evenly_to_the_first_learning_rate(schedule):
    """Then the schedule follows, and is at zero after the last of 5 epochs of 4 steps."""
    found = rates(21, schedule=schedule, warmup_epochs=2)
    np.testing.assert_allclose(found[:9], RATE * np.arange(1, 10) / 9, rtol=1e-5)
    np.testing.assert_allclose(np.diff(found[:9]), RATE / 9, rtol=1e-3)
    share = np.arange(13) / 12
    falling = (1 - share) ** 0.9 if schedule == "poly" else (1 + np.cos(np.pi * share)) / 2
    np.testing.assert_allclose(found[8:], RATE * falling, rtol=1e-5, atol=1e-8)


def test_batches_that_accumulate_have_the_learning_rate_of_their_step():
    plain = rates(20, warmup_epochs=1)
    np.testing.assert_array_equal(rates(60, warmup_epochs=1, accumulate=3), np.repeat(plain, 3))
