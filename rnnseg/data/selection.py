"""What of a data set is read, where the data set itself does not say it."""

import dataclasses
from collections.abc import Mapping

from rnnseg.data.classes import ClassTable

TFDS_PREFIX = "tfds:"
"""What comes before the name of a data set of TFDS where a user names data."""


@dataclasses.dataclass(frozen=True)
class Selection:
    """What a user says about a data set; None: what is found in it or known about it.

    Attributes:
      image: key of the images.
      label: key of the masks.
      classes: names, colours and values in the masks.
      splits: from the splits' names to parts of the data set's own splits, as TFDS writes them:
        `train`, `train[:90%]`, `train[100:]+validation`.
      instances: key of Cityscapes' instance ids.
    """

    image: str | None = None
    label: str | None = None
    classes: ClassTable | None = None
    splits: Mapping[str, str] | None = None
    instances: str | None = None
