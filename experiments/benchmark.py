"""How fast the recurrence runs: naive, as built, and against what the machine can do.

    python -m experiments.benchmark

Prints, for the stack of the paper on ResNet's features at 513x513 and for a small one on
MobileNetV2's, milliseconds of 1 to 12 iterations in two forms that give the same canvas:

- naive: one kernel over features, canvas and state, applied anew at every iteration, as the
  equations say;
- as built: the features' share of the gates computed once (`prepare`), then iterations
  (`refine`) on the rest.

An iteration's own time is the slope over the number of iterations. GFLOP/s counts two operations
a multiply-add; the machine's peak is that of a product of two float32 matrices of 2048x2048,
measured in the same run. All take turns, `--repeats` times; medians are printed.

Found on four cores of a server: 2.4 times faster an iteration at ResNet's size, at 73 % of the
peak, and linear in the number of iterations; the multiply-adds alone would make it 3.2. At
MobileNetV2's size gates and activations cost more than the products: 1.3 times, 25 %.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable

import click
import numpy as np
import tensorflow as tf

from rnnseg import conv_lstm
from rnnseg.commands import Command

ITERATIONS = tuple(range(1, 13))
_PEAK_SIDE = 2048


@dataclasses.dataclass(frozen=True)
class Case:
    """Sizes of a stack and of what it runs on.

    Attributes:
      name: what is printed.
      cells: features a side.
      features: channels of the features.
      hidden_channels: widths of the layers before the last.
      classes: width of the last.
    """

    name: str
    cells: int
    features: int
    hidden_channels: tuple[int, ...]
    classes: int

    @property
    def refine_cost(self) -> int:
        """Multiply-adds of an iteration as built."""
        inputs = (self.classes, *self.hidden_channels)
        widths = (*self.hidden_channels, self.classes)
        pairs = zip(inputs, widths, strict=True)
        return self.cells**2 * sum(4 * width * (seen + width) for seen, width in pairs)


CASES = (
    Case("ResNet at 513x513", 33, 2048, (512, 256), 21),
    Case("MobileNetV2 at 513x513", 33, 320, (128, 64), 21),
)


@dataclasses.dataclass(frozen=True)
class Result:
    """What was measured of a case.

    Attributes:
      naive: seconds for each of `ITERATIONS`.
      built: likewise, without `prepare`.
      prepare: seconds.
      difference: the largest one between the two canvases after the last iteration.
    """

    naive: tuple[float, ...]
    built: tuple[float, ...]
    prepare: float
    difference: float


@click.command(cls=Command)
@click.option("--repeats", type=click.IntRange(min=1), default=7, show_default=True)
def main(repeats):
    """Print milliseconds an iteration, naive and as built, and the share of the machine's peak."""
    peak = measure_peak(repeats)
    print(f"peak: {peak / 1e9:.0f} GFLOP/s, product of {_PEAK_SIDE}x{_PEAK_SIDE} matrices")
    for case in CASES:
        print(f"\n{report(case, measure(case, repeats), peak)}", flush=True)


def measure_peak(repeats: int) -> float:
    """Operations a second of a large matrix product, the median."""
    matrix = tf.random.normal((_PEAK_SIDE, _PEAK_SIDE))
    product = tf.function(lambda: tf.matmul(matrix, matrix), autograph=False)
    (times,) = _take_turns([lambda: product()], repeats)
    return 2 * _PEAK_SIDE**3 / times


def measure(case: Case, repeats: int, iterations: tuple[int, ...] = ITERATIONS) -> Result:
    """Times a case.

    Args:
      case: the sizes.
      repeats: how often everything is run.
      iterations: numbers of iterations.
    """
    stack = conv_lstm.ConvLSTMStack(case.classes, case.hidden_channels)
    stack.build((None, None, None, case.features))
    features = tf.random.normal((1, case.cells, case.cells, case.features))
    prepare = tf.function(stack.prepare, autograph=False)
    prepared = prepare(features)
    built = tf.function(lambda n: _run(n, prepared, stack, stack), autograph=False)
    naive = tf.function(
        lambda n: _run(n, prepared, stack, NaiveStack(stack, features)), autograph=False
    )
    numbers = [tf.constant(n) for n in iterations]
    last = numbers[-1]
    difference = float(tf.reduce_max(tf.abs(naive(last) - built(last))))
    times = _take_turns(
        [
            lambda: prepare(features),
            *(lambda n=n: built(n) for n in numbers),
            *(lambda n=n: naive(n) for n in numbers),
        ],
        repeats,
    )
    middle = len(numbers) + 1
    return Result(tuple(times[middle:]), tuple(times[1:middle]), times[0], difference)


class NaiveStack:
    """The same recurrence with nothing computed beforehand; called as a `ConvLSTMStack` is."""

    def __init__(self, stack: conv_lstm.ConvLSTMStack, features: tf.Tensor):
        """Joins the kernels of the first layer; `features` are `(batch, h, w, channels)`."""
        self._stack = stack
        self._features = features
        gates, first = stack.feature_gates, stack.cells[0].convolution
        self._kernel = tf.concat([gates.kernel, first.kernel], axis=2)
        self._bias = gates.bias

    def __call__(self, prepared, canvas, state):
        """One iteration; `prepared` is not used."""
        del prepared
        seen = tf.concat([self._features, canvas, state[0].h], axis=-1)
        activations = tf.nn.conv2d(seen, self._kernel, 1, "SAME") + self._bias
        i, f, g, o = tf.split(activations, 4, axis=-1)
        c = tf.sigmoid(f) * state[0].c + tf.sigmoid(i) * tf.tanh(g)
        output = tf.sigmoid(o) * tf.tanh(c)
        new_state = [conv_lstm.LSTMState(output, c)]
        for cell, cell_state in zip(self._stack.cells[1:], state[1:], strict=True):
            output, cell_state = cell(output, cell_state)
            new_state.append(cell_state)
        return canvas + output, tuple(new_state)


def _run(iterations, prepared, stack, iterate) -> tf.Tensor:
    """The canvas after some iterations."""
    canvas, state = stack.start(prepared)
    _, canvas, _ = tf.while_loop(
        lambda step, *_: step < iterations,
        lambda step, canvas, state: (step + 1, *iterate(prepared, canvas, state)),
        (tf.constant(0), canvas, state),
        parallel_iterations=1,
    )
    return canvas


def _take_turns(functions: list[Callable], repeats: int) -> list[float]:
    """Seconds of every function, the median of several rounds after one to warm up."""
    times = [[] for _ in functions]
    for _ in range(repeats + 1):
        for function, own in zip(functions, times, strict=True):
            start = time.perf_counter()
            function().numpy()
            own.append(time.perf_counter() - start)
    return [statistics.median(own[1:]) for own in times]


def report(case: Case, result: Result, peak: float) -> str:
    """The table of a case.

    Args:
      case: the sizes.
      result: what was measured.
      peak: operations a second.
    """
    numbers = ITERATIONS[: len(result.built)]
    naive, built = (_slope(numbers, times)[0] for times in (result.naive, result.built))
    _, straightness = _slope(numbers, result.built)
    speed = 2 * case.refine_cost / built
    lines = [
        f"{case.name}: {case.cells}x{case.cells}x{case.features}, widths "
        f"{', '.join(map(str, (*case.hidden_channels, case.classes)))}",
        "iterations    naive ms  as built ms  with prepare ms",
    ]
    for number, slow, fast in zip(numbers, result.naive, result.built, strict=True):
        lines.append(
            f"{number:10d}  {1e3 * slow:10.2f}  {1e3 * fast:11.2f}  "
            f"{1e3 * (fast + result.prepare):15.2f}"
        )
    lines += [
        f"an iteration: {1e3 * naive:.2f} ms naive, {1e3 * built:.2f} ms as built, ratio "
        f"{naive / built:.2f}; {speed / 1e9:.0f} GFLOP/s, {speed / peak:.0%} of the peak",
        f"linear in the number of iterations to R^2 = {straightness:.4f}; largest difference of "
        f"the canvases {result.difference:.1e}",
    ]
    return "\n".join(lines)


def _slope(numbers, times) -> tuple[float, float]:
    """Seconds an iteration by least squares, and the share of the variance that it explains."""
    slope, start = np.polyfit(numbers, times, 1)
    rest = np.asarray(times) - (slope * np.asarray(numbers) + start)
    return float(slope), float(1 - rest.var() / np.var(times))


if __name__ == "__main__":
    main()
