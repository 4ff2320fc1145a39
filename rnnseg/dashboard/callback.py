"""The speed-accuracy curve of a model in training, for TensorBoard."""

import os
from collections.abc import Sequence

import keras

from rnnseg.budgets.budget import MOST_OF_TRAINED
from rnnseg.checks import check_positive
from rnnseg.dashboard.recording import EVALUATIONS, Recorder
from rnnseg.dashboard.validation import open_validation
from rnnseg.evaluation.evaluator import Evaluator, check_classes


class SpeedAccuracy(keras.callbacks.Callback):
    """Evaluates at many numbers of iterations after an epoch, in one pass, and writes event files.

        model.fit(batches, callbacks=[rnnseg.dashboard.SpeedAccuracy("data/camvid")])

    They go to `LOG_DIR/speed_accuracy`, beside the `train` and `validation` of
    `keras.callbacks.TensorBoard`; the step is the epoch, from 0. `logs` gets `val_miou`, 0-1, at
    the number of iterations of training or, without it, at the most; a `ModelCheckpoint` after this
    callback can monitor it.

    Args:
      validation_data: one of
        what `rnnseg.data.open_source` names, or a `Source`, whose split "val" is taken;
        a pair of one of these and a split;
        a `tf.data.Dataset` of `(image, label)` or `(images, labels)`, as `model.fit` takes it;
        a pair of arrays `(images, labels)`.
        Images are RGB 0-255, labels class indices or 255 for pixels that do not count.
      iterations: numbers of iterations; None: from 1 to twice as many as in training.
      log_dir: folder of logs, as for `keras.callbacks.TensorBoard`.
      every: epochs from one evaluation to the next; there is one after the last epoch, too.

    Raises:
      UserError: `every` below 1; when training begins, data that cannot be used.
    """

    def __init__(
        self,
        validation_data,
        iterations: Sequence[int] | None = None,
        log_dir: str | os.PathLike = "logs",
        every: int = 1,
    ):
        super().__init__()
        check_positive("every", every)
        self._data, self._iterations, self._every = validation_data, iterations, every
        self._folder = os.path.join(log_dir, EVALUATIONS)
        self._record = None

    def on_train_begin(self, logs=None):
        """Opens the data, so that what is wrong with it shows before the first epoch."""
        source, split = open_validation(self._data, self.model)
        check_classes(self.model, source)
        numbers = self._iterations
        if numbers is None:
            most = MOST_OF_TRAINED * self.model.iterations if self.model.recurrent else 1
            numbers = range(1, most + 1)
        self._record = Recorder(Evaluator(self.model, numbers), source, split, self._folder)

    def on_epoch_end(self, epoch, logs=None):
        """Evaluates, every so many epochs."""
        if (epoch + 1) % self._every and epoch + 1 != self.params["epochs"]:
            return
        evaluation = self._record(epoch, progress=False)
        trained = self.model.iterations
        at = evaluation.iterations.index(trained) if trained in evaluation.iterations else -1
        if logs is not None:
            logs["val_miou"] = float(evaluation.miou[at])
