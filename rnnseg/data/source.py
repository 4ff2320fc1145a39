"""What every data set looks like to the rest of the project."""

import dataclasses
from collections.abc import Callable, Mapping

from rnnseg.errors import UserError

IGNORE_LABEL = 255
"""The label of pixels that neither the loss nor the scores count. The same in every data set."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A labelled data set: what its classes are and where its examples come from.

    Attributes:
      name: what reports call it.
      class_names: one name a class; the label of a pixel is the index into it, or `IGNORE_LABEL`.
      class_colors: one (red, green, blue) of 0-255 a class.
      split_sizes: number of images in every split.
      read: gives the `tf.data.Dataset` of one split, always in the same order. Its elements are
        dictionaries of scalar strings: `image` (an encoded JPEG or PNG, RGB), `label` (an encoded
        8-bit grey PNG of class indices, of the image's size) and `name`; and, with
        `has_instances`, `instance_ids` (an encoded 16-bit grey PNG).
      has_instances: whether Cityscapes' instance ids come with the labels, for its official scores.
    """

    name: str
    class_names: tuple[str, ...]
    class_colors: tuple[tuple[int, int, int], ...]
    split_sizes: Mapping[str, int]
    read: Callable[[str], "tf.data.Dataset"]  # noqa: F821 - this module does not import TensorFlow
    has_instances: bool = False

    def __post_init__(self):
        if len(self.class_colors) != len(self.class_names):
            raise UserError(
                f"{self.name}: {len(self.class_names)} classes but {len(self.class_colors)} colours"
            )

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def require_split(self, split: str) -> int:
        """The number of images in `split`.

        Raises:
          UserError: there is no such split, or it is empty.
        """
        if split not in self.split_sizes:
            raise UserError(
                f"{self.name} has no split {split!r}; it has {', '.join(sorted(self.split_sizes))}"
            )
        if not self.split_sizes[split]:
            raise UserError(f"split {split!r} of {self.name} is empty: it needs at least one image")
        return self.split_sizes[split]
