"""Measures the memory and the time of a training step with 1 to 12 iterations.

    python -m experiments.training_benchmark

Four forms of the same training, on random images:

- naive: one kernel over features, canvas and state, applied anew at every iteration, and everything
  kept for the gradient;
- as built: the features' share of the gates computed once;
- recompute: the same with `RecurrentSegmenter(recompute=True)`;
- sampled: as built, on some cells of every image (`rnnseg train --sample-patches`); only with a
  frozen encoder.

A step is the whole of it: encoder, iterations, loss, gradient, optimizer (momentum). Its memory is
by how much the process grows at most in its first three steps; weights and images are there
before, the trace is not. Every number is measured in a process of its own; for the time all forms
are in one and take turns, `--repeats` times, and medians are printed. It needs Linux.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import click
import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

import rnnseg
from rnnseg.budgets.timing import take_turns
from rnnseg.cli.base import Command
from rnnseg.training.sampling import SampledImages, SampledSegmenter, sample_patches

from . import benchmark, options
from .measuring import in_a_process, peak_memory

ITERATIONS = (1, 3, 6, 12)
_STRIDE = 16


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and what it trains on.

    Attributes:
      name: what is printed.
      encoder: a name; or the number of channels of features that cost next to nothing, where the
        stack is to be measured alone.
      size: (height, width) of images.
      batch: how many.
      hidden_channels: widths of the layers before the last.
      classes: width of the last.
      train_encoder: whether the encoder is trained.
    """

    name: str
    encoder: str | int
    size: tuple[int, int]
    batch: int
    hidden_channels: tuple[int, ...]
    classes: int
    train_encoder: bool = False

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms that it can be trained in."""
        every = ("naive", "as built", "recompute", "sampled")
        return every[:3] if self.train_encoder else every


CASES = (
    Case("CamVid's recipe, encoder trained", "mobilenet_v2", (360, 480), 4, (128, 64), 11, True),
    Case("CamVid's recipe, encoder frozen", "mobilenet_v2", (360, 480), 4, (128, 64), 11),
    Case("stack on MobileNetV2's features", 320, (513, 513), 8, (128, 64), 21),
    Case("stack on ResNet's features", 2048, (513, 513), 4, (512, 256), 21),
)


@dataclasses.dataclass(frozen=True)
class Step:
    """The memory and the time of a training step.

    Attributes:
      memory: bytes at its peak.
      seconds: of time.
    """

    memory: int
    seconds: float


@click.command(cls=Command)
@click.option("--cells", type=click.IntRange(min=1), default=16, show_default=True,
              help="Of every image, in the sampled form.")  # fmt: skip
@options.repeats(5)
def main(cells, repeats):
    """Print memory and time of a training step against the number of iterations."""
    total = len(ITERATIONS) * sum(1 + len(case.forms) for case in CASES)
    with tqdm(total=total, unit="process", disable=None) as bar:
        for case in CASES:
            results = []
            for number in ITERATIONS:
                times = in_a_process(measure_times, case, number, cells, repeats)
                bar.update()
                steps = {}
                for form, seconds in times.items():
                    memory = in_a_process(measure_memory, case, form, number, cells)
                    steps[form] = Step(memory, seconds)
                    bar.update()
                results.append(steps)
            bar.write(f"{report(case, results)}\n")


def measure_times(case: Case, iterations: int, cells: int, repeats: int) -> dict[str, float]:
    """Seconds of a training step in every form of a case.

    Args:
      case: the model.
      iterations: of training.
      cells: of every image, in the sampled form.
      repeats: how often every step is timed.
    """
    steps = [training_step(case, form, iterations, cells) for form in case.forms]
    return dict(zip(case.forms, take_turns(steps, repeats), strict=True))


def measure_memory(case: Case, form: str, iterations: int, cells: int) -> int:
    """Bytes that training steps take at their peak.

    Args:
      case: the model.
      form: one of the case's.
      iterations: of training.
      cells: of every image, in the sampled form.
    """
    # What TensorFlow takes for itself, once and for any step, must not count.
    training_step(dataclasses.replace(case, size=(33, 33), batch=1), form, iterations, 1)()
    step = training_step(case, form, iterations, cells)
    return peak_memory(lambda: [step() for _ in range(3)])


def training_step(case: Case, form: str, iterations: int, cells: int) -> Callable:
    """A function that trains a new model for one step on random images.

    Args:
      case: the model.
      form: one of the case's.
      iterations: of training.
      cells: of every image, in the sampled form.
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (case.batch, *case.size, 3), np.uint8)
    labels = rng.integers(0, case.classes, (case.batch, *case.size), np.uint8)
    if form == "sampled":
        chosen, labels = sample_patches(labels, cells, _STRIDE, (0, 0))
        images = SampledImages(images, chosen)
    model = build_model(case, form, iterations)
    return functools.partial(model.train_on_batch, images, labels)


def build_model(case: Case, form: str, iterations: int) -> rnnseg.RecurrentSegmenter:
    """The compiled model, with random weights.

    Args:
      case: the model.
      form: one of the case's.
      iterations: of training.
    """
    encoder = case.encoder if isinstance(case.encoder, str) else _features_only(case.encoder)
    kinds = {"naive": NaiveSegmenter, "sampled": SampledSegmenter}
    kind = kinds.get(form, rnnseg.RecurrentSegmenter)
    model = kind(
        case.classes,
        encoder=encoder,
        encoder_weights=None,
        output_stride=_STRIDE,
        hidden_channels=case.hidden_channels,
        iterations=iterations,
        recompute=form == "recompute",
        train_encoder=case.train_encoder,
        freeze_batch_norm=True,
    )
    optimizer = keras.optimizers.SGD(1e-4, momentum=0.9)
    model.compile(optimizer=optimizer, loss=rnnseg.SegmentationLoss())
    return model


def _features_only(channels: int) -> keras.Model:
    """Features for next to nothing: a linear function of one image pixel each."""
    inputs = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(channels, 1, strides=_STRIDE)(inputs)
    return keras.Model(inputs, keras.layers.Rescaling(1 / 255)(features))


class NaiveSegmenter(rnnseg.RecurrentSegmenter):
    """The same with nothing computed beforehand."""

    def prepare(self, features):
        """The features themselves."""
        return features

    def _canvases(self, prepared, iterations, canvas, kept):
        iterate = benchmark.NaiveStack(self.stack, prepared)
        return benchmark.run(iterations, prepared, self.stack, iterate)[tf.newaxis]


def report(case: Case, results: Sequence[Mapping[str, Step]]) -> str:
    """The table of a case.

    Args:
      case: what was measured.
      results: what `measure` gave for each of the first `ITERATIONS`.
    """
    height, width = case.size
    numbers = ITERATIONS[: len(results)]
    lines = [
        f"{case.name}: {case.batch} images of {height}x{width}, widths "
        f"{', '.join(map(str, (*case.hidden_channels, case.classes)))}",
        "iterations " + "".join(f"{form:>21s}" for form in case.forms),
    ]
    for number, steps in zip(numbers, results, strict=True):
        cells = [
            f"{step.memory / 1e6:8.0f} MB{1e3 * step.seconds:7.0f} ms" for step in steps.values()
        ]
        lines.append(f"{number:10d} " + "".join(f"{cell:>21s}" for cell in cells))
    lines.append(
        f"memory with {numbers[-1]} over {numbers[0]}: "
        + ", ".join(
            f"{form} {results[-1][form].memory / results[0][form].memory:.2f}"
            for form in case.forms
        )
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
