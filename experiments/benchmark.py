"""Speed of the recurrence, beside a naive implementation and beside the peak of the machine.

    python -m experiments.benchmark

Prints the milliseconds of 1 to 12 iterations, for the stack of the paper on the features of ResNet
at 513x513 and for a small stack on those of MobileNetV2. All forms give the same canvas:

- naive: one kernel over features, canvas and state, applied anew at every iteration, as the
  equations are written;
- as built: the features' part of the gates, computed once (`prepare`), then iterations (`refine`)
  on the rest; the first iteration omits products with zeros;
- bfloat16: as built, with all products in that type (`dtype="mixed_bfloat16"`);
- XLA: as built, with `refine` compiled by XLA (`jit_compile=True`). This is for predictions only:
  XLA has no gradient of a loop whose number of iterations is a tensor.

The printed ratio is naive over as built, `prepare` included. The time of one iteration is the slope
over the number of iterations. GFLOP/s counts two operations per executed multiply-add. The peak is
the speed of a product of two 2048x2048 matrices, measured in the same run. The last line has the
time of a training step without the encoder: 6 iterations and the gradient. All take turns,
`--repeats` times; medians are printed.

Results on a server with AVX-512, on four cores and on one (`taskset -c 0` before the command):

- ResNet's size: an iteration is 3.0 times as fast as the naive one on four cores and 3.4 times on
  one, both at 81 % of the peak; in bfloat16 4.1 and 5.4 times. The multiply-adds alone predict a
  ratio of 3.2.
- MobileNetV2's size: 1.8 times on four cores and 1.9 times on one, at 23 and 61 % of the peak; in
  bfloat16 1.8 and 2.3 times. The multiply-adds alone predict 2.2, but gates and activations take as
  long as a good part of the products. On four cores they weigh more, because a product takes little
  longer than its distribution over the cores.
- Time is linear in the number of iterations (R^2 0.999; on four cores at the small size 0.986).
- The canvases are within 3e-6 of the naive ones, in bfloat16 within 0.04.
- A training step is 2.9 times as fast on four cores and 3.6 times on one at the large size, and 1.9
  times at the small size.
- XLA is slower than the form as built.

`docs/experiments/budgets.md` has the output of two cores.
"""

import dataclasses
import math

import click
import keras
import numpy as np
import tensorflow as tf

import rnnseg
from rnnseg.budgets.timing import take_turns
from rnnseg.cli.base import Command
from rnnseg.models import conv_lstm
from rnnseg.models.encoder import DEEPEST

from . import options

ITERATIONS = tuple(range(1, 13))
_TRAINED = 6
_PEAK_SIDE = 2048


@dataclasses.dataclass(frozen=True)
class Case:
    """The sizes of a stack and of its features.

    Attributes:
      name: the name that is printed.
      side: the side of the square canvas, in canvas pixels.
      features: the channels of the features.
      hidden_channels: the widths of the layers before the last.
      classes: the width of the last layer.
    """

    name: str
    side: int
    features: int
    hidden_channels: tuple[int, ...]
    classes: int

    def refine_cost(self, iterations: int) -> int:
        """Counts the multiply-adds of a number of iterations in the form as built."""
        seen = (self.classes, *self.hidden_channels)
        widths = (*self.hidden_channels, self.classes)
        later = sum(4 * width * (seen + width) for seen, width in zip(seen, widths, strict=True))
        # The first iteration has no canvas, no previous output and no state to forget.
        first = sum(3 * width * seen for seen, width in zip(seen[1:], widths[1:], strict=True))
        return self.side**2 * (first + (iterations - 1) * later)


CASES = (
    Case("ResNet at 513x513", 33, 2048, (512, 256), 21),
    Case("MobileNetV2 at 513x513", 33, 320, (128, 64), 21),
)


@dataclasses.dataclass(frozen=True)
class Times:
    """The times of one form, in seconds.

    Attributes:
      refine: the time of each number of iterations; in the naive form it includes everything.
      prepare: the time of the loop-invariant part, computed once per image.
      train: the time of a training step; NaN for a form that cannot be trained.
      difference: the largest difference from the canvas of the naive form, in logits, after the
        largest number of iterations.
    """

    refine: tuple[float, ...]
    prepare: float
    train: float
    difference: float


@click.command(cls=Command)
@options.repeats(7)
def main(repeats):
    """Print milliseconds per iteration, naive and as built, and the share of the peak."""
    peaks = {dtype: measure_peak(dtype, repeats) for dtype in (tf.float32, tf.bfloat16)}
    print(
        f"peak: {peaks[tf.float32] / 1e9:.0f} GFLOP/s, {peaks[tf.bfloat16] / 1e9:.0f} in bfloat16, "
        f"product of {_PEAK_SIDE}x{_PEAK_SIDE} matrices"
    )
    for case in CASES:
        print(f"\n{report(case, measure(case, repeats), peaks)}", flush=True)


def measure_peak(dtype: tf.DType, repeats: int) -> float:
    """Returns the median operations per second of a large matrix product."""
    matrix = tf.cast(tf.random.normal((_PEAK_SIDE, _PEAK_SIDE)), dtype)
    product = tf.function(lambda: tf.matmul(matrix, matrix), autograph=False)
    (times,) = take_turns([lambda: product().numpy()], repeats)
    return 2 * _PEAK_SIDE**3 / times


def measure(case: Case, repeats: int, iterations: tuple[int, ...] = ITERATIONS) -> dict[str, Times]:
    """Measures the times of a case.

    Args:
      case: the sizes.
      repeats: the number of repetitions.
      iterations: the numbers of iterations.

    Returns:
      The times of the forms "naive", "as built", "bfloat16" and "XLA".
    """
    model, small = _make_model(case, "float32"), _make_model(case, "mixed_bfloat16")
    small.set_weights(model.get_weights())
    stack = model.stack

    def prepared_by(each):
        return lambda features: each.prepare({DEEPEST: features})

    forms = {
        "naive": (
            stack,
            tf.identity,
            lambda features, n: run(n, features, stack, NaiveStack(stack, features)),
        ),
        "as built": (stack, prepared_by(model), lambda prepared, n: model.refine(prepared, n)[0]),
        "bfloat16": (
            small.stack,
            prepared_by(small),
            lambda prepared, n: small.refine(prepared, n)[0],
        ),
        "XLA": (None, prepared_by(model), lambda prepared, n: model.refine(prepared, n)[0]),
    }
    features = tf.random.normal((1, case.side, case.side, case.features))
    numbers = [tf.constant(n) for n in iterations]
    functions, canvases = [], []
    for form, (layer, prepare, refine) in forms.items():
        prepare = tf.function(prepare, autograph=False)
        refine = tf.function(refine, autograph=False, jit_compile=form == "XLA" or None)
        prepared = prepare(features)
        canvases.append(refine(prepared, numbers[-1]))
        functions += [
            *(lambda f=refine, x=prepared, n=n: f(x, n).numpy() for n in numbers),
            lambda f=prepare: tf.cast(f(features)[0, 0, 0], tf.float32).numpy(),
            _training_step(layer, prepare, refine, features) if layer else lambda: None,
        ]
    times = np.reshape(take_turns(functions, repeats), (len(forms), -1)).tolist()
    return {
        form: Times(
            tuple(spent[:-2]),
            prepare=spent[-2],
            train=spent[-1] if forms[form][0] else math.nan,
            difference=float(tf.reduce_max(tf.abs(canvas - canvases[0]))),
        )
        for form, spent, canvas in zip(forms, times, canvases, strict=True)
    }


def _make_model(case: Case, dtype: str) -> rnnseg.RecurrentSegmenter:
    """Returns a model with a placeholder encoder that has the right channels and is not run."""
    inputs = keras.Input((None, None, 3))
    encoder = keras.Model(inputs, keras.layers.Conv2D(case.features, 1, strides=16)(inputs))
    return rnnseg.RecurrentSegmenter(
        case.classes,
        encoder=encoder,
        encoder_weights=None,
        hidden_channels=case.hidden_channels,
        dtype=dtype,
    )


def _training_step(stack, prepare, refine, features):
    """Returns a call that runs `_TRAINED` iterations and computes the gradient of the weights."""

    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(refine(prepare(features), tf.constant(_TRAINED)) ** 2)
        gradients = tape.gradient(loss, stack.trainable_variables)
        return tf.add_n([tf.reduce_sum(each) for each in gradients])

    step = tf.function(step, autograph=False)
    return lambda: step().numpy()


class NaiveStack:
    """The recurrence as its equations are written, with nothing computed in advance."""

    def __init__(self, stack: conv_lstm.ConvLSTMStack, features: tf.Tensor):
        self._features = features
        first, *others = (cell.convolution for cell in stack.cells)
        self._layers = [
            (
                tf.concat([stack.feature_gates.kernel, first.kernel], axis=2),
                stack.feature_gates.bias,
            ),
            *((layer.kernel, layer.bias) for layer in others),
        ]

    def __call__(self, prepared, canvas, state):
        """Runs one iteration; `prepared` is not used."""
        del prepared
        inputs, new_state = [self._features, canvas], []
        for (kernel, bias), (h, c) in zip(self._layers, state, strict=True):
            seen = tf.concat([*inputs, h], axis=-1)
            gates = tf.nn.bias_add(tf.nn.conv2d(seen, kernel, 1, "SAME"), bias)
            i, f, g, o = tf.split(gates, 4, axis=-1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            output = tf.sigmoid(o) * tf.tanh(c)
            inputs = [output]
            new_state.append(conv_lstm.LSTMState(output, c))
        return canvas + output, tuple(new_state)


def run(iterations, prepared, stack, iterate) -> tf.Tensor:
    """Runs iterations from the initial canvas.

    Args:
      iterations: the number of iterations, a scalar integer tensor.
      prepared: any tensor with the batch, height and width of the canvas.
      stack: the `ConvLSTMStack` that makes the initial canvas and state.
      iterate: a function that runs one iteration, such as a `NaiveStack`.

    Returns:
      The canvas after the last iteration.
    """
    canvas, state = stack.initial_state(prepared)
    _, canvas, _ = tf.while_loop(
        lambda step, *_: step < iterations,
        lambda step, canvas, state: (step + 1, *iterate(prepared, canvas, state)),
        (tf.constant(0), canvas, state),
        parallel_iterations=1,
    )
    return canvas


def report(case: Case, result: dict[str, Times], peaks: dict[tf.DType, float]) -> str:
    """Returns the text of the table of a case.

    Args:
      case: the sizes.
      result: the times from `measure`.
      peaks: the peak operations per second, by type.
    """
    naive, built, small, compiled = result.values()
    numbers = ITERATIONS[: len(built.refine)]
    lines = [
        f"{case.name}: {case.side}x{case.side}x{case.features}, widths "
        f"{', '.join(map(str, (*case.hidden_channels, case.classes)))}; prepare "
        f"{1e3 * built.prepare:.2f} ms, {1e3 * small.prepare:.2f} ms in bfloat16",
        "iterations    naive ms  as built ms  with prepare  ratio  GFLOP/s  of peak  bfloat16 ms"
        "    XLA ms",
    ]
    rows = (each.refine for each in result.values())
    for number, slow, fast, *others in zip(numbers, *rows, strict=True):
        whole = fast + built.prepare
        speed = 2 * case.refine_cost(number) / fast
        lines.append(
            f"{number:10d}  {1e3 * slow:10.2f}  {1e3 * fast:11.2f}  {1e3 * whole:12.2f}  "
            f"{slow / whole:5.2f}  {speed / 1e9:7.0f}  {speed / peaks[tf.float32]:7.0%}  "
            + "  ".join((f"{1e3 * others[0]:11.2f}", f"{1e3 * others[1]:8.2f}"))
        )
    slow, _ = _slope(numbers, naive.refine)
    lines.append(f"an iteration naive: {1e3 * slow:.2f} ms")
    cost = case.refine_cost(2) - case.refine_cost(1)
    forms = (("as built", built, tf.float32), ("bfloat16", small, tf.bfloat16))
    for form, times, dtype in (*forms, ("XLA", compiled, tf.float32)):
        fast, straightness = _slope(numbers, times.refine)
        speed = 2 * cost / fast
        lines.append(
            f"an iteration {form}: {1e3 * fast:.2f} ms, ratio {slow / fast:.2f}; "
            f"{speed / 1e9:.0f} GFLOP/s, {speed / peaks[dtype]:.0%} of the peak; linear to R^2 = "
            f"{straightness:.4f}; canvas within {times.difference:.1e} of the naive"
        )
    lines.append(
        f"training, {_TRAINED} iterations: "
        + ", ".join(
            f"{1e3 * times.train:.1f} ms {form}"
            for form, times in result.items()
            if not math.isnan(times.train)
        )
    )
    return "\n".join(lines)


def _slope(numbers, times) -> tuple[float, float]:
    """Returns the seconds per iteration by least squares, and R^2 of the fit."""
    slope, start = np.polyfit(numbers, times, 1)
    rest = np.asarray(times) - (slope * np.asarray(numbers) + start)
    return float(slope), float(1 - rest.var() / np.var(times))


if __name__ == "__main__":
    main()
