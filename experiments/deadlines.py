r"""Whether deadlines are met while other processes keep the machine busy.

    python -m experiments.deadlines exported/camvid/anytime.tflite photos --load 0 --load 4

For each number of busy processes, which it starts itself, each with nothing to do but to count:
segments images under random deadlines, evenly spread from one to three times what a prediction of
one iteration takes under that load, and prints

- the milliseconds of such a prediction and of an iteration, medians;
- the share of the calls that ended within deadline + one (median) iteration;
- the share of the calls in which that was possible: encoding is not cut short, and where it, one
  iteration and reading alone take longer, the deadline cannot be met; and the share of these that
  ended within deadline + one iteration;
- the mean number of iterations, and that of the most that would have been in time by the stages'
  own times in each call;
- by how much calls ended after their deadline, in milliseconds (negative: before it): the median,
  and what 90, 99 and 100 % of the calls stayed below.
"""

import contextlib
import dataclasses
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence

import click
import numpy as np
from tqdm import tqdm

from rnnseg.cli.base import Command
from rnnseg.data.images import find_images, read_image
from rnnseg.runtime.pacing import most_iterations
from rnnseg.runtime.segmenter import Result, Segmenter

# Calls that learn what stages cost under a load, and find what deadlines to draw.
_TO_LEARN = 20

_PERCENTS = (50, 90, 99, 100)


@dataclasses.dataclass(frozen=True)
class Call:
    """What came of one deadline; all in milliseconds.

    Attributes:
      deadline: that was given.
      took: the whole call.
      encode: of it, encoding and what else comes before the first iteration.
      refine: one iteration of it.
      read: reading.
      iterations: how many it had.
    """

    deadline: float
    took: float
    encode: float
    refine: float
    read: float
    iterations: int

    @classmethod
    def of(cls, deadline: float, result: Result) -> "Call":
        """The call that gave a result."""
        refine, read = result.stages["refine"], result.stages["read"]
        before = result.milliseconds - refine - read
        each = refine / result.iterations
        return cls(deadline, result.milliseconds, before, each, read, result.iterations)

    def fitting(self, most: int) -> int:
        """How many iterations would have been in time, at least one, of `most` at most."""
        fitting = (self.deadline - self.encode - self.read) // self.refine
        return int(np.clip(fitting, 1, most))


@click.command(cls=Command)
@click.argument("file", metavar="ANYTIME.TFLITE")
@click.argument("names", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--load", type=click.IntRange(min=0), multiple=True, default=(0, 4),
              show_default=True, help="Busy processes; may be repeated.")  # fmt: skip
@click.option("--threads", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("--calls", type=click.IntRange(min=1), default=200, show_default=True,
              help="How many for each load.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True,
              help="Images that take turns.")  # fmt: skip
def main(file, names, load, threads, calls, limit):
    """Print how well deadlines are met on a busy machine."""
    images = [read_image(path) for path in find_images(names)[:limit]]
    for processes in load:
        with busy(processes):
            segmenter = Segmenter(file, threads)
            found = measure(segmenter, images, calls)
        title = f"{processes} busy processes, {threads} threads"
        most = most_iterations(segmenter.info.iterations, segmenter.info.miou)
        click.echo(report(title, found, most))


@contextlib.contextmanager
def busy(processes: int):
    """Keeps the machine busy with some processes that count."""
    running = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)
    ]
    try:
        time.sleep(bool(running))  # a second, until all of them are at it
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def measure(segmenter: Segmenter, images: Sequence[np.ndarray], calls: int) -> list[Call]:
    """Segments images under random deadlines.

    Args:
      segmenter: without any call so far.
      images: to take turns, uint8 RGB.
      calls: how many.
    """
    rng = np.random.default_rng(0)
    single = [
        segmenter(images[index % len(images)], iterations=1).milliseconds
        for index in range(_TO_LEARN)
    ]
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some of the deadlines are too short is the point
        for index in tqdm(range(calls), desc="deadlines", unit="call", disable=None):
            deadline = rng.uniform(1, 3) * statistics.median(single)
            result = segmenter(images[index % len(images)], deadline_ms=deadline)
            found.append(Call.of(deadline, result))
    return found


def report(title: str, calls: Sequence[Call], most: int) -> str:
    """The figures of one load, as lines of text.

    Args:
      title: what the first line begins with.
      calls: under that load.
      most: iterations that a call may have.
    """
    iteration = statistics.median(call.refine for call in calls)
    alone = np.array([call.encode + call.refine + call.read for call in calls])
    deadlines = np.array([call.deadline for call in calls])
    late = np.array([call.took for call in calls]) - deadlines
    in_time, possible = late <= iteration, alone <= deadlines + iteration
    had = statistics.mean(call.iterations for call in calls)
    fitting = statistics.mean(call.fitting(most) for call in calls)
    percentiles = zip(_PERCENTS, np.percentile(late, _PERCENTS), strict=True)
    return (
        f"{title}, {len(calls)} calls\n"
        f"  one iteration alone {np.median(alone):.1f} ms, each {iteration:.2f} ms\n"
        f"  within deadline + one iteration {100 * in_time.mean():.1f} %\n"
        f"  possible {100 * possible.mean():.1f} %, of these {100 * in_time[possible].mean():.1f} %"
        f"\n  iterations {had:.1f}, would have fit {fitting:.1f}\n"
        "  ms after the deadline "
        + ", ".join(f"{percent} %: {value:.1f}" for percent, value in percentiles)
    )


if __name__ == "__main__":
    main()
