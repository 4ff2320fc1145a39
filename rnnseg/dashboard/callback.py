"""A Keras callback that writes speed-accuracy curves for TensorBoard during training."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from rnnseg.budgets.budget import MOST_OF_TRAINED
from rnnseg.checks import check_positive
from rnnseg.dashboard.recording import EVALUATIONS, Recorder
from rnnseg.dashboard.validation import open_validation
from rnnseg.evaluation.evaluator import Evaluator, check_classes


class SpeedAccuracy(keras.callbacks.Callback):
    """Evaluates a model at many numbers of iterations after an epoch and writes event files.

        model.fit(batches, callbacks=[rnnseg.dashboard.SpeedAccuracy("data/camvid")])

    The event files go to `LOG_DIR/speed_accuracy`, beside the folders `train` and `validation` of
    `keras.callbacks.TensorBoard`; the step is the epoch, from 0. `logs` gets `val_miou`, in
    percent, at the number of iterations in training or, if that is not evaluated, at the largest
    number. A `ModelCheckpoint` after this callback can monitor it.

    Args:
      validation_data: one of:

        - a name for `rnnseg.data.open_source`, or a `Source`, whose split "val" is used;
        - a pair of one of these and a split;
        - a `tf.data.Dataset` of `(image, label)` or `(images, labels)`, as `model.fit` takes it;
        - a pair of arrays `(images, labels)`.

        Images are RGB 0-255; labels are class indices, or 255 for pixels to ignore.
      iterations: the numbers of iterations; None for 1 to twice the number in training.
      log_dir: the folder of logs, as for `keras.callbacks.TensorBoard`.
      every: the number of epochs from one evaluation to the next; the last epoch is always
        evaluated.

    Raises:
      UserError: `every` is below 1; or, when training begins, the data cannot be used.
    """

    def __init__(
        self,
        validation_data: Any,
        iterations: Sequence[int] | None = None,
        log_dir: str | os.PathLike = "logs",
        every: int = 1,
    ) -> None:
        super().__init__()
        check_positive("every", every)
        self._data, self._iterations, self._every = validation_data, iterations, every
        self._folder = os.path.join(log_dir, EVALUATIONS)
        self._record: Recorder | None = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Opens the data, so that problems with them show before the first epoch."""
        source, split = open_validation(self._data, self.model)
        check_classes(self.model, source)
        numbers = self._iterations
        if numbers is None:
            most = MOST_OF_TRAINED * self.model.iterations if self.model.recurrent else 1
            numbers = range(1, most + 1)
        self._record = Recorder(Evaluator(self.model, numbers), source, split, self._folder)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Evaluates after every `every`-th epoch and after the last one."""
        if (epoch + 1) % self._every and epoch + 1 != self.params["epochs"]:
            return
        assert self._record is not None  # training has begun
        evaluation = self._record(epoch, progress=False)
        trained = self.model.iterations
        at = evaluation.iterations.index(trained) if trained in evaluation.iterations else -1
        if logs is not None:
            logs["val_miou"] = 100 * float(evaluation.miou[at])
