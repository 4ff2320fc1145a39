"""Models whose training loss is taken over several answers."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from rnnseg.models.base import SegmentationModel


class _InLoss(threading.local):
    """Whether a call is for the training loss, in this thread; replicas are traced in threads."""

    active = False

    def __enter__(self):
        self.active = True

    def __exit__(self, *_):
        self.active = False


class SupervisedSegmenter(SegmentationModel):
    """A model that is trained on several answers: logits of some iterations, or of some layers.

    In a training step `call` returns a tuple of logits, the last answer last. The loss is their
    weighted mean, and metrics are those of the last one.

    Args:
      num_classes: the number of classes.
      **options: as `rnnseg.models.base.SegmentationModel`.
    """

    def __init__(self, num_classes: int, **options: Any) -> None:
        super().__init__(num_classes, **options)
        self._in_loss = _InLoss()

    @property
    def logits_weights(self) -> Sequence[float]:
        """The weight in the loss of each of the logits that `call` returns in a training step."""
        raise NotImplementedError

    def _outputs(self, logits: list[tf.Tensor]):
        return tuple(logits) if self._in_loss.active else logits[-1]

    def weighted_logits(
        self, images: np.ndarray | tf.Tensor, canvas: np.ndarray | tf.Tensor | None = None
    ) -> tuple[tf.Tensor, ...]:
        """Computes what the training loss of `fit` is taken over, for training loops of one's own.

        `compute_loss` takes the weighted mean of the losses, and adds the penalty on kernels. A
        step on a compiled model, in a `tf.function` or not:

            with tf.GradientTape() as tape:
                logits = model.weighted_logits(images)
                loss = model.compute_loss(images, labels, logits)
            gradients = tape.gradient(loss, model.trainable_variables)
            model.optimizer.apply_gradients(zip(gradients, model.trainable_variables))

        With a loss of one's own, on the last answer alone: `logits = model(images, training=True)`,
        and `sum(model.losses)` is the penalty on kernels. In mixed_float16, train by
        `model.optimizer.scale_loss(loss)`, as Keras does.

        Args:
          images: as in `call`.
          canvas: as in `call`.

        Returns:
          The logits, as from `call` in training, of every answer that has a weight.
        """
        with self._in_loss:
            return self(images, canvas=canvas, training=True)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Trains on one batch, as in Keras, with the loss of every weighted answer."""
        with self._in_loss:
            return super().train_step(data)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Computes the loss; of several logits (`weighted_logits`), its weighted mean."""
        if not isinstance(y_pred, tuple):
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        weights = self.logits_weights
        # Every term holds the L2 penalty once; weights that sum to one leave it as it is.
        return sum(
            weight
            / sum(weights)
            * super(SupervisedSegmenter, self).compute_loss(x, y, logits, sample_weight, training)
            for weight, logits in zip(weights, y_pred, strict=True)
        )

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, tf.Tensor]:
        """Computes the compiled metrics of the last answer."""
        last = y_pred[-1] if isinstance(y_pred, tuple) else y_pred
        return super().compute_metrics(x, y, last, sample_weight)
