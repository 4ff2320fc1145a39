import numpy as np
import pytest

from rnnseg.budgets import timing


def test_functions_take_turns_and_the_first_round_does_not_count(monkeypatch):
    clock = iter(np.cumsum([0, 9, 0, 9, 0, 1, 0, 4, 0, 5, 0, 6, 0, 2, 0, 20]))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    called, rounds = [], []
    functions = [lambda: called.append("a"), lambda: called.append("b")]
    assert timing.take_turns(functions, 3, lambda: rounds.append(len(called))) == [2, 6]
    assert called == ["a", "b"] * 4 and rounds == [2, 4, 6, 8]


@pytest.mark.parametrize("seed", range(5))
def test_the_line_is_found_even_if_one_time_is_spoiled(seed):
    rng = np.random.default_rng(seed)
    numbers = sorted(rng.choice(np.arange(1, 13), 6, replace=False).tolist())
    times = {number: 30.0 + 2.0 * number for number in numbers}
    assert timing.line(times) == pytest.approx((30.0, 2.0))
    times[numbers[rng.integers(6)]] += 500
    assert timing.line(times) == pytest.approx((30.0, 2.0), rel=0.05)


def test_a_single_time_and_falling_times():
    assert timing.line({1: 7.0}) == (7.0, 0.0)
    assert timing.line({1: 9.0, 2: 8.0, 3: 7.0}) == (8.0, 0.0)
