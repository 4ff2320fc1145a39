r"""Compares the training choices that the paper reports, in small runs.

    python -m experiments.training_choices --recipe camvid --data data/camvid \
        --weights camvid.weights.h5 --seeds 1,2 --out runs/choices

Trains every one of `CHOICES` with every seed, on the same frozen encoder, images and schedule,
evaluates each run after 1 to 12 iterations, and prints one table. Each run has a folder in `--out`;
a finished training is not run again, and an interrupted one is resumed. `training_choices.csv` and
`training_choices.png` in `--out` hold the same numbers.

The paper (section 3) found:

- A loss at the third iteration or earlier makes early iterations better, the best segmentation
  worse, and a curve that does not rise all the way; training goes about as well.
- A learned initial state has the lower training error and generalises worse.
- Kernels larger than 1x1, dense or dilated, are worse.

Results on CamVid with two seeds (`docs/experiments/training.md` has the figures):

- A loss at the third or the second iteration does bend the curve: it falls from there on, and its
  best is several points below the best of a loss at the sixth. But early iterations are worse, too,
  not better. With a loss at all six iterations the curve keeps rising, two points lower.
- A learned initial state has the paper's signs, a slightly lower training loss and lower scores,
  but seeds differ by more; only the first iteration is clearly worse.
- Larger kernels are clearly worse. Their training loss is higher as well, so these few epochs
  cannot tell bad generalisation from slow training.
"""

import dataclasses
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence

import click
import numpy as np

from rnnseg import visualize
from rnnseg.cli.base import Command
from rnnseg.cli.parameters import Numbers
from rnnseg.evaluation import metrics
from rnnseg.models.options import paper_form
from rnnseg.training import config as configuration

from . import options
from .runs import recipe_options
from .tables import ResultFiles, iteration_titles, markdown_table

# The options that each choice changes; the first is the paper's final choice.
CHOICES: Mapping[str, Mapping[str, object]] = {
    "loss at 6": {},
    "loss at 3": {"iterations": 3},
    "loss at 2": {"iterations": 2},
    "loss at 1 to 6": {"iteration_weights": (1.0,) * 6},
    "learned start": {"learned_start": True},
    "3x3 kernels": {"kernel_size": 3},
    "3x3 kernels, 2 apart": {"kernel_size": 3, "dilation_rate": 2},
}
# The panels of the figure: their titles and choices.
_PANELS = (
    ("Where the loss is", ("loss at 6", "loss at 3", "loss at 2", "loss at 1 to 6")),
    (
        "Start and kernels",
        ("loss at 6", "learned start", "3x3 kernels", "3x3 kernels, 2 apart"),
    ),
)
# Makes a run of any recipe small: the stack alone on frozen features, few steps, small crops. The
# canvas and the plain cross-entropy are the paper's, and there are no `sampled_patches`, which need
# kernels of 1.
SMALL: Mapping[str, object] = {
    **paper_form(16),
    "hidden_channels": (128, 64),
    "iterations": 6,
    "class_weights": None,
    "train_encoder": False,
    "crop": (193, 257),
    "epochs": 4,
    "validate_every": 4,
    "learning_rate": 1e-3,
    "label_smoothing": 0.0,
}
ITERATIONS = tuple(range(1, 13))
_SHOWN = (1, 2, 3, 6, 9, 12)


@dataclasses.dataclass(frozen=True)
class Row:
    """One point of one run.

    Attributes:
      choice: a name in `CHOICES`.
      seed: the seed of the run.
      training_loss: the mean loss of the last epoch.
      trained_iterations: the number of iterations in training.
      iterations: the number of iterations of this point.
      miou: the mIoU of the classes that occur in the validation split, in percent.
    """

    choice: str
    seed: int
    training_loss: float
    trained_iterations: int
    iterations: int
    miou: float


@click.command(cls=Command)
@options.training
@click.option("--seeds", type=Numbers("N,N,...", int, ","), default="1,2", show_default=True,
              help="Seeds; every choice is trained with each of them.")  # fmt: skip
def main(recipe, data, weights, seeds, out):
    """Train and evaluate the paper's training choices, and compare their curves."""
    values = recipe_options(recipe, data, weights) | SMALL
    files = ResultFiles(out / "training_choices.csv", out / "training_choices.png")
    rows = []
    for seed in seeds:
        for choice, changes in CHOICES.items():
            config = configuration.TrainingConfig(**(values | {"seed": seed} | dict(changes)))
            rows += measure(choice, config, out / folder_name(choice, seed))
    print(f"\n{table(rows)}\n")
    files.save(rows, lambda path: save_plot(path, rows))


def folder_name(choice: str, seed: int) -> str:
    """Returns the name of a run's folder."""
    return f"{choice.replace(', ', '_').replace(' ', '_')}_seed{seed}"


def measure(
    choice: str, config: configuration.TrainingConfig, folder: str | os.PathLike
) -> list[Row]:
    """Trains a run, unless it is trained already, and evaluates its last model.

    Args:
      choice: the name of the choice.
      config: the configuration of the training.
      folder: the folder of the run.
    """
    from rnnseg.data import open_source
    from rnnseg.evaluation.evaluator import Evaluator
    from rnnseg.models.loading import load_model
    from rnnseg.training.loop import train

    print(f"\n{choice}, seed {config.seed}", flush=True)
    run = train(config, folder, resume=True)
    evaluator = Evaluator(load_model(run.last), ITERATIONS)
    result = evaluator(open_source(config.data), config.val_split)
    loss = float(run.read_history()[-1]["loss"])
    return [
        Row(choice, config.seed, loss, config.iterations, iterations, 100 * float(miou))
        for iterations, miou in zip(
            result.iterations, metrics.mean_iou_occurring(result.confusion), strict=True
        )
    ]


def curves(rows: Iterable[Row]) -> dict[str, np.ndarray]:
    """Returns the mIoU by choice, `(seeds, iterations)`, of rows in the order of `measure`."""
    runs = {}
    for row in rows:
        runs.setdefault(row.choice, {}).setdefault(row.seed, []).append(row.miou)
    return {choice: np.array(list(by_seed.values())) for choice, by_seed in runs.items()}


def table(rows: Sequence[Row]) -> str:
    """Returns the means over the seeds as a Markdown table."""
    numbers = sorted({row.iterations for row in rows})
    shown = [number for number in numbers if number in _SHOWN]
    entries = []
    for choice, curve in curves(rows).items():
        mean = curve.mean(axis=0)
        losses = {row.seed: row.training_loss for row in rows if row.choice == choice}
        entries.append(
            [
                choice,
                *(f"{mean[numbers.index(number)]:.2f}" for number in shown),
                f"{mean.max():.2f}",
                numbers[mean.argmax()],
                f"{np.ptp(curve, axis=0).max():.2f}",
                f"{statistics.fmean(losses.values()):.4f}",
            ]
        )
    titles = ["choice", *iteration_titles(shown), "best", "at n", "seeds apart", "training loss"]
    return markdown_table(titles, entries)


def save_plot(path: str | os.PathLike, rows: Sequence[Row]) -> None:
    """Draws mIoU by iteration: means over the seeds as lines, the range of the seeds as bands."""
    numbers = sorted({row.iterations for row in rows})
    trained = {row.choice: row.trained_iterations for row in rows}
    found = curves(rows)
    figure = visualize.new_figure((11, 4.8))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (title, choices) in zip(panels, _PANELS, strict=True):
        drawn = [choice for choice in choices if choice in found]
        for choice, color in zip(drawn, visualize.LINE_COLORS, strict=False):
            curve = found[choice]
            mean = curve.mean(axis=0)
            axes.plot(numbers, mean, "o-", color=color, markersize=4, label=choice)
            axes.fill_between(numbers, curve.min(axis=0), curve.max(axis=0), color=color,
                              alpha=0.15, linewidth=0)  # fmt: skip
            if trained[choice] in numbers:
                axes.plot(trained[choice], mean[numbers.index(trained[choice])], "o", color=color,
                          markersize=11, markerfacecolor="none")  # fmt: skip
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("iterations (ring: as many as in training)")
        axes.set_xticks(numbers)
        axes.grid(alpha=0.3)
        if drawn:
            axes.legend(frameon=False)
    panels[0].set_ylabel("mIoU of the classes that occur (%)")
    visualize.save_figure(path, figure)


if __name__ == "__main__":
    main()
