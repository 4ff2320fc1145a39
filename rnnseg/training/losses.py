"""The training loss."""

import keras
import tensorflow as tf

from rnnseg.data.source import IGNORE_LABEL


@keras.saving.register_keras_serializable("rnnseg")
class SegmentationLoss(keras.losses.Loss):
    """Softmax cross-entropy, the mean over all pixels that are not `IGNORE_LABEL`.

    Args:
      label_smoothing: share of the target that is spread over all classes, 0-1 (Szegedy et al.,
        2016). An iteration changes a logit by less than one. Without smoothing the best that a
        handful of iterations can do is to push every logit as far as it goes; the increments
        saturate, and more iterations only flatten what the canvas holds between yes and no. A
        finite target can be reached and kept.
      name: of the loss.
    """

    def __init__(self, label_smoothing: float = 0.0, name: str = "segmentation_loss"):
        super().__init__(name=name)
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred) -> tf.Tensor:
        """The mean over the counted pixels; 0 where there is none.

        In one of several replicas (`tf.distribute`) the sum over its own pixels, divided by the
        number of counted pixels in all of them: the replicas' losses, and with them the gradients,
        add up to what one device finds on the whole batch, however the ignored pixels lie.

        Args:
          y_true: class indices or `IGNORE_LABEL`, `(batch, H, W)`.
          y_pred: logits, `(batch, H, W, classes)`.
        """
        labels = tf.cast(y_true, tf.int32)
        counted = labels != IGNORE_LABEL
        values = tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.where(counted, labels, 0), y_pred
        )
        if self.label_smoothing:
            # The cross-entropy against equal shares of all classes.
            uniform = tf.reduce_logsumexp(y_pred, -1) - tf.reduce_mean(y_pred, -1)
            values += self.label_smoothing * (uniform - values)
        weights = tf.cast(counted, values.dtype)
        number = tf.reduce_sum(weights)
        replica = tf.distribute.get_replica_context()
        # Keras adds up the replicas' gradients; of losses that it reduces itself it takes a share,
        # but a scalar it leaves as it is. None: Keras builds the model, outside of any replica.
        if replica is not None and replica.num_replicas_in_sync > 1:
            number = replica.all_reduce(tf.distribute.ReduceOp.SUM, number)
        return tf.math.divide_no_nan(tf.reduce_sum(weights * values), number)

    def get_config(self):
        """What `from_config` needs."""
        return {"label_smoothing": self.label_smoothing, "name": self.name}
