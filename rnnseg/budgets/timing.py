"""Timing of functions that take turns, and lines through times by number of iterations."""

import bisect
import dataclasses
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
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats + 1):
        for function, own in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            own.append(time.perf_counter() - start)
        on_round()
    return [statistics.median(own[1:]) for own in times]


@dataclasses.dataclass(frozen=True)
class Latency:
    """The time of a prediction by number of iterations: a line for each stage of the encoder.

    All iterations take the same time. Where the next stage of the encoder has to run, the line
    steps up. The time never falls with the number of iterations.

    Attributes:
      first_iterations: the number of iterations before each stage of the encoder, from 0.
      starts: for each stage, the time of everything but the iterations; never falling.
      each: the time of one iteration, at least 0.
    """

    first_iterations: tuple[int, ...]
    starts: tuple[float, ...]
    each: float

    def __call__(self, iterations: int) -> float:
        """Returns the time of a whole prediction with a number of iterations, at least 1."""
        return self.starts[stage_of(iterations, self.first_iterations)] + iterations * self.each


def stage_of(iterations: int, first_iterations: Sequence[int]) -> int:
    """Returns the last stage of the encoder, from 0, that a number of iterations needs.

    Args:
      iterations: the number of iterations, at least 1.
      first_iterations: the number of iterations before each stage, from 0.
    """
    return bisect.bisect_left(first_iterations, iterations) - 1


def fit(times: Mapping[int, float], first_iterations: Sequence[int] = (0,)) -> Latency:
    """Fits lines of one slope through the times of predictions, one for each encoder stage.

    The slope is the median of the slopes between all pairs of points of the same stage (the
    Theil-Sen estimator). A single time that another process spoiled hardly moves it, as it would
    move least squares.

    Args:
      times: the time of a whole prediction by number of iterations; at least one.
      first_iterations: the number of iterations before each stage of the encoder, from 0.

    Returns:
      The lines, in the unit of `times`. A stage without a point has the line of the next one, or at
      the end of the one before.
    """
    stages = {number: stage_of(number, first_iterations) for number in times}
    slopes = [
        (later - time) / (more - number)
        for (number, time), (more, later) in itertools.combinations(sorted(times.items()), 2)
        if stages[number] == stages[more]
    ]
    # A feed-forward model has one point; a very short iteration may drown in noise.
    each = max(0.0, statistics.median(slopes)) if slopes else 0.0
    fixed: list[list[float]] = [[] for _ in first_iterations]
    for number, whole in times.items():
        fixed[stages[number]].append(whole - number * each)
    measured = [statistics.median(own) if own else None for own in fixed]
    starts: list[float] = []
    for index in range(len(measured)):
        known = [each for each in measured[index:] if each is not None]
        start = known[0] if known else starts[-1]
        # A stage more cannot take less time; that is noise, too.
        starts.append(max([start, *starts[-1:]]))
    return Latency(tuple(first_iterations), tuple(starts), each)
