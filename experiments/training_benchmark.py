"""Measures the memory and the time of a training step with 1 to 12 iterations.

    python -m experiments.training_benchmark

Runs four forms of the same training, on random images:

- naive: one kernel over features, canvas and state, applied anew at every iteration, with all
  activations stored for the gradient;
- as built: the features' share of the gates is computed once;
- recompute: as built, with checkpointing (`RecurrentSegmenter(recompute=True)`);
- sampled: as built, on some patches of every image (`rnnseg train --sample-patches`); only with a
  frozen encoder.

A step consists of encoder, iterations, loss, gradient and optimizer (momentum). Its memory is the
peak of its first three steps beyond what the process had before: weights and images are not
counted, the graph is. Every memory is measured in a new process. For the time, all forms are in one
process and take turns, `--repeats` times, and medians are printed. Needs Linux.
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
from rnnseg.models.encoder import DEEPEST
from rnnseg.training.sampling import SampledImages, SampledSegmenter, sample_patches

from . import benchmark, options
from .measuring import in_a_process, peak_memory

ITERATIONS = (1, 3, 6, 12)
_STRIDE = 16


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and the images that it trains on.

    Attributes:
      name: the name that is printed.
      encoder: the name of the encoder; or, to measure the stack alone, the number of channels of
        features that cost next to nothing.
      size: (height, width) of the images, in pixels.
      batch: the number of images per step.
      hidden_channels: the widths of the ConvLSTM layers before the last.
      classes: the width of the last layer.
      train_encoder: True if the encoder is trained.
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
        """The forms in which the model can be trained."""
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
      memory: the peak memory, in bytes.
      seconds: the time, in seconds.
    """

    memory: int
    seconds: float


@click.command(cls=Command, renamed={"--cells": "--patches"})
@click.option("--patches", type=click.IntRange(min=1), default=16, show_default=True,
              help="Number of patches per image, in the sampled form.")  # fmt: skip
@options.repeats(5)
def main(patches, repeats):
    """Print memory and time of a training step by number of iterations."""
    total = len(ITERATIONS) * sum(1 + len(case.forms) for case in CASES)
    with tqdm(total=total, unit="process", disable=None) as bar:
        for case in CASES:
            results = []
            for number in ITERATIONS:
                times = in_a_process(measure_times, case, number, patches, repeats)
                bar.update()
                steps = {}
                for form, seconds in times.items():
                    memory = in_a_process(measure_memory, case, form, number, patches)
                    steps[form] = Step(memory, seconds)
                    bar.update()
                results.append(steps)
            bar.write(f"{report(case, results)}\n")


def measure_times(case: Case, iterations: int, patches: int, repeats: int) -> dict[str, float]:
    """Returns the seconds of a training step in every form of a case.

    Args:
      case: the model.
      iterations: the number of iterations.
      patches: the number of patches per image, in the sampled form.
      repeats: the number of rounds.
    """
    steps = [training_step(case, form, iterations, patches) for form in case.forms]
    return dict(zip(case.forms, take_turns(steps, repeats), strict=True))


def measure_memory(case: Case, form: str, iterations: int, patches: int) -> int:
    """Returns the peak memory of training steps in this process, in bytes.

    Args:
      case: the model.
      form: one of the case's forms.
      iterations: the number of iterations.
      patches: the number of patches per image, in the sampled form.
    """
    # The memory that TensorFlow takes for itself, once and for any step, must not count.
    training_step(dataclasses.replace(case, size=(33, 33), batch=1), form, iterations, 1)()
    step = training_step(case, form, iterations, patches)
    return peak_memory(lambda: [step() for _ in range(3)])


def training_step(case: Case, form: str, iterations: int, patches: int) -> Callable:
    """Returns a function that trains a new model for one step on random images.

    Args:
      case: the model.
      form: one of the case's forms.
      iterations: the number of iterations.
      patches: the number of patches per image, in the sampled form.
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (case.batch, *case.size, 3), np.uint8)
    labels = rng.integers(0, case.classes, (case.batch, *case.size), np.uint8)
    if form == "sampled":
        chosen, labels = sample_patches(labels, patches, _STRIDE, (0, 0))
        images = SampledImages(images, chosen)
    model = build_model(case, form, iterations)
    return functools.partial(model.train_on_batch, images, labels)


def build_model(case: Case, form: str, iterations: int) -> rnnseg.RecurrentSegmenter:
    """Builds and compiles a model with random weights.

    Args:
      case: the model.
      form: one of the case's forms.
      iterations: the number of iterations.
    """
    encoder = case.encoder if isinstance(case.encoder, str) else _features_only(case.encoder)
    kinds = {"naive": NaiveSegmenter, "sampled": SampledSegmenter}
    kind = kinds.get(form, rnnseg.RecurrentSegmenter)
    model = kind(
        case.classes,
        encoder=encoder,
        encoder_weights=None,
        output_stride=_STRIDE,
        canvas_stride=_STRIDE,
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
    """Builds an encoder that costs next to nothing: linear in one image pixel per feature pixel."""
    inputs = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(channels, 1, strides=_STRIDE)(inputs)
    return keras.Model(inputs, keras.layers.Rescaling(1 / 255)(features))


class NaiveSegmenter(rnnseg.RecurrentSegmenter):
    """A `RecurrentSegmenter` in which nothing is computed once per image."""

    def prepare(self, features, prepared=None):
        """Returns the deepest features themselves."""
        return features[DEEPEST]

    def _canvases(self, prepared, iterations, canvas, kept):
        (prepared,) = prepared
        iterate = benchmark.NaiveStack(self.stack, prepared)
        return benchmark.run(iterations, prepared, self.stack, iterate)[tf.newaxis]


def report(case: Case, results: Sequence[Mapping[str, Step]]) -> str:
    """Returns the table of a case.

    Args:
      case: the model.
      results: the measurements of every form, for each of the first `ITERATIONS`.
    """
    height, width = case.size
    numbers = ITERATIONS[: len(results)]
    lines = [
        f"{case.name}: {case.batch} images of {height}x{width}, widths "
        f"{', '.join(map(str, (*case.hidden_channels, case.classes)))}",
        "iterations " + "".join(f"{form:>21s}" for form in case.forms),
    ]
    for number, steps in zip(numbers, results, strict=True):
        entries = [
            f"{step.memory / 1e6:8.0f} MB{1e3 * step.seconds:7.0f} ms" for step in steps.values()
        ]
        lines.append(f"{number:10d} " + "".join(f"{entry:>21s}" for entry in entries))
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
