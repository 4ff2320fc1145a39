"""Training: runs that can be repeated, and resumed after any interruption.

`config` declares every option of a run, and `recipes` holds the settings for known data sets.
`loop` trains on one device or several (`replicas`), of one machine or of several (`workers`, which
meet in `waiting`), with the loss of `losses` and the optimizer of `optimizers`, on whole images or
on sampled patches (`sampling`), and keeps the run in a folder (`runs`, `callbacks`). After an epoch
it validates (`validation`), with a moving average of the weights if there is one (`averaging`).
"""

from typing import TYPE_CHECKING

from rnnseg._lazy import lazy_attributes

if TYPE_CHECKING:  # what type checkers and editors know of them
    from rnnseg.training.config import TrainingConfig as TrainingConfig
    from rnnseg.training.loop import build_model as build_model
    from rnnseg.training.loop import check_data as check_data
    from rnnseg.training.loop import train as train
    from rnnseg.training.losses import SegmentationLoss as SegmentationLoss
    from rnnseg.training.runs import Run as Run
    from rnnseg.training.schedules import poly_schedule as poly_schedule

_NAMES = {
    "Run": "runs",
    "SegmentationLoss": "losses",
    "TrainingConfig": "config",
    "build_model": "loop",
    "check_data": "loop",
    "poly_schedule": "schedules",
    "train": "loop",
}
__getattr__, __dir__ = lazy_attributes(__name__, _NAMES)
