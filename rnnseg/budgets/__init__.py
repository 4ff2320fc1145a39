"""Budgets: the cost of a prediction, and the number of iterations that a budget pays for.

`costs` counts the multiply-adds, parameters and memory of every stage. `benchmarking` measures
milliseconds, and `profiles` keeps them beside the model. `budget` turns a `Budget` into a number of
iterations, and `planning` chooses the best of several evaluated models within a budget.
"""

from rnnseg._lazy import lazy_attributes
from rnnseg._renamed import renamed_attributes

_NAMES = {
    "Budget": "budget",
    "Profile": "profiles",
    "Stage": "costs",
    "StageCosts": "costs",
    "count_multiply_adds": "costs",
    "peak_memory": "costs",
    "stage_costs": "costs",
    "stages": "costs",
}
_MOVED = {"multi_scale_costs": "rnnseg.evaluation.multi_scale.multi_scale_costs"}
_get_present, __dir__ = lazy_attributes(__name__, _NAMES)
__getattr__ = renamed_attributes(__name__, _MOVED, _get_present)
