import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnseg import UserError
from rnnseg.training import loop
from rnnseg.training.accumulation import check_accumulation, divided_batches
from tests.training.test_loop import CONFIG

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(24, 6, 5, 3)).astype(np.float32)
LABELS = RNG.integers(0, 3, (24, 6, 5)).astype(np.uint8)
# Labelled unevenly; the fourth image not at all.
LABELS[
    (RNG.random(LABELS.shape) < RNG.random((24, 1, 1))) | (np.arange(24) == 3)[:, None, None]
] = 255
WEIGHTS = RNG.uniform(0.5, 3, LABELS.shape).astype(np.float32)


def trained(config, batches):
    """Trains a small model for two epochs of one step or several, and returns its weights."""
    keras.utils.set_random_seed(0)
    layer = keras.layers.Conv2D(3, 3, padding="same", kernel_regularizer=keras.regularizers.L2(0.1))
    model = keras.Sequential([keras.layers.Input((6, 5, 3)), layer])
    loop.compile_model(model, config, 3, class_weights=(1.0, 2.0, 0.5))
    model.fit(batches, epochs=1, shuffle=False, verbose=0)
    return model.get_weights(), model.optimizer


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clip_norm": 0.1, "label_smoothing": 0.1, "optimizer": "adamw"},
        {"loss": "focal", "hard_pixels": 0.3},
        {"loss": "dice"},
    ],
    ids=["cross-entropy", "clipped", "focal, hard", "dice"],
)
def test_small_batches_add_up_to_a_large_one(options):
    """Three steps of eight images, as four batches of two; weights of pixels with the first."""
    parts = (IMAGES, LABELS) if options else (IMAGES, LABELS, WEIGHTS)
    large = tf.data.Dataset.from_tensor_slices(parts).batch(8)
    config = dataclasses.replace(CONFIG, batch_size=8, epochs=2, **options)
    small = dataclasses.replace(config, batch_size=2, accumulate=4)
    expected, optimizer = trained(config, large)
    found, accumulated = trained(small, divided_batches(large, small))
    assert int(accumulated.iterations) == int(optimizer.iterations) == 3
    for mine, its in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-6)


def test_structures_are_divided_in_order():
    images = (IMAGES, np.arange(24))
    batches = tf.data.Dataset.from_tensor_slices((images, LABELS)).batch(8)
    config = dataclasses.replace(CONFIG, batch_size=2, accumulate=4)
    seen = list(divided_batches(batches, config))
    assert len(seen) == 12
    np.testing.assert_array_equal(np.concatenate([numbers for (_, numbers), *_ in seen]), range(24))
    np.testing.assert_array_equal(np.concatenate([labels for _, labels, _ in seen]), LABELS)
    for step in range(3):
        weights = [float(weight[0, 0, 0]) for *_, weight in seen[4 * step : 4 * step + 4]]
        counts = (LABELS[8 * step : 8 * step + 8] != 255).reshape(4, -1).sum(1)
        np.testing.assert_allclose(weights, 4 * counts / counts.sum(), rtol=1e-6)


def test_what_cannot_accumulate_is_named():
    """Several GPUs, and steps of more images than there are."""
    config = dataclasses.replace(CONFIG, accumulate=2)
    check_accumulation(config, 4, 1)
    check_accumulation(CONFIG, 4, 4)
    with pytest.raises(UserError, match="accumulate=2: TensorFlow cannot accumulate .* 4 GPUs"):
        check_accumulation(config, 4, 4)
    with pytest.raises(UserError, match="so many batches of 2 images are more than the 3 of split"):
        check_accumulation(config, 3, 1)
