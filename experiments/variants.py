r"""Variants of the recurrence, ranked by a short protocol, and other systems.

    python -m experiments.variants --recipe camvid --data data/camvid --out runs/variants

Trains every variant of `VARIANTS`, or those of `--variants`, on images of half the recipe's size
for `--epochs` epochs, evaluates its last model on images of half the size after 1 to 12 iterations,
and prints one line per variant: the mean IoU by number of iterations, and the multiply-adds after
the first, the sixth and the twelfth. The table is also written to `variants.csv` in `--out`.

The other systems are those of `experiments.comparison`, with the options that they have there; each
is also there with class weights.

On two cores a variant of CamVid takes four minutes. The ranking is a hint for what is worth a full
training: with one seed, differences below a point decide nothing. Trainings and evaluations are
kept (`experiments.kept_runs`), so that a second call only does what is missing.

`docs/experiments/comparison.md` has results.
"""

from collections.abc import Mapping, Sequence

import click

from rnnseg.cli.base import Command
from rnnseg.cli.parameters import Numbers
from rnnseg.files import check_writable
from rnnseg.training.config import TrainingConfig, settings_for

from . import options
from .comparison import SYSTEMS
from .comparison_report import mean_and_spread
from .kept_runs import KeptRun, Score
from .runs import recipe_options
from .tables import iteration_titles, markdown_table, save_csv

# Half of the image's sides.
SCALE = 0.5
ITERATIONS = (1, 2, 3, 4, 6, 8, 12)
_COSTS = (1, 6, 12)

_TWO_DEPTHS = {"skip_layers": ("block_5_add",)}
_LAST_ONLY = {"iterations": 6, "iteration_weights": (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)}
_EARLY = {"early_iterations": (2,), "iterations": 8}
_WEIGHTS = {"iteration_weights": (0.0, 0.2, 0.0, 0.3, 0.0, 0.0, 0.0, 0.5)}
_TWELVE = {
    "early_iterations": (2,),
    "increment_scale": 3.0,
    "iterations": 12,
    "iteration_weights": (0.0, 0.15, 0.0, 0.2, 0.0, 0.0, 0.0, 0.3, 0.0, 0.0, 0.0, 0.35),
}
_BASE = {
    "hidden_channels": (64, 32),
    "canvas_stride": 8,
    "skip_layers": ("block_5_add", "block_12_add"),
    "early_iterations": (),
    "increment_scale": 0.0,
    "context_channels": 0,
    "class_weights": None,
    **_LAST_ONLY,
}
_OTHERS = {name: options for name, options in SYSTEMS.items() if "model" in options}

# The options of every variant that differ from `_BASE`; layers are those of MobileNetV2.
VARIANTS: Mapping[str, Mapping[str, object]] = {
    "paper's canvas": {"canvas_stride": 16, "hidden_channels": (128, 64), "skip_layers": ()},
    "two depths": _TWO_DEPTHS,
    "three depths": {},
    "three depths, loss at 2 and 6": {"iteration_weights": (0.0, 0.3, 0.0, 0.0, 0.0, 0.7)},
    "scale 2": {"increment_scale": 2.0},
    "scale 2, context": {"increment_scale": 2.0, "context_channels": 64},
    "scale 2, canvas at stride 4": {
        "increment_scale": 2.0,
        "canvas_stride": 4,
        "hidden_channels": (32, 16),
        "skip_layers": ("block_2_add", "block_5_add", "block_12_add"),
    },
    "early (1, 1), loss at 1, 2 and 6": {
        "early_iterations": (1, 1),
        "iteration_weights": (0.1, 0.2, 0.0, 0.0, 0.0, 0.7),
    },
    "early (2), loss at 2 and 6": {
        "early_iterations": (2,),
        "iteration_weights": (0.0, 0.3, 0.0, 0.0, 0.0, 0.7),
    },
    "early (2), scale 2, loss at 2 and 6": {
        "early_iterations": (2,),
        "increment_scale": 2.0,
        "iteration_weights": (0.0, 0.3, 0.0, 0.0, 0.0, 0.7),
    },
    "early (2), scale 2, loss at 2, 6 and 12": {
        "early_iterations": (2,),
        "increment_scale": 2.0,
        "iterations": 12,
        "iteration_weights": (0.0, 0.3, 0.0, 0.0, 0.0, 0.3, *(0.0,) * 5, 0.4),
    },
    "early (1, 1), scale 2, loss at 1, 2, 6 and 12": {
        "early_iterations": (1, 1),
        "increment_scale": 2.0,
        "iterations": 12,
        "iteration_weights": (0.1, 0.2, 0.0, 0.0, 0.0, 0.3, *(0.0,) * 5, 0.4),
    },
    "early (2), scale 3, loss at 2, 4 and 8": {**_EARLY, **_WEIGHTS, "increment_scale": 3.0},
    "early (1), scale 4, loss at 1, 4 and 8": {
        **_EARLY,
        "early_iterations": (1,),
        "increment_scale": 4.0,
        "iteration_weights": (0.2, 0.0, 0.0, 0.3, 0.0, 0.0, 0.0, 0.5),
    },
    "scale 3, loss at 2, 4 and 8": {"iterations": 8, **_WEIGHTS, "increment_scale": 3.0},
    "early (2), scale 3, loss at 2, 4, 8 and 12": _TWELVE,
    "early (2), loss to 12, smaller training images": {**_TWELVE, "scale": (0.5, 1.75)},
    "early (2), loss to 12, no label smoothing": {**_TWELVE, "label_smoothing": 0.0},
    "early (2), loss to 12, layers (96, 48)": {**_TWELVE, "hidden_channels": (96, 48)},
    "early (2), loss to 12, canvas at stride 4": {
        **_TWELVE,
        "canvas_stride": 4,
        "hidden_channels": (32, 16),
        "skip_layers": ("block_2_add", "block_5_add", "block_12_add"),
    },
    "early (2), loss to 12, class weights": {**_TWELVE, "class_weights": "auto"},
    **{
        f"early (2), loss to 12, class weights, {name}": {
            **_TWELVE,
            "class_weights": "auto",
            **options,
        }
        for name, options in {
            "EMA 0.99": {"ema": 0.99},
            "EMA 0.998": {"ema": 0.998},
            "augment standard": {"augment": "standard"},
            "augment strong": {"augment": "strong"},
            "balanced crops": {"balanced_crops": True},
        }.items()
    },
    "early (2), loss to 12, boundary weight 3": {**_TWELVE, "boundary_weight": 3.0},
    "early (6), loss at 2, 4, 6, 8 and 12, class weights": {
        **_TWELVE,
        "early_iterations": (6,),
        "iteration_weights": (0.0, 0.1, 0.0, 0.1, 0.0, 0.2, 0.0, 0.25, 0.0, 0.0, 0.0, 0.35),
        "class_weights": "auto",
    },
    "encoder up to block_12, loss to 12, class weights": {
        **_TWELVE,
        "encoder_layer": "block_12_add",
        "skip_layers": ("block_5_add",),
        "early_iterations": (),
        "class_weights": "auto",
    },
    "early (2), loss to 12, class and boundary weights": {
        **_TWELVE,
        "class_weights": "auto",
        "boundary_weight": 3.0,
    },
    "early (2), loss to 12, half of the pixels": {**_TWELVE, "hard_pixels": 0.5},
    "early (2), loss to 12, Dice": {**_TWELVE, "loss": "cross_entropy_dice"},
    "one iteration, scale 3": {
        "iterations": 1,
        "iteration_weights": (1.0,),
        "increment_scale": 3.0,
    },
    "LR-ASPP 128, class and boundary weights": {
        **SYSTEMS["LR-ASPP 128"],
        "class_weights": "auto",
        "boundary_weight": 3.0,
    },
    **_OTHERS,
    **{
        f"{name}, class weights": {**options, "class_weights": "auto"}
        for name, options in _OTHERS.items()
    },
}


@click.command(cls=Command)
@options.training
@click.option(
    "--variants",
    "names",
    metavar="NAME;NAME;...",
    help=f"Variants to train.  [default: all of {'; '.join(VARIANTS)}]",
)
@click.option(
    "--epochs", type=click.IntRange(min=1), default=12, show_default=True, help="Epochs of each."
)
@click.option(
    "--seeds",
    type=Numbers("N,N,...", int, ",", least=0),
    default="1",
    show_default=True,
    help="Seeds; every variant is trained with each of them.",
)
def main(recipe, data, weights, names, epochs, seeds, out):
    """Rank variants of the recurrence by a short training on half-size images."""
    check_writable(out / "variants.csv")
    values = recipe_options(recipe, data, weights) | {"epochs": epochs, "validate_every": epochs}
    seeds = tuple(dict.fromkeys(seeds))
    rows = []
    for name in options.chosen_names(names, VARIANTS, "--variants", ";"):
        scores = []
        for seed in seeds:
            config = short_config(name, values | {"seed": seed})
            run = KeptRun(config, out / f"{folder_name(name)}_seed{seed}", ITERATIONS)
            scores.append(run.scores(config.output_stride, SCALE)[0])
            run.release()
        rows.append(row(name, scores))
    print(f"\n{markdown_table(titles(), [list(each.values()) for each in rows])}\n")
    save_csv(out / "variants.csv", rows)
    print(f"wrote {out / 'variants.csv'}")


def short_config(variant: str, values: Mapping[str, object]) -> TrainingConfig:
    """Returns the configuration of a variant's training on half-size images.

    Args:
      variant: a name of `VARIANTS`.
      values: the options of the recipe, with data, seed and epochs.
    """
    changes = VARIANTS[variant]
    whole = settings_for(values | _BASE, changes.get("model")) | changes
    config = TrainingConfig(**whole)
    half = dict(
        crop=tuple(max(1, round(SCALE * side)) for side in config.crop),
        scale=tuple(SCALE * each for each in config.scale),
    )
    return TrainingConfig(**(whole | half))


def folder_name(variant: str) -> str:
    """Returns the beginning of the names of the folders of a variant's runs."""
    variant = variant.replace("+", " plus ")
    return "_".join("".join(each if each.isalnum() else " " for each in variant).split())


def titles() -> list[str]:
    """Returns the titles of the table's columns."""
    return ["variant", *iteration_titles(ITERATIONS), *(f"G at {n}" for n in _COSTS)]


def row(name: str, scores: Sequence[Sequence[Score]]) -> dict[str, str]:
    """Returns a line of the table, by the titles of its columns.

    Args:
      name: the name of the variant.
      scores: for each seed the scores by number of iterations.
    """
    entries = dict.fromkeys(titles(), "")
    entries["variant"] = name
    for same in zip(*scores, strict=True):
        mean, spread = mean_and_spread([100 * each.miou for each in same])
        shown = f"{mean:.1f}" if len(same) == 1 else f"{mean:.1f} ± {spread:.1f}"
        entries[f"n = {same[0].iterations}"] = shown
    for each in scores[0]:
        if each.iterations in _COSTS:
            entries[f"G at {each.iterations}"] = f"{each.multiply_adds / 1e9:.3f}"
    return entries


if __name__ == "__main__":
    main()
