"""Estimates of the latency of the stages, so that a prediction meets its deadline."""

import threading
from collections.abc import Mapping

# The constants of RFC 6298, "Computing TCP's Retransmission Timer", by which TCP estimates the time
# to an answer: the weights of a new value in the mean and in the deviation, and the number of
# deviations by which an answer may be late.
_MEAN_GAIN = 1 / 8
_DEVIATION_GAIN = 1 / 4
_DEVIATIONS = 4

# A value above the upper bound counts as at most this many times the bound. TCP takes it as it is,
# but here a single delay of the machine would cost the next dozens of images their iterations. If
# delays follow one another, doubling the bound with each of them is soon enough.
_LARGEST_STEP = 2


class LatencyEstimator:
    """Running means and mean deviations of the latency of stages; safe for several threads.

    If the machine becomes busy, the deviation grows within a few calls and the mean follows. A
    single delay is forgotten after about ten calls, a busy time after twice as many.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, tuple[float, float]] = {}
        self._assumed: dict[str, tuple[float, float]] = {}

    def assume(self, stage: str, mean: float, deviation: float) -> None:
        """Sets the estimate that holds until the first measured call of a stage.

        Args:
          stage: the name of the stage.
          mean: the seconds of an amount of 1.
          deviation: the mean deviation from them, in seconds.
        """
        self._assumed[stage] = mean, deviation

    def narrow(self, stage: str) -> None:
        """Brings the bounds of a stage nearer to the mean.

        For stages that were not run because of their upper bound. Otherwise a single delay could
        keep them from ever being run again.
        """
        with self._lock:
            known = self._seconds if stage in self._seconds else self._assumed
            mean, deviation = known[stage]
            known[stage] = mean, (1 - _DEVIATION_GAIN) * deviation

    def add(self, stage: str, amount: float, seconds: float) -> None:
        """Adds a measured call.

        Args:
          stage: the name of the stage.
          amount: the amount of work that the latency is proportional to, such as pixels.
          seconds: the latency.
        """
        new = seconds / amount
        with self._lock:
            if stage not in self._seconds:
                self._seconds[stage] = new, new / 2
                return
            mean, deviation = known = self._seconds[stage]
            new = min(new, _LARGEST_STEP * _bound(known, _DEVIATIONS))
            deviation += _DEVIATION_GAIN * (abs(new - mean) - deviation)
            self._seconds[stage] = mean + _MEAN_GAIN * (new - mean), deviation

    def lower_bound(self, stage: str, amount: float) -> float | None:
        """Returns the seconds that a call seldom falls below; None before the first call."""
        known = self._known(stage)
        return _bound(known, -1) * amount if known else None

    def upper_bound(self, stage: str, amount: float) -> float | None:
        """Returns the seconds that a call hardly ever exceeds; None before the first call."""
        known = self._known(stage)
        return _bound(known, _DEVIATIONS) * amount if known else None

    def _known(self, stage: str) -> tuple[float, float] | None:
        return self._seconds.get(stage) or self._assumed.get(stage)


def _bound(known: tuple[float, float], deviations: float) -> float:
    mean, deviation = known
    return max(0.0, mean + deviations * deviation)


def most_iterations(trained: int, miou: Mapping[int, float] | None) -> int:
    """Returns the largest number of iterations that a budget is spent on.

    Beyond the number of iterations in training, the speed-accuracy curve rises on some data and
    falls on other data.

    Args:
      trained: the number of iterations in training.
      miou: the measured mean IoU by number of iterations; None or empty if nothing was measured.

    Returns:
      The number that scored best, the smallest one in a tie. If it is the last one measured, so
      that more might be better still, or if nothing was measured: at least the number in training.
    """
    if not miou:
        return trained
    best = max(sorted(miou), key=lambda number: miou[number])
    return max(best, trained) if best == max(miou) else best
