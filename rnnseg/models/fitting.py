"""What Keras' own `compile`, `fit`, `evaluate` and `predict` get wrong for segmentation."""

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from rnnseg.errors import UserError

_LOGITS = (
    "the model gives logits: set its from_logits=True, or take rnnseg.SegmentationLoss(), which "
    "also leaves out pixels with label 255"
)
# Losses that take probabilities unless they are told otherwise.
_OF_PROBABILITIES = (
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "sparse_categorical_crossentropy",
)


class FittedModel(keras.Model):
    """A Keras model that maps images to one vector of logits per pixel.

    It weighs pixels by their class, takes one weight per image for maps, and speaks up where Keras
    trains or predicts without a word on what cannot work: images between 0 and 1, and losses that
    take logits for probabilities.
    """

    # One number per class while `fit` runs with `class_weight`.
    _class_weight: tuple[float, ...] | None = None
    _has_warned_of_range = False

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, **options: Any) -> None:
        """Configures the training, as in Keras.

        Raises:
          UserError: the loss takes probabilities, and the model gives logits.
        """
        for each in tf.nest.flatten(loss):
            _check_takes_logits(each)
        super().compile(optimizer, loss, **options)

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compiles a loaded model, which Keras does not where `compile` is overridden."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains the model, as in Keras.

        `class_weight` maps class indices to the factors of their pixels in the training loss; all
        others have 1. `sample_weight` has one number per image, `(batch,)`, or per pixel, `(batch,
        H, W)`.

        Warns:
          UserWarning: the images are between 0 and 1, or below 0: the model normalizes RGB 0-255.
        """
        given = inspect.signature(super().fit).bind(*args, **kwargs)
        class_weight = given.arguments.pop("class_weight", None)
        if class_weight is None:
            return super().fit(*given.args, **given.kwargs)
        self._class_weight = self._one_per_class(class_weight)
        self.train_function = None  # its trace has other weights
        try:
            return super().fit(*given.args, **given.kwargs)
        finally:
            self._class_weight = self.train_function = None

    def _one_per_class(self, class_weight: Mapping[int, float]) -> tuple[float, ...]:
        unknown = [each for each in class_weight if each not in range(self.num_classes)]
        if unknown:
            raise UserError(
                f"class_weight: {unknown[0]!r} is no class; expected numbers from 0 to "
                f"{self.num_classes - 1}"
            )
        return tuple(float(class_weight.get(each, 1)) for each in range(self.num_classes))

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Trains on one batch, as in Keras."""
        self._look_at(data)
        return self._reducible(super().train_step(data))

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Evaluates one batch, as in Keras."""
        self._look_at(data)
        return self._reducible(super().test_step(data))

    def _reducible(self, logs):
        """Returns what Keras takes the mean of: along an axis, if there are several workers.

        It fails for the scalars that its own steps return (keras issue 20585).
        """
        if not isinstance(self.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return logs
        return tf.nest.map_structure(lambda value: tf.reshape(value, (-1,)), logs)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Builds the model from a first batch, as in Keras, but from that of one replica.

        Keras takes the mean of all replicas' batches, which several workers cannot (keras issue
        20585), and which turns whole numbers into fractions. Only shapes and types matter here.
        """
        strategy = self._distribute_strategy
        if iterator is not None and strategy is not None:
            _, _, batches = next(iter(iterator))
            data_batch = tf.nest.map_structure(
                lambda values: strategy.experimental_local_results(values)[0], next(batches)
            )
        super()._maybe_symbolic_build(data_batch=data_batch)

    def predict_step(self, data: Any) -> tf.Tensor:
        """Segments one batch, as in Keras."""
        self._look_at(data)
        return super().predict_step(data)

    def _look_at(self, data) -> None:
        images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        self.look_at_range(images)

    def look_at_range(self, images: tf.Tensor) -> None:
        """Warns once of images that were divided by 255 or normalized before.

        Args:
          images: `(batch, H, W, 3)`, in a graph or not. In graphs that XLA compiles, which Keras
            does for some models on GPUs, nothing is looked at: they cannot call Python.
        """
        images = tf.convert_to_tensor(images)
        if self._has_warned_of_range or not images.dtype.is_floating:
            return
        if not tf.executing_eagerly() and self.jit_compile:
            return
        least, most = tf.reduce_min(images), tf.reduce_max(images)

        def warn():
            tf.numpy_function(self._warn_of_range, [least, most], [], stateful=True)
            return True

        # An image that is all black is none to warn of.
        tf.cond((least < 0) | ((most > 0) & (most <= 1)), warn, lambda: False)

    def _warn_of_range(self, least, most) -> None:
        if not self._has_warned_of_range:
            self._has_warned_of_range = True
            warnings.warn(range_warning(least, most), stacklevel=2)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Computes the loss of a batch, as in Keras."""
        if y is not None:
            y = _of_known_rank(y, y_pred)
            sample_weight = _per_pixel(sample_weight, y)
            if training and self._class_weight is not None:
                factors = _factors(self._class_weight, y)
                sample_weight = factors if sample_weight is None else sample_weight * factors
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, tf.Tensor]:
        """Computes the compiled metrics of a batch, as in Keras."""
        if y is not None:
            y = _of_known_rank(y, y_pred)
            sample_weight = _per_pixel(sample_weight, y)
        return super().compute_metrics(x, y, y_pred, sample_weight)


def range_warning(least: float, most: float) -> str:
    """Returns the warning for images with values from `least` to `most`."""
    return (
        f"images with values from {least:.3g} to {most:.3g}: expected RGB 0-255, which the model "
        "normalizes itself; multiply images of 0-1 by 255"
    )


def _check_takes_logits(loss) -> None:
    """Raises a UserError for a loss that takes probabilities."""
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", None)
    if isinstance(loss, keras.losses.Loss):
        if loss.get_config().get("from_logits", True):
            return
        raise UserError(f"loss {type(loss).__name__} takes probabilities, and {_LOGITS}")
    try:
        # Names are those of functions or of classes.
        resolved = keras.losses.get(name) if isinstance(name, str) else None
    except ValueError:
        return  # a function of the user, or a name that Keras will refuse
    if isinstance(resolved, keras.losses.Loss):
        _check_takes_logits(resolved)
    elif getattr(resolved, "__name__", None) in _OF_PROBABILITIES:
        if isinstance(loss, str) or loss is resolved:
            raise UserError(f"loss {name!r} takes probabilities, and {_LOGITS}")


def _of_known_rank(y, y_pred) -> tf.Tensor:
    """Gives labels a rank where Keras lost it: after labels with a last axis and without."""
    y, logits = tf.convert_to_tensor(y), tf.nest.flatten(y_pred)[0]
    return y if y.shape.rank is not None else tf.reshape(y, tf.shape(logits)[:-1])


def _per_pixel(sample_weight, y) -> tf.Tensor | None:
    """Returns weights of images as weights of all their pixels, in the shape of the labels."""
    if sample_weight is None:
        return None
    weights = tf.cast(sample_weight, tf.float32)
    shape, rank = tf.shape(y), weights.shape.rank
    if rank is None:
        # Keras lost it: after weights per image and per pixel, in one model.
        per_image = tf.concat([shape[:1], tf.ones_like(shape[1:])], 0)
        weights = tf.reshape(weights, tf.where(tf.size(weights) == shape[0], per_image, shape))
        weights = tf.ensure_shape(tf.broadcast_to(weights, shape), y.shape)
    elif rank == 1 or (rank == 2 and weights.shape[1] == 1):
        weights = tf.reshape(weights, (-1, *[1] * (len(y.shape) - 1)))
        weights = tf.broadcast_to(weights, shape)
    elif rank == 3 and len(y.shape) == 4:
        weights = weights[..., tf.newaxis]
    return weights


def _factors(class_weight: tuple[float, ...], y) -> tf.Tensor:
    """Returns the factor of every pixel, 1 where the label is no class."""
    labels = tf.cast(y, tf.int32)
    known = (labels >= 0) & (labels < len(class_weight))
    factors = tf.gather(tf.constant(class_weight), tf.where(known, labels, 0))
    return tf.where(known, factors, 1.0)
