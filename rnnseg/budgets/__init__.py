"""Budgets: the cost of a prediction, and the number of iterations that a budget pays for.

`costs` counts the multiply-adds, parameters and memory of every stage. `benchmarking` measures
milliseconds, and `profiles` keeps them beside the model. `budget` turns a `Budget` into a number of
iterations, and `planning` chooses the best of several evaluated models within a budget.
"""

from rnnseg._lazy import lazy_attributes

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
__getattr__, __dir__ = lazy_attributes(__name__, _NAMES)
