import keras
import numpy as np
import pytest

from rnnseg import UserError
from rnnseg.evaluation import metrics


def maps(seed=0, classes=5):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (40, 30)).astype(np.uint8)
    predictions = np.where(rng.random((40, 30)) < 0.6, labels, rng.integers(0, classes, (40, 30)))
    labels[rng.random((40, 30)) < 0.1] = 255
    return labels, predictions.astype(np.int32)


def test_confusion_counts_pixels_one_by_one():
    labels, predictions = maps()
    expected = np.zeros((5, 5), int)
    for label, prediction in zip(labels.ravel(), predictions.ravel(), strict=True):
        if label != 255:
            expected[label, prediction] += 1
    np.testing.assert_array_equal(metrics.confusion_matrix(labels, predictions, 5), expected)


def test_mean_iou_is_that_of_keras():
    metric = keras.metrics.MeanIoU(6, ignore_class=255)  # class 5 never occurs
    confusion = np.zeros((6, 6), int)
    for seed in range(3):
        labels, predictions = maps(seed)
        metric.update_state(labels.astype(np.int32), predictions)
        confusion += metrics.confusion_matrix(labels, predictions, 6)
    assert metrics.mean_iou(confusion) == pytest.approx(float(metric.result()), abs=1e-6)
    assert np.isnan(metrics.class_iou(confusion)[5])


def test_scores_by_hand():
    confusion = np.array([[[3, 1], [2, 4]], [[5, 0], [0, 0]]])
    np.testing.assert_allclose(metrics.class_iou(confusion), [[3 / 6, 4 / 7], [1, np.nan]])
    np.testing.assert_allclose(metrics.mean_iou(confusion), [(3 / 6 + 4 / 7) / 2, 1])
    np.testing.assert_allclose(metrics.pixel_accuracy(confusion), [0.7, 1])


def test_a_class_that_is_only_predicted_counts_in_one_of_two_means():
    confusion = np.array([[3, 1, 0], [0, 4, 2], [0, 0, 0]])
    np.testing.assert_allclose(metrics.mean_iou(confusion), (3 / 4 + 4 / 7 + 0) / 3)
    np.testing.assert_allclose(metrics.mean_iou_occurring(confusion), (3 / 4 + 4 / 7) / 2)
    both = np.stack([confusion, np.zeros_like(confusion)])
    np.testing.assert_allclose(metrics.mean_iou_occurring(both), [(3 / 4 + 4 / 7) / 2, 0])


def test_a_label_outside_the_classes_is_an_error():
    labels, predictions = maps()
    with pytest.raises(UserError, match="label 4 found; expected 0-3"):
        metrics.confusion_matrix(labels, np.minimum(predictions, 3), 4)


@pytest.mark.parametrize("classes", [2, 255])
def test_the_smallest_and_the_largest_number_of_classes(classes):
    labels = np.array([[0, classes - 1, 255, classes - 1], [1, 255, 255, classes - 1]], np.uint8)
    predictions = np.array([[0, classes - 1, classes - 1, 0], [classes - 1, 0, 1, 0]], np.int32)
    expected = np.zeros((classes, classes), int)
    np.add.at(expected, (labels[labels < classes], predictions[labels < classes]), 1)
    found = metrics.confusion_matrix(labels, predictions, classes)
    np.testing.assert_array_equal(found, expected)


def test_wider_labels_are_not_cut_off():
    with pytest.raises(TypeError):
        metrics.confusion_matrix(np.array([256]), np.array([0]), 3)


def test_runs():
    starts, lengths = metrics.runs(np.array([7, 7, 7, 2, 7, 7]))
    assert starts.tolist() == [0, 3, 4] and lengths.tolist() == [3, 1, 2]
    starts, lengths = metrics.runs(np.array([4]))
    assert starts.tolist() == [0] and lengths.tolist() == [1]
