"""The folder of a training run, from which the run continues after any interruption."""

import csv
import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from annotated_types import Ge, Le

from rnnseg import schemas
from rnnseg.errors import UserError
from rnnseg.files import atomic_path
from rnnseg.temporaries import remove_left_behind
from rnnseg.training.config import TrainingConfig

_WAY_OUT = "restore the file, or choose another --out"
_Finite = Annotated[float, Ge(-1e300), Le(1e300)]


@dataclasses.dataclass(frozen=True)
class HistoryRow:
    """The schema of a line of `history.csv`.

    Attributes:
      epoch: the number of the epoch, from 1.
      step: the steps of the optimizer up to its end.
      loss: the training loss.
      learning_rate: at its end.
      val_miou_1_iteration: the validation mIoU after one iteration, in percent; None in an epoch
        without validation, as what follows.
      val_miou: that after all iterations of training.
      val_loss: the validation loss, which runs of version 0.1.0 lack.
    """

    epoch: schemas.Count
    step: schemas.Total
    loss: _Finite
    learning_rate: Annotated[float, Ge(0), Le(1e300)]
    val_miou_1_iteration: Annotated[float, Ge(0), Le(100)] | None
    val_miou: Annotated[float, Ge(0), Le(100)] | None
    val_loss: _Finite | None = None


class Run:
    """The folder of one training run.

    Args:
      folder: the folder; it need not exist yet.

    Attributes:
      folder: the folder.
      config: `config.json`, the configuration of the run.
      last: `last.keras`, the model and its optimizer after the last complete epoch.
      best: `best.keras`, the model with the best validation mIoU.
      history: `history.csv`, one line per epoch.
      logs: `logs`, the folder for TensorBoard.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = pathlib.Path(folder)
        self.config = self.folder / "config.json"
        self.last = self.folder / "last.keras"
        self.best = self.folder / "best.keras"
        self.history = self.folder / "history.csv"
        self.logs = self.folder / "logs"

    def check(self, config: TrainingConfig, resume: bool) -> None:
        """Checks that a run can begin in the folder, or continue there.

        Args:
          config: the configuration of the run.
          resume: True if a run of the same configuration may continue.

        Raises:
          UserError: the folder holds another run, this run without `resume`, or other files.
        """
        if not self.config.is_file():
            if self.folder.exists() and (not self.folder.is_dir() or self._visible_files()):
                raise UserError(
                    f"{self.folder} is not empty and holds no run: choose another --out"
                )
            return
        if not resume:
            raise UserError(
                f"{self.folder} holds a run already: choose another --out, or continue the run by "
                "--resume"
            )
        held, asked = _as_json(self.read_config()), _as_json(config)
        different = [key for key in asked if asked[key] != held[key]]
        if different:
            raise UserError(
                f"{self.folder} holds another run: "
                + ", ".join(
                    f"{key} is {held[key]!r} there, not {asked[key]!r}" for key in different
                )
            )

    def read_config(self) -> TrainingConfig:
        """Reads the configuration of the run.

        The run of an earlier version has the values that stood for options which came later.

        Raises:
          UserError: `config.json` is damaged.
        """
        held = schemas.read_json(self.config, Mapping[str, Any], _WAY_OUT)
        try:
            return TrainingConfig.from_json(held)
        except UserError as error:
            raise UserError(f"{self.config}: {error}; {_WAY_OUT}") from None

    def begin(self, config: TrainingConfig) -> None:
        """Writes `config.json`, and removes partly written files of a process that was killed."""
        remove_left_behind(self.folder)
        if not self.config.is_file():
            with atomic_path(self.config) as path:
                path.write_text(json.dumps(_as_json(config), indent=2) + "\n")

    def read_history(self) -> list[dict[str, str]]:
        """Returns the lines of `history.csv`, one per epoch; none before the first epoch.

        Those of an earlier version are brought into the present form.

        Raises:
          UserError: `history.csv` is damaged.
        """
        if not self.history.is_file():
            return []
        return list(map(_present_row, schemas.read_csv(self.history, HistoryRow, _WAY_OUT)))

    def history_until(self, step: int) -> list[dict[str, str]]:
        """Returns the history up to the epoch that ended at a step of the optimizer.

        The epoch is found by its step, since the step of the optimizer is no multiple of the steps
        per epoch: with float16, it skips steps that overflow.

        Raises:
          UserError: no epoch ended at this step.
        """
        rows = self.read_history()
        ends = [index for index, row in enumerate(rows, start=1) if row.get("step") == str(step)]
        if not ends:
            raise UserError(
                f"{self.history} has no line for step {step} of {self.last}: it is damaged; choose "
                "another --out"
            )
        return rows[: ends[-1]]

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes `history.csv`, with the keys of the rows as its columns."""
        with atomic_path(self.history) as path, open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)

    def _visible_files(self) -> bool:
        return any(not path.name.startswith(".") for path in self.folder.iterdir())


def _as_json(config: TrainingConfig) -> dict[str, Any]:
    """Returns the fields as they are after a round trip through JSON, with lists for tuples."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def _present_row(row: dict[str, str]) -> dict[str, str]:
    """Adds what lines of version 0.1.0 lack: the validation loss, and mIoU in percent, not 0-1."""
    if "val_loss" in row:
        return row
    names = ("val_miou_1_iteration", "val_miou")
    mious = {name: row[name] and str(100 * float(row[name])) for name in names}
    others = {name: value for name, value in row.items() if name not in names}
    return others | {"val_loss": ""} | mious
