"""Evaluation: mIoU, cost and latency at many numbers of iterations, in one pass over the data.

`evaluator` runs over a split. `unrolling` segments each image after every iteration, and
`multi_scale` averages its logits over scales and mirrored images. `metrics` and `cityscapes` score
the class maps. `report` prints the result, and `report_page` makes a page of `figures` and of
`examples`, the best and worst images.
"""

from typing import TYPE_CHECKING

from rnnseg._lazy import lazy_attributes

if TYPE_CHECKING:  # what type checkers and editors know of them
    from rnnseg.evaluation.evaluator import Evaluation as Evaluation
    from rnnseg.evaluation.evaluator import Evaluator as Evaluator
    from rnnseg.evaluation.evaluator import check_classes as check_classes

_NAMES = {"Evaluation": "evaluator", "Evaluator": "evaluator", "check_classes": "evaluator"}
__getattr__, __dir__ = lazy_attributes(__name__, _NAMES)
