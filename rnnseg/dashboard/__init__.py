"""TensorBoard plugin: the speed-accuracy curve, the classes and some images of every run.

    callback = rnnseg.dashboard.SpeedAccuracy("data/camvid", log_dir="logs")
    model.fit(batches, callbacks=[callback])

TensorBoard imports `rnnseg.dashboard.plugin` whenever it starts, so nothing heavy is loaded here.
"""

from typing import TYPE_CHECKING

from rnnseg._lazy import lazy_attributes

if TYPE_CHECKING:  # what type checkers and editors know of them
    from rnnseg.dashboard.callback import SpeedAccuracy as SpeedAccuracy
    from rnnseg.dashboard.recording import Recorder as Recorder
    from rnnseg.dashboard.writing import run_folder as run_folder
    from rnnseg.dashboard.writing import write_evaluation as write_evaluation

_NAMES = {
    "Recorder": "recording",
    "SpeedAccuracy": "callback",
    "run_folder": "writing",
    "write_evaluation": "writing",
}
__getattr__, __dir__ = lazy_attributes(__name__, _NAMES)
