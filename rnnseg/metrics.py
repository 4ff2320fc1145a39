"""Scores from a confusion matrix, which is all that evaluation keeps of the pictures."""

import numpy as np

from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts pixels by true class and predicted class.

    Args:
      labels: class indices of any shape; pixels with `IGNORE_LABEL` are not counted.
      predictions: class indices of the same shape.
      num_classes: number of classes.

    Returns:
      int64 `(num_classes, num_classes)`; row: true class, column: predicted class.

    Raises:
      UserError: a label that is neither a class nor `IGNORE_LABEL`. Dropped in silence, as in
        `keras.metrics.MeanIoU`, it would hide a wrong number of classes.
    """
    valid = labels != IGNORE_LABEL
    labels = labels[valid].astype(np.int64)
    if labels.size and labels.max() >= num_classes:
        raise UserError(
            f"label {labels.max()} found; expected 0-{num_classes - 1} ({num_classes} classes), or "
            f"{IGNORE_LABEL} for pixels to ignore"
        )
    counts = np.bincount(num_classes * labels + predictions[valid], minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def class_iou(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union of every class: TP / (TP + FP + FN).

    Args:
      confusion: `(..., classes, classes)`; row: true class, column: predicted class.

    Returns:
      float64 `(..., classes)`, 0-1; NaN for a class that is neither present nor predicted.
    """
    intersection = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    union = confusion.sum(-1) + confusion.sum(-2) - intersection
    return np.divide(intersection, union, out=np.full(union.shape, np.nan), where=union > 0)


def mean_iou(confusion: np.ndarray) -> np.ndarray:
    """The mean of `class_iou` over the classes that are present or predicted, `(...)`, 0-1."""
    iou = class_iou(confusion)
    present = ~np.isnan(iou)
    return np.where(present, iou, 0.0).sum(-1) / np.maximum(present.sum(-1), 1)


def pixel_accuracy(confusion: np.ndarray) -> np.ndarray:
    """The share of counted pixels that have the right class, `(...)`, 0-1."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1).sum(-1)
    return right / np.maximum(confusion.sum((-2, -1)), 1)
