"""The shares of several workers in one task."""

import dataclasses
from collections.abc import Callable

import numpy as np


def _unchanged(array: np.ndarray) -> np.ndarray:
    return array


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of a task that falls to one of several workers, which do the same in step.

    Attributes:
      index: the number of the worker, from 0.
      count: the number of workers.
      total: returns the sum of an array over all workers, float64. Every worker must call it at the
        same point, with an array of the same shape; it waits for the others. Numbers that only one
        worker knows, beside zeros of the others, come out as they are.
    """

    index: int = 0
    count: int = 1
    total: Callable[[np.ndarray], np.ndarray] = _unchanged

    @property
    def is_first(self) -> bool:
        """True for the worker that writes the files."""
        return self.index == 0


WHOLE = Share()
"""The share of a worker that is alone."""
