"""The keys, classes and splits to read from a data set that does not define them itself."""

import dataclasses
from collections.abc import Mapping

from rnnseg.data.classes import ClassTable

TFDS_PREFIX = "tfds:"
"""The prefix of the names of TFDS data sets, as in `--data tfds:NAME`."""


@dataclasses.dataclass(frozen=True)
class Selection:
    """A user's choice of what to read; None stands for what the data set has or is known to have.

    Attributes:
      image: the key of the images.
      label: the key of the masks.
      classes: the names, the colours and the values in the masks.
      splits: maps names to parts of the data set's own splits, in the notation of TFDS: `train`,
        `train[:90%]`, `train[100:]+validation`.
      instances: the key of Cityscapes' instance ids.
    """

    image: str | None = None
    label: str | None = None
    classes: ClassTable | None = None
    splits: Mapping[str, str] | None = None
    instances: str | None = None
