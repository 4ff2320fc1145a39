import numpy as np
import pytest

from rnnseg.runtime.pacing import Costs


def learned(seconds, amount=1):
    costs = Costs()
    for each in seconds:
        costs.add("read", amount, each)
    return costs


def test_nothing_is_known_before_the_first_call():
    costs = learned([])
    assert costs.least("read", 5) is costs.most("read", 5) is None
    costs.add("read", 5, 1.0)
    assert costs.most("read", 5) > 1 > costs.least("read", 5)
    assert costs.most("refine", 5) is None


def test_time_grows_with_the_amount():
    costs = learned([2.0] * 40, amount=100)
    assert costs.most("read", 300) == pytest.approx(6, rel=1e-3)
    assert costs.least("read", 50) == pytest.approx(1, rel=1e-3)


def test_bounds_hold_almost_always():
    """On times as they are: a floor, and rare long waits."""
    rng = np.random.default_rng(0)
    seconds = 1 + rng.exponential(0.2, 1000) + 3 * (rng.random(1000) < 0.02)
    costs, below, above = Costs(), 0, 0
    for index, each in enumerate(seconds):
        if index > 20:
            below += each < costs.least("read", 1)
            above += each > costs.most("read", 1)
        costs.add("read", 1, each)
    assert above < 50 and below < 200


def test_adapts_to_a_busy_machine_and_back():
    costs = learned([1.0] * 30)
    for _ in range(2):
        costs.add("read", 1, 3.0)
    assert costs.most("read", 1) > 3
    for _ in range(30):
        costs.add("read", 1, 3.0)
    assert 3 <= costs.most("read", 1) < 3.3 and costs.least("read", 1) > 2.5
    for _ in range(20):
        costs.add("read", 1, 1.0)
    assert costs.most("read", 1) < 2.5


def test_a_hiccup_is_forgotten():
    costs = learned([1.0] * 30 + [500.0])
    assert 1.5 < costs.most("read", 1) < 3
    assert costs.least("read", 1) <= 1
    for _ in range(10):
        costs.add("read", 1, 1.0)
    assert costs.most("read", 1) < 1.5
