"""The best, median and worst images of an evaluation, and some images of a split by number."""

import dataclasses
from collections.abc import Collection

import numpy as np

from rnnseg.data.pipeline import decode
from rnnseg.data.source import Source


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """An image of a data set.

    Attributes:
      name: the name of the image.
      image: RGB, uint8 `(h, w, 3)`.
      label: class indices or `IGNORE_LABEL`, uint8 `(h, w)`.
    """

    name: str
    image: np.ndarray
    label: np.ndarray


def choose_examples(miou: np.ndarray) -> dict[str, int]:
    """Chooses the best, the median and the worst image.

    Args:
      miou: the mean IoU of every image, `(images,)`; NaN for one that is not to be chosen.

    Returns:
      The numbers of the images by "best", "median" and "worst": each image once, so only "best" and
      "worst" of two images, and "best" of a single one. Among equal scores, the first image.
    """
    order = np.argsort(-miou, kind="stable")  # NaN comes last
    order = order[: np.count_nonzero(~np.isnan(miou))].tolist()
    places = {"best": 0, "median": len(order) // 2, "worst": len(order) - 1}
    if len(order) < 3:
        del places["median"]
    if len(order) < 2:
        del places["worst"]
    return {kind: order[place] for kind, place in places.items()} if order else {}


def read_examples(source: Source, split: str, numbers: Collection[int]) -> dict[int, Example]:
    """Reads some images of a split; only these are decoded.

    Args:
      source: the data.
      split: the split.
      numbers: the numbers of the images, from 0 in the order of the split.

    Returns:
      The images by number.
    """
    found: dict[int, Example] = {}
    for number, encoded in enumerate(source.read(split)):
        if len(found) == len(set(numbers)):
            break
        if number in numbers:
            image, label = (each.numpy() for each in decode(encoded))
            found[number] = Example(encoded["name"].numpy().decode(), image, label)
    return found
