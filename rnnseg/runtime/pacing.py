"""What the stages of a prediction cost lately, so that a deadline can be met."""

import threading
from collections.abc import Mapping

# As TCP reckons with the time that answers take, RFC 6298, "Computing TCP's Retransmission Timer":
# how far mean and deviation move to what is new, and how many deviations an answer may be late.
_MEAN_GAIN = 1 / 8
_DEVIATION_GAIN = 1 / 4
_DEVIATIONS = 4

# What is later than that counts as at most so many times as much. TCP takes it as it is, but here
# one hiccup of the machine would cost the next dozens of images their iterations; when waits come
# in a row, twice as much each time is soon enough.
_MOST_AT_ONCE = 2


class Costs:
    """Running means and mean deviations of the time that stages take; for several threads at once.

    When the machine gets busy the deviation grows within a few calls and the mean follows; a hiccup
    is forgotten after some ten calls, and a busy time after twice as many.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._seconds: dict[str, tuple[float, float]] = {}

    def add(self, stage: str, amount: int, seconds: float) -> None:
        """Learns from one call.

        Args:
          stage: its name.
          amount: of work, such as pixels: what the time grows with.
          seconds: it took.
        """
        new = seconds / amount
        with self._lock:
            if stage not in self._seconds:
                self._seconds[stage] = new, new / 2
                return
            new = min(new, _MOST_AT_ONCE * self.most(stage, 1))
            mean, deviation = self._seconds[stage]
            deviation += _DEVIATION_GAIN * (abs(new - mean) - deviation)
            self._seconds[stage] = mean + _MEAN_GAIN * (new - mean), deviation

    def least(self, stage: str, amount: int) -> float | None:
        """The seconds that it seldom takes less than; None before the first call."""
        return self._away(stage, amount, -1)

    def most(self, stage: str, amount: int) -> float | None:
        """The seconds that it hardly ever takes more than; None before the first call."""
        return self._away(stage, amount, _DEVIATIONS)

    def _away(self, stage, amount, deviations):
        if stage not in self._seconds:
            return None
        mean, deviation = self._seconds[stage]
        return max(0.0, mean + deviations * deviation) * amount


def most_iterations(trained: int, miou: Mapping[int, float] | None) -> int:
    """The largest number of iterations that a budget is spent on.

    Past the number of training the curve goes on rising on some data and falls on other.

    Args:
      trained: the number of training.
      miou: what was scored, by number of iterations; None or empty: nothing was.

    Returns:
      The number that scored best, of several the smallest. Where that is the last one scored, so
      that more might be better still, and where nothing was scored: at least that of training.
    """
    if not miou:
        return trained
    best = max(sorted(miou), key=lambda number: miou[number])
    return max(best, trained) if best == max(miou) else best
