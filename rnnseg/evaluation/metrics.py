"""Scores from a confusion matrix, all that an evaluation keeps of the images."""

import numpy as np

from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts pixels by true class and predicted class.

    Args:
      labels: class indices of any shape, uint8; pixels with `IGNORE_LABEL` are not counted.
      predictions: class indices of the same shape.
      num_classes: the number of classes.

    Returns:
      int64 `(num_classes, num_classes)`; row: true class, column: predicted class.

    Raises:
      UserError: a label is neither a class nor `IGNORE_LABEL`. `keras.metrics.MeanIoU` drops such
        labels silently, which would hide a wrong number of classes.
    """
    # 16 bits hold every pair of a label and one of at most 255 classes.
    pairs = np.multiply(labels, np.uint16(num_classes), dtype=np.uint16, casting="safe").ravel()
    pairs += predictions.ravel().astype(np.uint16)
    starts, lengths = runs(pairs)
    counts = np.bincount(pairs[starts], lengths, minlength=(IGNORE_LABEL + 1) * num_classes)
    counts = counts.astype(np.int64).reshape(IGNORE_LABEL + 1, num_classes)
    wrong = np.flatnonzero(counts[num_classes:IGNORE_LABEL].any(1))
    if wrong.size:
        raise UserError(
            f"label {num_classes + wrong[-1]} found; expected 0-{num_classes - 1} ({num_classes} "
            f"classes), or {IGNORE_LABEL} for pixels to ignore"
        )
    return counts[:num_classes]


def runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds the runs of equal values.

    Neighbours in a class map are mostly equal, so that counting runs is faster than counting
    pixels.

    Args:
      values: a one-dimensional array with at least one value.

    Returns:
      The index of the first value and the length of each run, in order.
    """
    starts = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
    return starts, np.diff(starts, append=len(values))


def class_iou(confusion: np.ndarray) -> np.ndarray:
    """Computes the intersection over union of every class: TP / (TP + FP + FN).

    Args:
      confusion: `(..., classes, classes)`; row: true class, column: predicted class.

    Returns:
      float64 `(..., classes)`, 0-1; NaN for a class that neither occurs nor is predicted.
    """
    intersection = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    union = confusion.sum(-1) + confusion.sum(-2) - intersection
    return np.divide(intersection, union, out=np.full(union.shape, np.nan), where=union > 0)


def mean_iou(confusion: np.ndarray) -> np.ndarray:
    """Computes the mean IoU over the classes that occur or are predicted, `(...)`, 0-1."""
    iou = class_iou(confusion)
    present = ~np.isnan(iou)
    return np.where(present, iou, 0.0).sum(-1) / np.maximum(present.sum(-1), 1)


def mean_iou_occurring(confusion: np.ndarray) -> np.ndarray:
    """Computes the mean IoU over the classes that occur in the labels, `(...)`, 0-1.

    A class that is predicted but never occurs is left out here; in `mean_iou` it counts as zero.
    """
    occurs = confusion.sum(-1) > 0
    iou = np.where(occurs, class_iou(confusion), 0.0)
    return iou.sum(-1) / np.maximum(occurs.sum(-1), 1)


def pixel_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Computes the share of counted pixels with the right class, `(...)`, 0-1."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1).sum(-1)
    return right / np.maximum(confusion.sum((-2, -1)), 1)
