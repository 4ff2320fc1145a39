"""Budgets: what a prediction costs, and how many iterations a budget pays for.

`costs` counts the multiply-adds, parameters and memory of every stage; `benchmarking` measures
milliseconds, which `profiles` keeps beside the model. `budget` says how many iterations a `Budget`
pays for, and `planning` which of several evaluated models is the best within it.
"""

from rnnseg._lazy import lazy_attributes

_NAMES = {
    "Budget": "budget",
    "Profile": "profiles",
    "StageCosts": "costs",
    "stage_costs": "costs",
    "stages": "costs",
}
__getattr__, __dir__ = lazy_attributes(__name__, _NAMES)
