"""The keys of images, masks and names in a TFDS data set."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from rnnseg.data.classes import ClassTable, table_from_rows
from rnnseg.data.convert import encode_labels, image_name, is_identity, lookup_table
from rnnseg.data.selection import Selection
from rnnseg.errors import UserError

# The first text feature of this list names the images. File names lose their ending.
_FILE_NAME_KEYS = ("file_name", "filename")
_NAME_KEYS = ("name", "image_id", *_FILE_NAME_KEYS)


@dataclasses.dataclass(frozen=True)
class Known:
    """Facts about a TFDS data set that TFDS does not provide.

    Attributes:
      label: the key of the masks. If they have several channels, the first holds the values.
      classes: the classes that the values stand for.
    """

    label: str
    classes: ClassTable


@dataclasses.dataclass(frozen=True)
class Layout:
    """The keys to read from a TFDS data set, and the conversion of its masks.

    Attributes:
      image: the key of the images, which are read encoded.
      label: the key of the masks.
      name: the key of the images' names; None if they have no names.
      instances: the key of Cityscapes' instance ids, which are read encoded; None to read none.
      classes: the classes that the values of the masks stand for.
      label_feature: the TFDS feature of the masks.
      table: maps values of the masks to labels; None if they are read encoded and kept as they are.
    """

    image: str
    label: str
    name: str | None
    instances: str | None
    classes: ClassTable
    label_feature: Any
    table: np.ndarray | None

    @classmethod
    def choose(
        cls, features: Any, where: str, selection: Selection, known: Known | None
    ) -> "Layout":
        """Chooses the keys and the classes to read.

        Args:
          features: the `tfds.features.FeaturesDict` of the records.
          where: the name of the data set in messages.
          selection: the user's choices.
          known: facts about the data set, used where the user chose nothing.

        Raises:
          UserError: there are no images or no masks, several features could be these, or the
            classes are not known.
        """
        features = dict(features.items())
        if known is not None and selection.label not in (None, known.label):
            known = None
        label = selection.label or (known.label if known else None)
        # A known mask may have as many channels as an image.
        label = _choose_key(features, "label", label, _is_image if known else _is_mask, where)
        others = {key: feature for key, feature in features.items() if key != label}
        image = _choose_key(others, "image", selection.image, _is_image_feature, where)
        classes = selection.classes or (known.classes if known else None)
        classes = classes or _named_classes(features[label], where)
        as_it_is = _is_image(features[label]) and features[label].shape[-1] == 1
        as_it_is = as_it_is and is_identity(classes)
        return cls(
            image=image,
            label=label,
            name=next((key for key in _NAME_KEYS if _is_text(features.get(key))), None),
            instances=selection.instances,
            classes=classes,
            label_feature=features[label],
            table=None if as_it_is else lookup_table(classes, where),
        )

    @property
    def keys(self) -> list[str]:
        """The keys of all features that are read."""
        keys = (self.image, self.label, self.name, self.instances)
        return [key for key in keys if key is not None]

    @property
    def encoded_keys(self) -> list[str]:
        """The keys of the features that are read as the bytes of a file."""
        label = self.label if _is_encoded(self.label_feature) else None
        return [key for key in (self.image, label, self.instances) if key is not None]

    def convert(
        self, example: Mapping[str, tf.Tensor], split: str, number: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Makes an element of a `Source`.

        Args:
          example: the features `keys` as TFDS reads them, without decoding `encoded_keys`.
          split: the name of the split.
          number: the number of the example in the split, counted from 0.
        """
        name = tf.constant("") if self.name is None else example[self.name]
        if self.name is None or self.name in _FILE_NAME_KEYS:
            name = image_name(name, split, number)
        label = example[self.label]
        if self.table is not None:
            label = encode_labels(self._decode(label), self.table)
        element = {"image": example[self.image], "label": label, "name": name}
        if self.instances is not None:
            element["instance_ids"] = example[self.instances]
        return element

    def _decode(self, label: tf.Tensor) -> tf.Tensor:
        """Returns the values of a mask, `(h, w, 1)`."""
        feature = self.label_feature
        if _is_encoded(feature):
            mask = tf.io.decode_png(label, channels=feature.shape[-1], dtype=feature.tf_dtype)
            return mask[..., :1]
        return label if len(feature.shape) == 3 else label[..., tf.newaxis]


def _choose_key(
    features: Mapping[str, Any],
    kind: str,
    given: str | None,
    fits: Callable[[Any], bool],
    where: str,
) -> str:
    """Returns the given key if its feature fits, or else the only key whose feature fits."""
    fitting = [key for key, feature in features.items() if fits(feature)]
    if given in fitting:
        return given
    if given is None and len(fitting) == 1:
        return fitting[0]
    if given is not None:
        problem = f"{given!r} is not a key of {kind}s"
    elif fitting:
        problem = f"{' or '.join(fitting)} could be the {kind}"
    else:
        problem = f"no feature can be the {kind}"
    listed = ", ".join(f"{key} ({_describe(feature)})" for key, feature in features.items())
    expected = {
        "image": "an Image of 3 channels",
        "label": "an Image or Tensor of integers with 1 channel",
    }[kind]
    raise UserError(
        f"{where}: {problem} among {listed}; expected {expected}; to name one, give as data a "
        f'.json file with {{"data": "{where}", "{kind}": KEY}}'
    )


def _is_encoded(feature) -> bool:
    """Returns True if the records hold the feature as the bytes of an image file."""
    import tensorflow_datasets as tfds

    return isinstance(feature, tfds.features.Image)


def _is_image(feature) -> bool:
    return _is_encoded(feature) and feature.tf_dtype == tf.uint8


def _is_image_feature(feature) -> bool:
    return _is_image(feature) and feature.shape[-1] == 3


def _is_mask(feature) -> bool:
    import tensorflow_datasets as tfds

    return (
        isinstance(feature, (tfds.features.Image, tfds.features.Tensor))
        and feature.tf_dtype.is_integer
        and (len(feature.shape) == 2 or (len(feature.shape) == 3 and feature.shape[-1] == 1))
    )


def _is_text(feature) -> bool:
    import tensorflow_datasets as tfds

    return isinstance(feature, tfds.features.Text)


def _describe(feature) -> str:
    kind = type(feature).__name__
    return f"{kind} {feature.shape}" if isinstance(feature.shape, tuple) else kind


def _named_classes(feature, where: str) -> ClassTable:
    """Returns the classes that the feature itself names."""
    names = getattr(feature, "names", None)
    if not names:
        raise UserError(
            f"{where}: its classes are not known; to name them, give as data a .json file with "
            f'{{"data": "{where}", "classes": [NAME, …]}}'
        )
    return table_from_rows([{"name": name} for name in names], where)
