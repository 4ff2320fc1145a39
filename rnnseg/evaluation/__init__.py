"""Evaluation: mIoU, cost and latency at many numbers of iterations, in one pass over the data.

`evaluator` runs over a split; `unrolling` follows each image from iteration to iteration, and
`multi_scale` averages several views of it; `metrics` and `cityscapes` score the class maps, and
`report` prints and draws the result.
"""

from rnnseg._lazy import lazy_attributes

_NAMES = {"Evaluation": "evaluator", "Evaluator": "evaluator", "check_classes": "evaluator"}
__getattr__, __dir__ = lazy_attributes(__name__, _NAMES)
