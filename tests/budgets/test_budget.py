import itertools

import numpy as np
import pytest

from rnnseg import UserError
from rnnseg.budgets.budget import (
    Budget,
    OperatingPoint,
    best_within,
    frontier,
    iterations_within,
    round_up,
)
from rnnseg.runtime.pacing import most_iterations


def test_a_budget_is_exactly_one_number_above_zero():
    assert Budget(gmacs=70).kind == "gmacs" and str(Budget(gmacs=70)) == "70 G"
    assert str(Budget(milliseconds=2.5)) == "2.5 ms"
    for values, message in (
        ({}, "of nothing: expected exactly one of gmacs, milliseconds and iterations"),
        ({"gmacs": 1, "iterations": 2}, "of gmacs=1 and iterations=2: expected exactly one"),
        ({"gmacs": 0}, "gmacs=0: expected a finite number above 0"),
        ({"milliseconds": -1.0}, "milliseconds=-1.0: expected"),
        ({"milliseconds": float("nan")}, "milliseconds=nan: expected"),
        ({"gmacs": float("inf")}, "gmacs=inf: expected"),
        ({"iterations": 1.5}, "iterations=1.5: expected a whole number"),
        ({"iterations": True}, "iterations=True: expected a finite number"),
        ({"gmacs": "70"}, "gmacs=70: expected a finite number"),
    ):
        with pytest.raises(UserError, match=message):
            Budget(**values)


@pytest.mark.parametrize("seed", range(30))
def test_the_largest_number_that_fits_is_taken(seed):
    rng = np.random.default_rng(seed)
    most = int(rng.integers(1, 20))
    costs = np.cumsum(rng.integers(0, 4, most) + [5, *[0] * (most - 1)])
    for limit in (*costs, *rng.uniform(costs[0], costs[-1] + 2, 3)):
        found = iterations_within(Budget(gmacs=limit), lambda n: costs[n - 1], most, "it")
        assert found == max(n for n in range(1, most + 1) if costs[n - 1] <= limit)


def test_the_budget_that_an_error_names_is_enough():
    for cost in (61.07, 61.1, 0.0123456, 999.5, 1234.5, 1.925262208, 1e-7):
        with pytest.raises(UserError, match=f"it needs {round_up(cost)} ms at least on this "):
            iterations_within(Budget(milliseconds=cost * 0.99), lambda n: cost * n, 9, "it")  # noqa: B023
        least = Budget(milliseconds=float(round_up(cost)))
        assert iterations_within(least, lambda n: cost * n, 9, "it") == 1  # noqa: B023
    assert round_up(61.1) == "61.1" and round_up(61.11) == "61.2" and round_up(1234.5) == "1240"


@pytest.mark.parametrize(
    ("miou", "expected"),
    [
        (None, 6),
        ({}, 6),
        ({1: 0.5, 4: 0.7, 6: 0.6, 12: 0.5}, 4),
        ({1: 0.5, 6: 0.6, 12: 0.7}, 12),
        ({4: 0.6, 6: 0.6, 12: 0.5}, 4),
        ({1: 0.5}, 6),  # where a curve goes from its last point is not known
        ({1: 0.6, 2: 0.5}, 1),
    ],
)
def test_budgets_are_spent_up_to_the_best_number_that_is_known(miou, expected):
    assert most_iterations(6, miou) == expected


def random_points(seed):
    """Makes points with so few different values that there are ties."""
    rng = np.random.default_rng(seed)
    return [
        OperatingPoint(f"model {index}", 1, *(float(each) for each in rng.integers(1, 8, 3)))
        for index in range(int(rng.integers(1, 15)))
    ]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("kind", ["gmacs", "milliseconds"])
def test_frontier_and_best_by_brute_force(seed, kind):
    points = random_points(seed)
    values = [(getattr(each, kind), each.miou) for each in points]
    expected = {
        (cost, miou)
        for cost, miou in values
        if not any(c <= cost and m >= miou and (c, m) != (cost, miou) for c, m in values)
    }
    found = frontier(points, kind)
    assert [(getattr(each, kind), each.miou) for each in found] == sorted(expected)
    for first, second in itertools.pairwise(found):
        assert getattr(first, kind) < getattr(second, kind) and first.miou < second.miou
    least = min(cost for cost, _ in values)
    for limit in (least, least + 1.5, 9.0):
        best = best_within(found, Budget(**{kind: limit}))
        assert best.miou == max(miou for cost, miou in values if cost <= limit)
    with pytest.raises(UserError, match=rf"point, model \d+, 1 iteration, needs {least} "):
        best_within(found, Budget(**{kind: least / 2}))


def test_of_equal_points_the_first_is_kept():
    points = [OperatingPoint(name, 1, 0.5, 1.0, 1.0) for name in ("first", "second")]
    assert [each.model for each in frontier(points, "gmacs")] == ["first"]
