"""TensorBoard plugin: the speed-accuracy curve, the classes and some images of every run.

    callback = rnnseg.dashboard.SpeedAccuracy("data/camvid", log_dir="logs")
    model.fit(batches, callbacks=[callback])

TensorBoard imports `rnnseg.dashboard.plugin` whenever it starts, so nothing heavy is loaded here.
"""

from rnnseg._lazy import lazy_attributes

_NAMES = {
    "Recorder": "recording",
    "SpeedAccuracy": "callback",
    "run_folder": "writing",
    "write_evaluation": "writing",
}
__getattr__, __dir__ = lazy_attributes(__name__, _NAMES)
