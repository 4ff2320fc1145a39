import numpy as np
import pytest

from rnnseg.runtime.pacing import LatencyEstimator


def learned(seconds, amount=1):
    latency = LatencyEstimator()
    for each in seconds:
        latency.add("read", amount, each)
    return latency


def test_nothing_is_known_before_the_first_call():
    latency = learned([])
    assert latency.lower_bound("read", 5) is latency.upper_bound("read", 5) is None
    latency.add("read", 5, 1.0)
    assert latency.upper_bound("read", 5) > 1 > latency.lower_bound("read", 5)
    assert latency.upper_bound("refine", 5) is None


def test_time_grows_with_the_amount():
    latency = learned([2.0] * 40, amount=100)
    assert latency.upper_bound("read", 300) == pytest.approx(6, rel=1e-3)
    assert latency.lower_bound("read", 50) == pytest.approx(1, rel=1e-3)


def test_bounds_hold_almost_always():
    """Realistic latencies have a floor and rare long delays."""
    rng = np.random.default_rng(0)
    seconds = 1 + rng.exponential(0.2, 1000) + 3 * (rng.random(1000) < 0.02)
    latency, below, above = LatencyEstimator(), 0, 0
    for index, each in enumerate(seconds):
        if index > 20:
            below += each < latency.lower_bound("read", 1)
            above += each > latency.upper_bound("read", 1)
        latency.add("read", 1, each)
    assert above < 50 and below < 200


def test_adapts_to_a_busy_machine_and_back():
    latency = learned([1.0] * 30)
    for _ in range(2):
        latency.add("read", 1, 3.0)
    assert latency.upper_bound("read", 1) > 3
    for _ in range(30):
        latency.add("read", 1, 3.0)
    assert 3 <= latency.upper_bound("read", 1) < 3.3 and latency.lower_bound("read", 1) > 2.5
    for _ in range(20):
        latency.add("read", 1, 1.0)
    assert latency.upper_bound("read", 1) < 2.5


def test_a_hiccup_is_forgotten():
    latency = learned([1.0] * 30 + [500.0])
    assert 1.5 < latency.upper_bound("read", 1) < 3
    assert latency.lower_bound("read", 1) <= 1
    for _ in range(10):
        latency.add("read", 1, 1.0)
    assert latency.upper_bound("read", 1) < 1.5


def test_an_assumption_holds_until_the_first_call():
    latency = LatencyEstimator()
    latency.assume("read", 0.5, 0.125)
    assert latency.upper_bound("read", 4) == pytest.approx(4)
    latency.add("read", 2, 6.0)
    assert latency.upper_bound("read", 1) == learned([3.0]).upper_bound("read", 1)


@pytest.mark.parametrize("measured", [True, False])
def test_narrow_bounds_approach_the_mean(measured):
    latency = learned([2.0]) if measured else LatencyEstimator()
    if not measured:
        latency.assume("read", 2.0, 1.0)
    before = latency.upper_bound("read", 1)
    latency.narrow("read")
    assert 2 < latency.upper_bound("read", 1) < before
    for _ in range(40):
        latency.narrow("read")
    for bound in (latency.lower_bound, latency.upper_bound):
        assert bound("read", 1) == pytest.approx(2, rel=1e-3)
