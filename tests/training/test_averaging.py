import dataclasses

import keras
import numpy as np
import pytest

from rnnseg.training.averaging import averaged_weights, swap_averages
from rnnseg.training.optimizers import build_optimizer
from tests.training.test_loop import CONFIG

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(24, 3)).astype(np.float32)
TARGETS = RNG.normal(size=(24, 2)).astype(np.float32)


def make_model(**options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    config = dataclasses.replace(CONFIG, **options)
    model.compile(build_optimizer(config, 10), "mse", jit_compile=False)
    return model


def train(model, first, last):
    """Trains on some batches of two, and returns the weights after each of them."""
    found = []
    for step in range(first, last):
        part = np.s_[2 * step : 2 * step + 2]
        model.train_on_batch(IMAGES[part], TARGETS[part])
        found.append(model.get_weights())
    return found


def copy_of(values):
    return [np.copy(keras.ops.convert_to_numpy(each)) for each in values]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_average_by_its_formula_and_the_weights_afterwards(optimizer):
    model = make_model(ema=0.7, optimizer=optimizer)
    steps = train(model, 0, 6)
    average = steps[0]
    for weights in steps[1:]:
        pairs = zip(average, weights, strict=True)
        average = [0.7 * old + 0.3 * new for old, new in pairs]
    with averaged_weights(model):
        for found, expected in zip(model.get_weights(), average, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5)
    for found, expected in zip(model.get_weights(), steps[-1], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_without_an_average_nothing_happens():
    model = make_model()
    (weights,) = train(model, 0, 1)
    with averaged_weights(model):
        for found, expected in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_saved_model_is_the_average_and_goes_on_with_the_weights(tmp_path):
    model = make_model(ema=0.7)
    train(model, 0, 5)
    with averaged_weights(model):
        model.save(tmp_path / "last.keras")
        average = copy_of(model.get_weights())
    loaded = keras.saving.load_model(tmp_path / "last.keras")
    for found, expected in zip(loaded.get_weights(), average, strict=True):
        np.testing.assert_array_equal(found, expected)
    swap_averages(loaded)
    train(model, 5, 9)
    train(loaded, 5, 9)
    values = [[*each.get_weights(), *copy_of(each.optimizer.variables)] for each in (model, loaded)]
    for mine, its in zip(*values, strict=True):
        np.testing.assert_array_equal(mine, its)


def test_the_decay_is_per_step_however_many_batches_it_has():
    """Of weights that stay, the average approaches them by the decay in three batches."""
    model = make_model(ema=0.7, accumulate=3, learning_rate=1e-20)
    train(model, 0, 3)
    for average in model.optimizer._model_variables_moving_average:
        average.assign_add(np.ones(average.shape, np.float32))
    train(model, 3, 6)
    for average, weight in zip(
        model.optimizer._model_variables_moving_average, model.get_weights(), strict=True
    ):
        np.testing.assert_allclose(average - weight, 0.7, rtol=1e-5)
