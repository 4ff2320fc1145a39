"""The official scores of Cityscapes: IoU and instance-level IoU, of classes and categories.

The scores agree to the last digit with `evalPixelLevelSemanticLabeling` of cityscapesscripts, which
reads its predictions from files. To round as it does, sums of fractions are added in its order, one
after the other.

    IoU  = TP / (TP + FP + FN), in pixels
    iIoU = iTP / (iTP + FP + iFN)

iTP and iFN weigh each pixel of an instance by the average size of the instances of its class over
the size of the instance, so that distant objects count as much as near ones. Predictions have no
instances, so FP counts pixels without weights (Cordts et al., 2016, "The Cityscapes Dataset for
Semantic Urban Scene Understanding", section 4.2).
"""

import dataclasses
import functools
import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rnnseg._renamed import renamed_attributes
from rnnseg.data.sharing import Share
from rnnseg.data.tables import CITYSCAPES
from rnnseg.evaluation import metrics

__getattr__ = renamed_attributes(__name__, {"Scores": "CityscapesScores"})

CATEGORIES = {
    "flat": ("road", "sidewalk"),
    "construction": ("building", "wall", "fence"),
    "object": ("pole", "traffic light", "traffic sign"),
    "nature": ("vegetation", "terrain"),
    "sky": ("sky",),
    "human": ("person", "rider"),
    "vehicle": ("car", "truck", "bus", "train", "motorcycle", "bicycle"),
}
"""The classes of each category."""

# The average pixels per instance in the training split, as cityscapesscripts has them.
_INSTANCE_SIZES = {
    "person": 3462.4756337644,
    "rider": 3930.4788056518,
    "car": 12794.0202738185,
    "truck": 27855.1264367816,
    "bus": 35732.1511111111,
    "train": 67583.7075812274,
    "motorcycle": 6298.7200839748,
    "bicycle": 4672.3249222261,
}
# The id of an instance is its label id times this, plus its number.
_INSTANCES_PER_LABEL = 1000

_CATEGORY_NAMES = tuple(CATEGORIES)
_CATEGORY_OF = np.array(
    [
        next(index for index, names in enumerate(CATEGORIES.values()) if name in names)
        for name in CITYSCAPES.names
    ]
)
_SIZES = np.array([_INSTANCE_SIZES.get(name, math.nan) for name in CITYSCAPES.names])
_WITH_INSTANCES = np.flatnonzero(~np.isnan(_SIZES))
_CATEGORIES_WITH_INSTANCES = np.unique(_CATEGORY_OF[_WITH_INSTANCES])


def _classes_of_ids() -> np.ndarray:
    """Returns the class of every instance id; -1 for an id that is no instance."""
    classes = np.full(1 << 16, -1, np.int8)
    for label_id, index in CITYSCAPES.values.items():
        if index in _WITH_INSTANCES:
            start = label_id * _INSTANCES_PER_LABEL
            classes[start : start + _INSTANCES_PER_LABEL] = index
    return classes


_CLASS_OF_ID = _classes_of_ids()


@dataclasses.dataclass(frozen=True)
class CityscapesScores:
    """The official scores, 0-1; NaN for a class or category that neither occurs nor is predicted.

    Attributes:
      class_iou: the IoU by class.
      class_iiou: the iIoU by class, for the classes with instances.
      category_iou: the IoU by category.
      category_iiou: the iIoU by category, for the categories with instances.
    """

    class_iou: Mapping[str, float]
    class_iiou: Mapping[str, float]
    category_iou: Mapping[str, float]
    category_iiou: Mapping[str, float]

    @property
    def means(self) -> dict[str, float]:
        """The mean of each attribute over the values that are not NaN, by its name."""
        return {
            field.name: _mean(getattr(self, field.name).values())
            for field in dataclasses.fields(self)
        }

    def to_json(self) -> dict[str, Any]:
        """Returns all scores as plain numbers, with None for NaN."""
        content = {f"mean_{name}": value for name, value in self.means.items()}
        content |= dataclasses.asdict(self)
        return _without_nan(content)


class Instances:
    """The instances in the ground truth of one image.

    Args:
      ids: uint16 `(h, w)`, as in Cityscapes' `…_instanceIds.png`.

    Attributes:
      classes: the class of every instance, by rising id.
      sizes: the number of pixels of every instance, likewise.
    """

    def __init__(self, ids: np.ndarray):
        ids = ids.ravel()
        starts, lengths = metrics.runs(ids)
        inside = _CLASS_OF_ID[ids[starts]] >= 0
        starts, lengths = starts[inside], lengths[inside]
        found, numbers = np.unique(ids[starts], return_inverse=True)
        self.classes = _CLASS_OF_ID[found].astype(np.intp)
        self.sizes = np.bincount(numbers, lengths, minlength=len(found)).astype(np.int64)
        # All pixels of all runs, one after the other: their index in the image, and the number of
        # their instance.
        before = np.cumsum(lengths) - lengths
        self._places = np.arange(lengths.sum()) + np.repeat(starts - before, lengths)
        self._numbers = np.repeat(numbers, lengths)

    def count_hits(self, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Counts the pixels of every instance with the right class, and with the right category.

        Args:
          prediction: class indices `(h, w)`.

        Returns:
          Both counts, `(instances,)`.
        """
        predicted = prediction.ravel()[self._places]
        own = self.classes[self._numbers]
        right = predicted == own, _CATEGORY_OF[predicted] == _CATEGORY_OF[own]
        classes, categories = (
            np.bincount(self._numbers[hits], minlength=len(self.classes)) for hits in right
        )
        return classes, categories


class InstanceSums:
    """The sums iTP and iFN of all classes and categories over the images that were added."""

    def __init__(self) -> None:
        self._classes = _Sums(len(CITYSCAPES.names))
        self._categories = _Sums(len(_CATEGORY_NAMES))

    def add(self, instances: Instances, prediction: np.ndarray) -> None:
        """Adds an image.

        Args:
          instances: the instances in its ground truth.
          prediction: class indices `(h, w)`.
        """
        weights = _SIZES[instances.classes] / instances.sizes
        by_class, by_category = instances.count_hits(prediction)
        classes = instances.classes
        self._classes.add(classes, by_class, instances.sizes, weights)
        self._categories.add(_CATEGORY_OF[classes], by_category, instances.sizes, weights)

    def combine(self, share: Share) -> None:
        """Makes the sums those of the images of all workers."""
        for sums in (self._classes, self._categories):
            sums.combine(share)

    def scores(self, confusion: np.ndarray) -> CityscapesScores:
        """Computes the scores of all images.

        Args:
          confusion: the confusion matrix of the same images, `(19, 19)`; row: true class, column:
            predicted class.
        """
        members = np.eye(len(_CATEGORY_NAMES), dtype=np.int64)[_CATEGORY_OF]
        of_categories = members.T @ confusion @ members
        return CityscapesScores(
            dict(zip(CITYSCAPES.names, metrics.class_iou(confusion).tolist(), strict=True)),
            self._classes.iiou(confusion, CITYSCAPES.names, _WITH_INSTANCES),
            dict(zip(_CATEGORY_NAMES, metrics.class_iou(of_categories).tolist(), strict=True)),
            self._categories.iiou(of_categories, _CATEGORY_NAMES, _CATEGORIES_WITH_INSTANCES),
        )


class _Sums:
    """The sums iTP and iFN of classes, or of categories."""

    def __init__(self, count):
        self._hits, self._misses = np.zeros(count), np.zeros(count)

    def add(self, classes, hits, sizes, weights):
        # `np.add.at` adds one value after the other; a sum of sums would round differently.
        np.add.at(self._hits, classes, hits * weights)
        np.add.at(self._misses, classes, (sizes - hits) * weights)

    def combine(self, share: Share) -> None:
        self._hits, self._misses = share.total(self._hits), share.total(self._misses)

    def iiou(self, confusion, names, shown) -> dict[str, float]:
        false = confusion.sum(0) - np.diagonal(confusion)
        whole = self._hits + false + self._misses
        iou = np.divide(self._hits, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
        return {names[index]: float(iou[index]) for index in shown}


def _mean(values: Iterable[float]) -> float:
    valid = [value for value in values if not math.isnan(value)]
    # Since Python 3.12, `sum` rounds better than one addition after the other.
    return functools.reduce(operator.add, valid) / len(valid) if valid else math.nan


def _without_nan(content):
    if isinstance(content, Mapping):
        return {key: _without_nan(value) for key, value in content.items()}
    return None if math.isnan(content) else content
