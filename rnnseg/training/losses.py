"""The training loss."""

import keras
import tensorflow as tf

from rnnseg.data.source import IGNORE_LABEL


@keras.saving.register_keras_serializable("rnnseg")
class SegmentationLoss(keras.losses.Loss):
    """The softmax cross-entropy, averaged over all pixels that are not `IGNORE_LABEL`.

    Args:
      label_smoothing: the share of the target that is spread over all classes, 0-1 (Szegedy et al.,
        2016). An iteration changes a logit by less than one. Without smoothing, a few iterations
        reduce the loss most if they push every logit as far as they can. The increments then
        saturate, and further iterations only drive undecided logits to either extreme. With
        smoothing the target is finite: it can be reached and kept.
      name: the name of the loss.
    """

    def __init__(self, label_smoothing: float = 0.0, name: str = "segmentation_loss"):
        super().__init__(name=name)
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred) -> tf.Tensor:
        """Computes the mean over the counted pixels, 0 if there are none.

        On several replicas (`tf.distribute`), each replica divides the sum over its own pixels by
        the number of counted pixels of all replicas. The losses of the replicas, and with them the
        gradients, then add up to those of one device with the whole batch, even if the ignored
        pixels are spread unevenly over the replicas.

        Args:
          y_true: class indices or `IGNORE_LABEL`, `(batch, H, W)`.
          y_pred: logits, `(batch, H, W, classes)`.

        Returns:
          A scalar.
        """
        labels = tf.cast(y_true, tf.int32)
        counted = labels != IGNORE_LABEL
        values = tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.where(counted, labels, 0), y_pred
        )
        if self.label_smoothing:
            # The cross-entropy with equal shares of all classes as the target.
            uniform = tf.reduce_logsumexp(y_pred, -1) - tf.reduce_mean(y_pred, -1)
            values += self.label_smoothing * (uniform - values)
        weights = tf.cast(counted, values.dtype)
        number = tf.reduce_sum(weights)
        replica = tf.distribute.get_replica_context()
        # Keras sums the gradients of the replicas. It scales a loss that it reduces itself by the
        # number of replicas, but leaves a scalar unchanged. None: Keras builds the model, outside
        # of any replica.
        if replica is not None and replica.num_replicas_in_sync > 1:
            number = replica.all_reduce(tf.distribute.ReduceOp.SUM, number)
        return tf.math.divide_no_nan(tf.reduce_sum(weights * values), number)

    def get_config(self):
        """Returns the arguments for `from_config`."""
        return {"label_smoothing": self.label_smoothing, "name": self.name}
