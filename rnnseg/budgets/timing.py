"""How long functions take, in turns, and what that says of the number of iterations."""

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
    """Seconds of every function, the median of several rounds after one to warm up.

    In a round each is called once, so that whatever else the machine does meets all of them alike.

    Args:
      functions: each returns when its work is done.
      repeats: how many rounds.
      on_round: is called after every round, that of the warm-up included.
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
    """What predictions take apart from the iterations, and what each of these takes.

    The medians of the slopes between all pairs and of what is left (Theil and Sen), which one time
    spoiled by another process does not move as it would least squares.

    Args:
      times: of whole predictions, by number of iterations; at least one.
    """
    pairs = itertools.combinations(sorted(times.items()), 2)
    slopes = [(later - time) / (more - number) for (number, time), (more, later) in pairs]
    # A feed-forward model has one point; a very short iteration may drown in noise.
    each = max(0.0, statistics.median(slopes)) if slopes else 0.0
    return statistics.median(time - number * each for number, time in times.items()), each
