"""The training losses."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError


class PixelLoss(keras.losses.Loss):
    """A loss whose mean is over the counted pixels or images of the whole batch.

    Keras' own reduction takes a mean per replica (`tf.distribute`) and averages these. Where the
    ignored pixels are spread unevenly, pixels of one replica then weigh more than those of another.
    Here each replica divides its sum by the number of all replicas, so that losses and gradients
    add up to those of one device with the whole batch. Keras' own weights of one number per image
    are broadcast along the last axis of the map; here they are weights of images.

    Subclasses implement `values`.

    Args:
      reduction: as in `keras.losses.Loss`: "sum_over_batch_size" (also called "mean"),
        "mean_with_sample_weight", "sum" or None.
      name: the name of the loss.
      dtype: as in `keras.losses.Loss`.
    """

    def values(
        self, labels: tf.Tensor, counted: tf.Tensor, y_pred: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Computes the losses before the reduction.

        Args:
          labels: class indices, int32 `(batch, H, W)`; 0 where they are ignored.
          counted: True where a label is not `IGNORE_LABEL`, `(batch, H, W)`.
          y_pred: logits, `(batch, H, W, classes)`.
          weights: the sample weights; they can be broadcast to `(batch, H, W)`.

        Returns:
          The losses, what they are weighted with and which of them count (1 or 0), all of one
          shape.
        """
        raise NotImplementedError

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Computes the losses of single pixels or images, 0 for those that are ignored.

        Args:
          y_true: class indices or `IGNORE_LABEL`, `(batch, H, W)` or `(batch, H, W, 1)`.
          y_pred: logits, `(batch, H, W, classes)`.
        """
        return self._weighted(y_true, y_pred, None)[0]

    def __call__(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Computes the reduced loss.

        Args:
          y_true: class indices or `IGNORE_LABEL`, `(batch, H, W)` or `(batch, H, W, 1)`.
          y_pred: logits, `(batch, H, W, classes)`.
          sample_weight: one weight per image, `(batch,)`, or per pixel, `(batch, H, W)`, each with
            or without further axes of length 1; None: all weigh one.

        Returns:
          A scalar, 0 if no pixel is counted; without a reduction the weighted losses.

        Raises:
          UserError: shapes that do not fit.
        """
        with tf.name_scope(self.name):
            weighted, weights, counts = self._weighted(y_true, y_pred, sample_weight)
            if self.reduction in (None, "none"):
                return weighted
            total = tf.reduce_sum(weighted)
            if self.reduction == "sum":
                return total
            by_weight = self.reduction == "mean_with_sample_weight"
            number = tf.reduce_sum(weights * counts if by_weight else counts)
            return tf.math.divide_no_nan(total, _of_all_replicas(number))

    def _weighted(self, y_true, y_pred, sample_weight):
        y_pred = tf.cast(y_pred, self.dtype)
        labels = _map_of(y_true, y_pred)
        counted = labels != IGNORE_LABEL
        weights = _weights_of(sample_weight, y_pred)
        losses, weights, counts = self.values(
            tf.where(counted, labels, 0), counted, y_pred, weights
        )
        return losses * weights * counts, weights, counts


@keras.saving.register_keras_serializable("rnnseg")
class SegmentationLoss(PixelLoss):
    """The softmax cross-entropy, averaged over all pixels that are not `IGNORE_LABEL`.

    With the defaults it is `keras.losses.SparseCategoricalCrossentropy(from_logits=True,
    ignore_class=255)`, with two differences: the mean is exact on several replicas, and weights of
    the shape `(batch,)` are weights of images.

    Args:
      label_smoothing: the share of the target that is spread over all classes, 0-1 (Szegedy et al.,
        2016). An iteration changes a logit by less than one. Without smoothing, a few iterations
        reduce the loss most if they push every logit as far as they can. The increments then
        saturate, and further iterations only drive undecided logits to either extreme. With
        smoothing the target is finite: it can be reached and kept.
      class_weights: one factor per class, for the pixels with that label; None: all are one. As
        with Keras' `class_weight`, the mean is still over the number of pixels.
      focal_gamma: the exponent of the focal loss (Lin et al., 2017), which lowers the share of
        pixels that are right already; 0 is the cross-entropy.
      hard_pixels: the share of an image's counted pixels that the loss is taken over, those with
        the largest loss, more than 0 to 1 ("bootstrapping", Wu et al., 2016).
      reduction: as in `PixelLoss`.
      name: the name of the loss.
      dtype: as in `keras.losses.Loss`.

    Raises:
      UserError: a value out of its range.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
        focal_gamma: float = 0.0,
        hard_pixels: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "segmentation_loss",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if not 0 <= label_smoothing < 1:
            raise UserError(
                f"label_smoothing={label_smoothing}: expected at least 0 and less than 1"
            )
        if not (math.isfinite(focal_gamma) and focal_gamma >= 0):
            raise UserError(f"focal_gamma={focal_gamma}: expected at least 0")
        if not 0 < hard_pixels <= 1:
            raise UserError(f"hard_pixels={hard_pixels}: expected more than 0 and at most 1")
        self.label_smoothing = label_smoothing
        self.class_weights = _checked_class_weights(class_weights)
        self.focal_gamma = focal_gamma
        self.hard_pixels = hard_pixels

    def values(
        self, labels: tf.Tensor, counted: tf.Tensor, y_pred: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Computes the losses of single pixels; see `PixelLoss.values`."""
        losses = self._cross_entropy(labels, y_pred)
        counts = tf.cast(counted, losses.dtype)
        if self.hard_pixels < 1:
            counts = _hardest(losses, counts, self.hard_pixels)
        if self.class_weights is not None:
            weights *= tf.gather(_per_class(self.class_weights, y_pred), labels)
        return losses, tf.broadcast_to(weights, tf.shape(losses)), counts

    def _cross_entropy(self, labels, logits):
        if self.focal_gamma:
            return keras.losses.categorical_focal_crossentropy(
                tf.one_hot(labels, logits.shape[-1], dtype=logits.dtype),
                logits,
                alpha=1.0,
                gamma=self.focal_gamma,
                from_logits=True,
                label_smoothing=self.label_smoothing,
            )
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        if self.label_smoothing:
            # The cross-entropy with equal shares of all classes as the target. It needs no one-hot
            # labels, which would be as large as the logits.
            uniform = tf.reduce_logsumexp(logits, -1) - tf.reduce_mean(logits, -1)
            losses += self.label_smoothing * (uniform - losses)
        return losses

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments for `from_config`."""
        return super().get_config() | {
            "label_smoothing": self.label_smoothing,
            "class_weights": self.class_weights,
            "focal_gamma": self.focal_gamma,
            "hard_pixels": self.hard_pixels,
        }


@keras.saving.register_keras_serializable("rnnseg")
class DistillationLoss(SegmentationLoss):
    """The cross-entropy with labels, and the divergence from what another model says: a teacher.

    This is distillation (Hinton et al., 2015). Beside its most probable class, a teacher says which
    others are likely. Both logits are divided by a temperature, so that these count. The teacher's
    part is multiplied with its square, so that gradients keep their size.

    Args:
      teacher_share: the weight of the teacher's part, more than 0 to 1; that of the labels is what
        is left of 1.
      temperature: the divisor of the logits, at least 1.
      **options: as in `SegmentationLoss`.

    Raises:
      UserError: a value out of its range.
    """

    def __init__(
        self,
        teacher_share: float = 0.5,
        temperature: float = 3.0,
        name: str = "distillation_loss",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        if not 0 < teacher_share <= 1:
            raise UserError(f"teacher_share={teacher_share}: expected more than 0 and at most 1")
        if not (math.isfinite(temperature) and temperature >= 1):
            raise UserError(f"temperature={temperature}: expected at least 1")
        self.teacher_share = teacher_share
        self.temperature = temperature

    def __call__(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Computes the part of the labels; see `PixelLoss.__call__`."""
        return (1 - self.teacher_share) * super().__call__(y_true, y_pred, sample_weight)

    def of_scores(self, scores: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Computes the part of the teacher.

        Args:
          scores: its logits, `(batch, h, w, classes)`; a pixel does not count where any is not
            finite.
          logits: those of the model, likewise.

        Returns:
          A scalar: the mean Kullback-Leibler divergence of the counted pixels, with its weight.
        """
        scores, logits = tf.cast(scores, self.dtype), tf.cast(logits, self.dtype)
        counted = tf.reduce_all(tf.math.is_finite(scores), -1)
        # Zeros have a gradient, NaNs have none.
        scores = tf.where(counted[..., tf.newaxis], scores, 0.0)
        expected = tf.nn.log_softmax(scores / self.temperature)
        found = tf.nn.log_softmax(logits / self.temperature)
        losses = tf.reduce_sum(tf.exp(expected) * (expected - found), -1)
        losses = tf.boolean_mask(losses, counted)
        mean = tf.math.divide_no_nan(tf.reduce_sum(losses), tf.cast(tf.size(losses), losses.dtype))
        return self.teacher_share * self.temperature**2 * mean

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments for `from_config`."""
        return super().get_config() | {
            "teacher_share": self.teacher_share,
            "temperature": self.temperature,
        }


@keras.saving.register_keras_serializable("rnnseg")
class DiceLoss(PixelLoss):
    """One minus the soft Dice coefficient, the mean over the classes that an image shows.

    For a class, with probabilities p, labels t of 0 and 1 and weights w, the coefficient is
    `2 sum(w p t) / (sum(w p) + sum(w t))` (Milletari et al., 2016), summed over the counted pixels
    of an image. Every class weighs the same, however few its pixels are. With all weights one and
    all classes present it is `keras.losses.Dice(axis=(1, 2))` of the softmax.

    Args:
      class_weights: one factor per class, for its coefficient in the mean; None: all are one.
      reduction: as in `PixelLoss`; the mean is over the images with a counted pixel.
      name: the name of the loss.
      dtype: as in `keras.losses.Loss`.

    Raises:
      UserError: a value out of its range.
    """

    def __init__(
        self,
        class_weights: Sequence[float] | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "dice_loss",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.class_weights = _checked_class_weights(class_weights)

    def values(
        self, labels: tf.Tensor, counted: tf.Tensor, y_pred: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Computes the losses of images; see `PixelLoss.values`."""
        shown = tf.cast(counted, y_pred.dtype)[..., tf.newaxis]
        truth = tf.one_hot(labels, y_pred.shape[-1], dtype=y_pred.dtype) * shown
        seen = tf.nn.softmax(y_pred) * shown
        # An image's weight is the mean over its pixels. What is left is their share in the sums.
        inside = tf.reduce_sum(weights[..., tf.newaxis] * shown, (1, 2))
        mean = tf.math.divide_no_nan(inside, tf.reduce_sum(shown, (1, 2)))
        share = tf.math.divide_no_nan(weights[..., tf.newaxis], mean[:, tf.newaxis, tf.newaxis])
        both = tf.reduce_sum(share * truth * seen, (1, 2))
        each = tf.reduce_sum(share * (truth + seen), (1, 2))
        epsilon = keras.config.epsilon()
        losses = 1 - (2 * both + epsilon) / (each + epsilon)
        present = tf.cast(tf.reduce_any(truth > 0, (1, 2)), losses.dtype)
        if self.class_weights is not None:
            present *= _per_class(self.class_weights, y_pred)
        losses = tf.math.divide_no_nan(
            tf.reduce_sum(losses * present, -1), tf.reduce_sum(present, -1)
        )
        counts = tf.cast(tf.reduce_any(counted, (1, 2)), losses.dtype)
        return losses, mean[:, 0], counts

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments for `from_config`."""
        return super().get_config() | {"class_weights": self.class_weights}


@keras.saving.register_keras_serializable("rnnseg")
class SumOfLosses(keras.losses.Loss):
    """The sum of several losses of the same labels and logits.

    Args:
      losses: the losses.
      name: the name of the loss.
    """

    def __init__(self, losses: Sequence[keras.losses.Loss], name: str = "sum_of_losses"):
        super().__init__(name=name)
        self.losses = tuple(losses)

    def __call__(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Computes the sum of the reduced losses; see `PixelLoss.__call__`."""
        return tf.add_n([loss(y_true, y_pred, sample_weight) for loss in self.losses])

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments for `from_config`."""
        each = [keras.saving.serialize_keras_object(loss) for loss in self.losses]
        return {"losses": each, "name": self.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "SumOfLosses":
        """Builds the loss from what `get_config` gave."""
        each = [keras.saving.deserialize_keras_object(loss) for loss in config["losses"]]
        return cls(each, config["name"])


def _checked_class_weights(weights) -> tuple[float, ...] | None:
    if weights is None:
        return None
    weights = tuple(float(each) for each in weights)
    wrong = [each for each in weights if not (math.isfinite(each) and each >= 0)]
    if wrong or not any(weights):
        raise UserError(
            f"class_weights={weights}: expected numbers of at least 0, one per class, some above 0"
        )
    return weights


def _per_class(weights: tuple[float, ...], y_pred) -> tf.Tensor:
    if len(weights) != y_pred.shape[-1]:
        raise UserError(f"class_weights: {len(weights)} given for {y_pred.shape[-1]} classes")
    return tf.constant(weights, y_pred.dtype)


def _map_of(y_true, y_pred) -> tf.Tensor:
    """Returns the labels as int32 `(batch, H, W)`, after a check against the logits."""
    labels = tf.convert_to_tensor(y_true)
    shape = labels.shape
    if shape.rank == 4 and shape[-1] == 1:
        labels = labels[..., 0]
    if not labels.shape.is_compatible_with(y_pred.shape[:-1]):
        raise UserError(
            f"labels of shape {shape}: expected one class index per pixel, {y_pred.shape[:-1]} or "
            f"{(*y_pred.shape[:-1], 1)}; of one-hot labels take the argmax along the last axis"
        )
    return tf.cast(labels, tf.int32)


def _weights_of(sample_weight, y_pred) -> tf.Tensor:
    """Returns weights that can be broadcast to `(batch, H, W)`."""
    if sample_weight is None:
        return tf.ones((1, 1, 1), y_pred.dtype)
    weights = tf.cast(sample_weight, y_pred.dtype)
    shape = weights.shape
    rank = shape.rank
    if rank == 4 and shape[-1] == 1:
        weights = weights[..., 0]
    elif rank in (1, 2) and (rank == 1 or shape[-1] == 1):
        weights = tf.reshape(weights, (-1, 1, 1))
    fits = weights.shape.rank == 3 and all(
        None in (mine, whole) or mine in (1, whole)
        for mine, whole in zip(weights.shape, y_pred.shape[:-1], strict=True)
    )
    if not fits:
        raise UserError(
            f"sample_weight of shape {shape}: expected one weight per image, "
            f"{(y_pred.shape[0],)}, or per pixel, {tuple(y_pred.shape[:-1])}"
        )
    return weights


def _hardest(losses, counts, share: float) -> tf.Tensor:
    """Returns 1 for the given share of each image's counted pixels with the largest loss, else 0.

    Pixels with exactly the loss of the last one are taken, too.
    """
    pixels = tf.shape(losses)[1] * tf.shape(losses)[2]
    order = tf.reshape(tf.where(counts > 0, losses, -1.0), (-1, pixels))
    most = tf.cast(tf.math.ceil(share * tf.cast(pixels, tf.float32)), tf.int32)
    ranked = tf.math.top_k(tf.stop_gradient(order), most).values
    wanted = tf.math.ceil(share * tf.reduce_sum(counts, (1, 2)))
    last = tf.gather(ranked, tf.maximum(tf.cast(wanted, tf.int32) - 1, 0), batch_dims=1)
    return counts * tf.cast(losses >= last[:, tf.newaxis, tf.newaxis], counts.dtype)


def _of_all_replicas(number) -> tf.Tensor:
    """Returns the sum of a number over the replicas of `tf.distribute`.

    Keras sums the gradients of the replicas. It scales a loss that its own reduction makes by the
    number of replicas, but leaves a scalar unchanged.
    """
    replica = tf.distribute.get_replica_context()
    # None: Keras builds the model, outside of any replica.
    if replica is None or replica.num_replicas_in_sync == 1:
        return number
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, number)
