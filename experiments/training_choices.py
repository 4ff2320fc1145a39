r"""The training choices that the paper reports, in small runs.

    python -m experiments.training_choices --recipe camvid --data data/camvid \
        --weights camvid.weights.h5 --seeds 1,2 --out runs/choices

Trains every one of `CHOICES` with every seed, on the same frozen encoder, images and schedule,
evaluates each after 1 to 12 iterations, and prints one table. Each has a folder of its own in
`--out`; what is there already is not trained again, and a killed training goes on.
`training_choices.csv` and `training_choices.png` in `--out` hold the same.

The paper (section 3) found:

- A loss at the third iteration or earlier makes early iterations better, the best segmentation
  worse, and a curve that does not rise all the way; training goes about as well.
- A learned initial state has the lower training error and generalises worse.
- Kernels larger than 1x1, dense or dilated, are worse.

Found on CamVid, two seeds (`docs/experiments/training.md` has the figures):

- A loss at the third or the second iteration does bend the curve, which falls from there on, and
  its best is several points below that of a loss at the sixth; but early iterations are worse, too,
  not better. A loss at all six keeps the curve rising, two points lower.
- A learned start has the paper's signs, a slightly lower training loss and lower scores, but by
  less than seeds differ; only the first iteration is clearly worse.
- Larger kernels are clearly worse; their training loss is higher as well, so these few epochs do
  not tell bad generalisation from slow training.
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
from rnnseg.training import config as configuration

from . import options
from .tables import save_csv

# What each changes; the first is what the paper settled on.
CHOICES: Mapping[str, Mapping[str, object]] = {
    "loss at 6": {},
    "loss at 3": {"iterations": 3},
    "loss at 2": {"iterations": 2},
    "loss at 1 to 6": {"iteration_weights": (1.0,) * 6},
    "learned start": {"learned_start": True},
    "3x3 kernels": {"kernel_size": 3},
    "3x3 kernels, 2 apart": {"kernel_size": 3, "dilation_rate": 2},
}
# The panels of the figure: title, and the choices in it.
_PANELS = (
    ("Where the loss is", ("loss at 6", "loss at 3", "loss at 2", "loss at 1 to 6")),
    (
        "Start and kernels",
        ("loss at 6", "learned start", "3x3 kernels", "3x3 kernels, 2 apart"),
    ),
)
# Makes a run of any recipe small: the stack alone on frozen features, few steps, small crops. Not
# `sampled_patches`, which larger kernels cannot do; and plain cross-entropy, as in the paper.
SMALL: Mapping[str, object] = {
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
      choice: of `CHOICES`.
      seed: of the run.
      training_loss: mean of the last epoch.
      trained_iterations: of the run.
      iterations: of this point.
      miou: of the classes that occur in the validation split, in percent.
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
              help="Of the runs; every choice is trained with each.")  # fmt: skip
def main(recipe, data, weights, seeds, out):
    """Train and evaluate the paper's training choices, and compare their curves."""
    values = configuration.load_recipe(recipe) | SMALL | {"data": data}
    if weights:
        values["encoder_weights"] = weights
    rows = []
    for seed in seeds:
        for choice, changes in CHOICES.items():
            config = configuration.TrainingConfig(**(values | {"seed": seed} | dict(changes)))
            rows += measure(choice, config, out / folder_name(choice, seed))
    save_csv(out / "training_choices.csv", rows)
    save_plot(out / "training_choices.png", rows)
    print(f"\n{table(rows)}\n\nwrote {out}/training_choices.csv and {out}/training_choices.png")


def folder_name(choice: str, seed: int) -> str:
    """Returns the name of a run's folder."""
    return f"{choice.replace(', ', '_').replace(' ', '_')}_seed{seed}"


def measure(
    choice: str, config: configuration.TrainingConfig, folder: str | os.PathLike
) -> list[Row]:
    """Trains a run, unless it is there, and evaluates its last model.

    Args:
      choice: its name.
      config: its training.
      folder: of the run.
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
    """The mIoU by choice, `(seeds, iterations)`, of rows in the order of `measure`."""
    runs = {}
    for row in rows:
        runs.setdefault(row.choice, {}).setdefault(row.seed, []).append(row.miou)
    return {choice: np.array(list(by_seed.values())) for choice, by_seed in runs.items()}


def table(rows: Sequence[Row]) -> str:
    """The means over the seeds, as a table of Markdown."""
    numbers = sorted({row.iterations for row in rows})
    shown = [number for number in numbers if number in _SHOWN]
    titles = ["choice", *(f"n = {number}" for number in shown), "best", "at n", "seeds apart"]
    lines = [f"| {' | '.join([*titles, 'training loss'])} |", "| --- " * (len(titles) + 1) + "|"]
    for choice, curve in curves(rows).items():
        mean = curve.mean(axis=0)
        cells = [f"{mean[numbers.index(number)]:.2f}" for number in shown]
        cells += [f"{mean.max():.2f}", str(numbers[mean.argmax()])]
        cells.append(f"{np.ptp(curve, axis=0).max():.2f}")
        loss = statistics.fmean({row.seed: row.training_loss for row in rows
                                 if row.choice == choice}.values())  # fmt: skip
        lines.append(f"| {' | '.join([choice, *cells])} | {loss:.4f} |")
    return "\n".join(lines)


def save_plot(path: str | os.PathLike, rows: Sequence[Row]) -> None:
    """Draws mIoU against iterations: means over the seeds as lines, the seeds' range as bands."""
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
