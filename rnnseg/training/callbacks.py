"""The Keras callback that keeps the folder of a run."""

import math
from collections.abc import Mapping
from typing import Any

import keras

from rnnseg.dashboard.recording import EVALUATIONS
from rnnseg.data.sharing import WHOLE, Share
from rnnseg.data.source import Source
from rnnseg.errors import UserError
from rnnseg.files import atomic_path
from rnnseg.models.finite import check_weights
from rnnseg.training.averaging import averaged_weights
from rnnseg.training.config import TrainingConfig
from rnnseg.training.optimizers import steps_done
from rnnseg.training.runs import Run
from rnnseg.training.stopping import best_validation, early_stop
from rnnseg.training.validation import SCORES, Validation


class RunFiles(keras.callbacks.Callback):
    """Validates the model and writes the files of the run at the end of every epoch.

    With a moving average of the weights, it is the average that is validated and saved. The logs of
    the epoch get the learning rate and the scores, for the callbacks that follow.

    Args:
      run: the folder of the run.
      source: the data.
      config: the configuration of the run.
      rows: the history so far, to which a row per epoch is added.
      share: the worker's share of the validation. The first worker writes the files.
    """

    def __init__(
        self,
        run: Run,
        source: Source,
        config: TrainingConfig,
        rows: list[dict[str, Any]],
        share: Share = WHOLE,
    ):
        super().__init__()
        self._run, self._source, self._config = run, source, config
        self._rows, self._share = rows, share
        self._validate: Validation | None = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Prepares the validation."""
        self._validate = Validation(
            self.model,
            self._source,
            self._config.val_split,
            self._run.logs / EVALUATIONS,
            self._share,
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Validates and writes; stops the training if no validation was better for long."""
        assert logs is not None  # `fit` gives them
        if not math.isfinite(logs["loss"]):
            raise UserError(
                f"the loss became {logs['loss']} in epoch {epoch + 1}: try a lower --learning-rate "
                "with another --out"
            )
        # The last step may have spoilt them without a trace in the loss.
        check_weights(self.model, f"epoch {epoch + 1}")
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        row: dict[str, Any] = {"epoch": epoch + 1, "step": steps_done(self.model)}
        row |= {name: logs[name] for name in ("loss", "learning_rate")} | dict.fromkeys(SCORES, "")
        before = best_validation(self._rows)
        self._rows.append(row)
        with averaged_weights(self.model):
            last = epoch + 1 == self._config.epochs
            if last or (epoch + 1) % self._config.validate_every == 0:
                assert self._validate is not None  # training has begun
                scores = self._validate(epoch)
                logs |= scores
                row |= scores
                if before is None or scores["val_miou"] > float(before["val_miou"]):
                    self._save(self._run.best)
            if self._share.is_first:
                self._run.write_history(self._rows)
            # The last file to be written: if the run is killed before, it repeats the whole epoch.
            self._save(self._run.last)
        if early_stop(self._config, self._rows):
            self.model.stop_training = True

    def _save(self, path):
        if not self._share.is_first:
            return
        with atomic_path(path) as temporary:
            self.model.save(temporary)
