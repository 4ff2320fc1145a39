"""The interface of every data set to the rest of the project."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from rnnseg.errors import UserError

if TYPE_CHECKING:  # this module does not import TensorFlow
    import tensorflow as tf

IGNORE_LABEL = 255
"""The label, in every data set, of pixels that neither the loss nor the scores count."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """The records of a split that stand in one file.

    Attributes:
      path: the file.
      first: the number of the first of them in the file, from 0.
      count: how many they are.
      read: returns the `tf.data.Dataset` of them, with elements as those of `Source.read`.
    """

    path: str
    first: int
    count: int
    read: Callable[[], "tf.data.Dataset"]


@dataclasses.dataclass(frozen=True)
class Source:
    """A labelled data set: its classes, its splits and a function that reads a split.

    Attributes:
      name: the name of the data set in reports.
      class_names: one name per class; the label of a pixel is an index into it, or `IGNORE_LABEL`.
      class_colors: one (red, green, blue) of 0-255 per class.
      split_sizes: the number of images in every split.
      read: returns the `tf.data.Dataset` of a split, always in the same order. Its elements are
        dictionaries of scalar strings: `image` (an encoded JPEG or PNG, RGB), `label` (an encoded
        8-bit grey PNG of class indices, of the size of the image) and `name`; and, with
        `has_instances`, `instance_ids` (an encoded 16-bit grey PNG).
      has_instances: True if Cityscapes' instance ids come with the labels, for its official scores.
      shards: returns the files of a split with its records, by which damaged ones are found; None
        if the images do not come from records.
    """

    name: str
    class_names: tuple[str, ...]
    class_colors: tuple[tuple[int, int, int], ...]
    split_sizes: Mapping[str, int]
    read: Callable[[str], "tf.data.Dataset"]
    has_instances: bool = False
    shards: Callable[[str], Sequence[Shard]] | None = None

    def __post_init__(self) -> None:
        if len(self.class_colors) != len(self.class_names):
            raise UserError(
                f"{self.name}: {len(self.class_names)} classes but {len(self.class_colors)} colours"
            )

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    def require_split(self, split: str) -> int:
        """Returns the number of images in `split`.

        Raises:
          UserError: the split does not exist or is empty.
        """
        if split not in self.split_sizes:
            raise UserError(
                f"{self.name} has no split {split!r}; it has {', '.join(sorted(self.split_sizes))}"
            )
        if not self.split_sizes[split]:
            raise UserError(f"split {split!r} of {self.name} is empty: it needs at least one image")
        return self.split_sizes[split]
