"""Inference with a LiteRT file, in time for a deadline.

    segmenter = rnnseg.runtime.Segmenter("exported/anytime.tflite", threads=4)
    result = segmenter(image, deadline_ms=40)
    print(result.iterations, result.milliseconds, result.settled)

Nothing here imports TensorFlow or Keras: NumPy, pydantic, ai-edge-litert and a file that `rnnseg
export` wrote are enough. `segmenter` letterboxes an image (`letterbox`), runs the stages
(`interpreters`) for as many iterations as the deadline allows (`pacing`), and reads the canvas
(`reading`); `model_info` holds the metadata of a file.
"""

from typing import TYPE_CHECKING

from rnnseg._lazy import lazy_attributes

if TYPE_CHECKING:  # what type checkers and editors know of them
    from rnnseg.runtime.model_info import ModelInfo as ModelInfo
    from rnnseg.runtime.segmenter import Result as Result
    from rnnseg.runtime.segmenter import Segmenter as Segmenter

_NAMES = {"ModelInfo": "model_info", "Result": "segmenter", "Segmenter": "segmenter"}
__getattr__, __dir__ = lazy_attributes(__name__, _NAMES)
