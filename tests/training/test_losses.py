import keras
import numpy as np
import pytest

from rnnseg.training.losses import SegmentationLoss


def example(classes=5):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, (2, 6, 7)).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.3] = 255
    return labels, rng.normal(0, 3, (2, 6, 7, classes)).astype(np.float32)


def test_without_smoothing_it_is_keras_own():
    labels, logits = example()
    expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    np.testing.assert_allclose(
        SegmentationLoss()(labels, logits), expected(labels, logits), rtol=1e-5
    )


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_smoothing_is_keras_own_on_the_counted_pixels(smoothing):
    labels, logits = example()
    counted = labels != 255
    expected = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    expected = expected(np.eye(5)[labels[counted]], logits[counted])
    np.testing.assert_allclose(SegmentationLoss(smoothing)(labels, logits), expected, rtol=1e-5)


def test_the_loss_without_counted_pixels_is_zero():
    labels, logits = example()
    assert float(SegmentationLoss(0.1)(np.full_like(labels, 255), logits)) == 0


def test_the_loss_survives_serialization():
    loss = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(SegmentationLoss(0.2))
    )
    assert isinstance(loss, SegmentationLoss) and loss.label_smoothing == 0.2
