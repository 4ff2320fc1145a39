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
    found = timing.fit(times)
    assert (*found.starts, found.each) == pytest.approx((30.0, 2.0))
    times[numbers[rng.integers(6)]] += 500
    found = timing.fit(times)
    assert (*found.starts, found.each) == pytest.approx((30.0, 2.0), rel=0.05)


def test_a_single_time_and_falling_times():
    assert timing.fit({1: 7.0}) == timing.Latency((0,), (7.0,), 0.0)
    assert timing.fit({1: 9.0, 2: 8.0, 3: 7.0}) == timing.Latency((0,), (8.0,), 0.0)


def test_every_stage_of_the_encoder_has_a_line():
    """Two iterations on the first stage, one on the second, all others on the third."""
    times = {1: 11.0, 2: 12.0, 3: 23.0, 4: 34.0, 8: 38.0}
    found = timing.fit(times, (0, 2, 3))
    assert found == timing.Latency((0, 2, 3), (10.0, 20.0, 30.0), 1.0)
    assert [found(n) for n in (1, 2, 3, 4, 5, 8)] == [11, 12, 23, 34, 35, 38]
    # The steps between stages are no slopes.
    assert timing.fit({1: 10.0, 2: 20.0, 3: 40.0}, (0, 1, 2)).each == 0


def test_a_stage_that_was_not_timed_counts_as_the_next_one():
    assert timing.fit({4: 34.0, 8: 38.0}, (0, 2, 3)).starts == (30.0, 30.0, 30.0)
    assert timing.fit({1: 10.0, 2: 11.0}, (0, 2, 3)).starts == (9.0, 9.0, 9.0)


@pytest.mark.parametrize("seed", range(20))
def test_times_never_fall(seed):
    rng = np.random.default_rng(seed)
    firsts = (0, *np.cumsum(rng.integers(1, 3, rng.integers(0, 3))).tolist())
    numbers = rng.choice(np.arange(1, 13), rng.integers(1, 7), replace=False).tolist()
    found = timing.fit({number: float(rng.uniform(5, 20)) for number in numbers}, firsts)
    times = [found(number) for number in range(1, 14)]
    assert times == sorted(times)
