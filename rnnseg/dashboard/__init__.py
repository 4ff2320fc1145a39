"""TensorBoard: the speed-accuracy trade-off of every run, its classes and its images.

    callback = rnnseg.dashboard.SpeedAccuracy("data/camvid", log_dir="logs")
    model.fit(batches, callbacks=[callback])

TensorBoard imports `rnnseg.dashboard.plugin` whenever it starts, so nothing heavy is loaded here.
"""

import importlib

_NAMES = {
    "Recorder": "rnnseg.dashboard.recording",
    "SpeedAccuracy": "rnnseg.dashboard.callback",
    "run_folder": "rnnseg.dashboard.writing",
    "write_evaluation": "rnnseg.dashboard.writing",
}


def __getattr__(name):
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'rnnseg.dashboard' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_NAMES])
