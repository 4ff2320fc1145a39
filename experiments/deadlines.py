r"""The share of deadlines that are met while other processes keep the machine busy.

    python -m experiments.deadlines exported/camvid/anytime.tflite photos --load 0 --load 4

For each value of `--load`, starts that many processes that only count, and segments images under
random deadlines. These are drawn uniformly from one to three times the latency of one iteration
under that load. Prints

- the latency of one iteration (encoding and reading included) and the time of each iteration, in
  milliseconds, medians;
- the share of the calls that ended within the deadline plus the median time of an iteration;
- the share of the calls in which that was possible, and the share of these that ended in time. It
  is impossible if encoding, which is not cut short, one iteration and reading take longer;
- the mean number of iterations, and the mean of the largest number that would have fit, by the
  times of the stages in each call;
- the milliseconds from the deadline to the end of a call (negative: before the deadline): the
  median, and the bounds that 90, 99 and 100 % of the calls stayed below.
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

# The number of calls from which the latency estimator learns the times of the stages under a load,
# and from which the range of the deadlines is found.
_WARM_UP_CALLS = 20

_PERCENTS = (50, 90, 99, 100)


@dataclasses.dataclass(frozen=True)
class Call:
    """A call with a deadline; all times in milliseconds.

    Attributes:
      deadline: the given deadline.
      took: the time of the whole call.
      encode: the time until the first iteration, most of it encoding.
      refine: the mean time of one iteration.
      read: the time of reading.
      iterations: the number of iterations.
    """

    deadline: float
    took: float
    encode: float
    refine: float
    read: float
    iterations: int

    @classmethod
    def of(cls, deadline: float, result: Result) -> "Call":
        """Returns the call that had a result."""
        refine, read = result.stages["refine"], result.stages["read"]
        before = result.milliseconds - refine - read
        each = refine / result.iterations
        return cls(deadline, result.milliseconds, before, each, read, result.iterations)

    def fitting(self, most: int) -> int:
        """Returns the number of iterations that would have fit, from 1 to `most`."""
        fitting = (self.deadline - self.encode - self.read) // self.refine
        return int(np.clip(fitting, 1, most))


@click.command(cls=Command)
@click.argument("file", metavar="ANYTIME.TFLITE")
@click.argument("names", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--load", type=click.IntRange(min=0), multiple=True, default=(0, 4),
              show_default=True, help="Number of busy processes; may be repeated.")  # fmt: skip
@click.option("--threads", type=click.IntRange(min=1), default=4, show_default=True,
              help="Threads of the segmenter.")  # fmt: skip
@click.option("--calls", type=click.IntRange(min=1), default=200, show_default=True,
              help="Number of calls under each load.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True,
              help="Largest number of images; they take turns.")  # fmt: skip
def main(file, names, load, threads, calls, limit):
    """Print the share of deadlines that are met on a busy machine."""
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
    """Keeps the machine busy with a number of processes that count."""
    running = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)
    ]
    try:
        time.sleep(bool(running))  # one second, until all of them have started
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def measure(segmenter: Segmenter, images: Sequence[np.ndarray], calls: int) -> list[Call]:
    """Segments images under random deadlines.

    Args:
      segmenter: the segmenter, not called yet.
      images: the images, uint8 RGB, which take turns.
      calls: the number of calls with a deadline.
    """
    rng = np.random.default_rng(0)
    single = [
        segmenter(images[index % len(images)], iterations=1).milliseconds
        for index in range(_WARM_UP_CALLS)
    ]
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the segmenter warns of deadlines that are too short
        for index in tqdm(range(calls), desc="deadlines", unit="call", disable=None):
            deadline = rng.uniform(1, 3) * statistics.median(single)
            result = segmenter(images[index % len(images)], deadline_ms=deadline)
            found.append(Call.of(deadline, result))
    return found


def report(title: str, calls: Sequence[Call], most: int) -> str:
    """Returns the figures of one load, as lines of text.

    Args:
      title: the beginning of the first line.
      calls: the calls under that load.
      most: the largest number of iterations of a call.
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
