"""Timing of functions that take turns, and a line through times by number of iterations."""

import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def take_turns(
    functions: Sequence[Callable[[], Any]],
    repeats: int,
    on_round: Callable[[], Any] = lambda: None,
) -> list[float]:
    """Times functions over several rounds, after one round to warm up.

    Each round calls every function once, so that other load on the machine affects all functions
    alike.

    Args:
      functions: the functions; each returns when its work is done.
      repeats: the number of rounds that count.
      on_round: called after every round, the warm-up included.

    Returns:
      The median seconds of each function.
    """
    times = [[] for _ in functions]
    for _ in range(repeats + 1):
        for function, own in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            own.append(time.perf_counter() - start)
        on_round()
    return [statistics.median(own[1:]) for own in times]


def line(times: Mapping[int, float]) -> tuple[float, float]:
    """Fits a line through the times of predictions by number of iterations.

    The slope is the median of the slopes between all pairs of points (the Theil-Sen estimator). A
    single time that another process spoiled hardly moves it, as it would move least squares.

    Args:
      times: the time of a whole prediction by number of iterations; at least one.

    Returns:
      The time of everything but the iterations, and the time of one iteration, in the unit of
      `times`.
    """
    pairs = itertools.combinations(sorted(times.items()), 2)
    slopes = [(later - time) / (more - number) for (number, time), (more, later) in pairs]
    # A feed-forward model has one point; a very short iteration may drown in noise.
    each = max(0.0, statistics.median(slopes)) if slopes else 0.0
    return statistics.median(time - number * each for number, time in times.items()), each
