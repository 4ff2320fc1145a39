"""Budgets: the cost of a prediction, and the number of iterations that a budget pays for.

`costs` counts the multiply-adds, parameters and memory of every stage. `benchmarking` measures
milliseconds, and `profiles` keeps them beside the model. `budget` turns a `Budget` into a number of
iterations, and `planning` chooses the best of several evaluated models within a budget.
"""

from typing import TYPE_CHECKING

from rnnseg._lazy import lazy_attributes
from rnnseg._renamed import renamed_attributes

if TYPE_CHECKING:  # what type checkers and editors know of them
    from rnnseg.budgets.budget import Budget as Budget
    from rnnseg.budgets.costs import Stage as Stage
    from rnnseg.budgets.costs import StageCosts as StageCosts
    from rnnseg.budgets.costs import count_multiply_adds as count_multiply_adds
    from rnnseg.budgets.costs import peak_memory as peak_memory
    from rnnseg.budgets.costs import stage_costs as stage_costs
    from rnnseg.budgets.costs import stages as stages
    from rnnseg.budgets.profiles import Profile as Profile

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
