"""Training: runs that can be repeated, and resumed after any interruption.

`config` declares every option of a run and `recipes` holds the settings of known data sets; `loop`
trains on one device or several (`replicas`), with the loss of `losses`, on whole images or on
sampled cells (`sampling`).
"""

from rnnseg._lazy import lazy_attributes

_NAMES = {
    "Run": "loop",
    "SegmentationLoss": "losses",
    "TrainingConfig": "config",
    "build_model": "loop",
    "train": "loop",
}
__getattr__, __dir__ = lazy_attributes(__name__, _NAMES)
