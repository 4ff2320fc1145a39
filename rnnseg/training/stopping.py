"""When a run stops early, by the lines of its history."""

from collections.abc import Mapping, Sequence
from typing import Any

from rnnseg.training.config import TrainingConfig


def best_validation(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Returns the line with the best mIoU, the first of equal ones; None before any validation.

    Args:
      rows: the history of a run, a line per epoch.
    """
    validated = [row for row in rows if row["val_miou"] != ""]
    return max(validated, key=lambda row: float(row["val_miou"]), default=None)


def early_stop(config: TrainingConfig, rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Returns why a run stops before its last epoch; None if it goes on, or is complete.

    As it depends on the history alone, a resumed run stops where an uninterrupted one does.

    Args:
      config: the configuration of the run.
      rows: its history.
    """
    best = best_validation(rows)
    if config.patience is None or best is None or len(rows) >= config.epochs:
        return None
    since = sum(row["val_miou"] != "" and int(row["epoch"]) > int(best["epoch"]) for row in rows)
    if since < config.patience:
        return None
    validations = "a validation" if since == 1 else f"{since} validations"
    return (
        f"stopped after epoch {len(rows)} of {config.epochs}: {validations} without a better "
        f"mIoU than the {float(best['val_miou']):.1f} % of epoch {best['epoch']}, which is "
        f"best.keras; the learning rate was still {float(rows[-1]['learning_rate']):.2g}"
    )
