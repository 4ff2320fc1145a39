"""Validation data in the forms that `model.fit` takes, as a `Source`."""

from typing import Any

import tensorflow as tf

from rnnseg.data import open_source
from rnnseg.data.source import IGNORE_LABEL, Source
from rnnseg.errors import UserError
from rnnseg.models.base import SegmentationModel

_SPLIT = "val"
_EXPECTED = (
    "expected a data set's name or Source, a pair of one and a split, a tf.data.Dataset of (image, "
    "label) or (images, labels), or arrays (images, labels)"
)


def open_validation(data: Any, model: SegmentationModel) -> tuple[Source, str]:
    """Opens validation data.

    Args:
      data: as `rnnseg.dashboard.SpeedAccuracy` takes it.
      model: the model; its class names and colours are used for data without names.

    Returns:
      The source and the split.

    Raises:
      UserError: data in another form, no such data, an empty or endless data set; or images or
        labels with wrong values.
    """
    if isinstance(data, (str, Source)):
        data = (data, _SPLIT)
    if isinstance(data, (tuple, list)) and len(data) == 2:
        first, second = data
        if isinstance(first, (str, Source)) and isinstance(second, str):
            return open_source(first) if isinstance(first, str) else first, second
        if hasattr(first, "shape") and hasattr(second, "shape"):
            if not first.shape or not second.shape or first.shape[0] != second.shape[0]:
                raise UserError(
                    f"validation_data: images of shape {first.shape} and labels of shape "
                    f"{second.shape}: expected (images, height, width, 3) and (images, height, "
                    "width)"
                )
            data = tf.data.Dataset.from_tensor_slices((first, second))
    if not isinstance(data, tf.data.Dataset):
        raise UserError(f"validation_data of type {type(data).__name__}: {_EXPECTED}")
    return _source_of(data, model), _SPLIT


def _source_of(pairs: tf.data.Dataset, model) -> Source:
    """Returns a source of decoded images; they are encoded, as in all other sources."""
    pairs = _singles(pairs)
    count = _checked_count(pairs, model.num_classes)

    def encode(index, pair):
        image, label = pair
        image = tf.cast(tf.round(tf.cast(image, tf.float32)), tf.uint8)
        label = tf.cast(label, tf.uint8)[..., tf.newaxis]
        # Little compression, since the images are decoded again soon.
        return {
            "image": tf.io.encode_png(image, compression=1),
            "label": tf.io.encode_png(label, compression=1),
            "name": tf.strings.join(["image ", tf.strings.as_string(index)]),
        }

    encoded = pairs.enumerate().map(encode, num_parallel_calls=tf.data.AUTOTUNE)
    return Source(
        "validation data", model.names, model.colors, {_SPLIT: count}, lambda split: encoded
    )


def _singles(pairs: tf.data.Dataset) -> tf.data.Dataset:
    """Returns the images one by one, of images or batches."""
    spec = pairs.element_spec
    ranks = None
    if isinstance(spec, tuple) and len(spec) == 2:
        ranks = tuple(getattr(getattr(each, "shape", None), "rank", None) for each in spec)
    if ranks not in ((3, 2), (4, 3)):
        raise UserError(f"validation_data with elements {spec}: {_EXPECTED}")
    if pairs.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise UserError("validation_data has no end: remove its repeat(), or use take(N)")
    return pairs.unbatch() if ranks == (4, 3) else pairs


def _checked_count(pairs: tf.data.Dataset, num_classes: int) -> int:
    """Returns the number of images, after a check of all values."""
    count, largest = 0, 0.0
    for image, label in pairs.as_numpy_iterator():
        count += 1
        largest = max(largest, float(image.max()))
        if image.min() < 0 or largest > 255:
            raise UserError(
                f"validation_data: values from {image.min():g} to {image.max():g} in an image; "
                "expected RGB 0-255: encoders normalise by themselves"
            )
        wrong = label[(label != IGNORE_LABEL) & ((label < 0) | (label >= num_classes))]
        if wrong.size:
            raise UserError(
                f"validation_data: label {wrong.flat[0]} found; expected 0-{num_classes - 1} "
                f"({num_classes} classes), or {IGNORE_LABEL} for pixels to ignore"
            )
    if count and largest <= 1:
        raise UserError(
            f"validation_data: no value above {largest:g} in any image; expected RGB 0-255: "
            "encoders normalise by themselves"
        )
    return count
