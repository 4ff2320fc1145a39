r"""Fine-tuning a pretrained model, beside training the same model from ImageNet weights.

    python -m experiments.fine_tuning --recipe camvid --data data/camvid --out runs/fine_tuning \
        --weights mobilenet_v2_imagenet.weights.h5 --epochs 5,20 --scale 0.5

Trains the architecture of `--preset` twice with the options of the recipe: from the weights of the
preset, whose last layer is made anew for other classes, and with an encoder that starts from the
weights of `--weights`, for the two numbers of `--epochs`. Then it evaluates both last models, and
prints the mean IoU by number of iterations; the table is also written to `fine_tuning.csv` in
`--out`. With `--scale 0.5` training and evaluation see images of half the size, which takes a
quarter of the time.

Trainings and evaluations are kept (`experiments.kept_runs`), so that a second call only does what
is missing.
"""

from collections.abc import Mapping
from typing import Any

import click

from rnnseg.cli.base import Command
from rnnseg.cli.parameters import Numbers
from rnnseg.files import check_writable
from rnnseg.pretrained.names import DEFAULT
from rnnseg.training.config import TrainingConfig

from . import options
from .kept_runs import KeptRun
from .runs import recipe_options
from .tables import iteration_titles, markdown_table, save_csv

ITERATIONS = (1, 2, 4, 6, 12)


@click.command(cls=Command)
@options.training
@click.option("--preset", default=DEFAULT, show_default=True, help="Preset to start from.")
@click.option(
    "--epochs",
    type=Numbers("PRETRAINED,OTHER", int, ",", 2, least=1),
    default="5,20",
    show_default=True,
    help="Epochs from the preset, and epochs from the weights of the encoder.",
)
@click.option(
    "--scale",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Scale of the images in training and evaluation.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed.")
def main(recipe, data, weights, out, preset, epochs, scale, seed):
    """Fine-tune a preset, and train the same model from the weights of its encoder."""
    check_writable(out / "fine_tuning.csv")
    values = recipe_options(recipe, data, weights) | {"seed": seed}
    rows = []
    for name, start, number in (
        (preset, {"init": preset, "encoder_weights": None}, epochs[0]),
        (values["encoder_weights"], {}, epochs[1]),
    ):
        config = scaled_config(values | model_values(preset) | start, number, scale)
        folder = "preset" if "init" in start else "encoder"
        run = KeptRun(config, out / f"{folder}_{number}_epochs_seed{seed}", ITERATIONS)
        scores, _ = run.scores(config.output_stride, scale)
        run.release()
        rows.append(
            {"start": name, "epochs": number}
            | {f"n = {each.iterations}": f"{100 * each.miou:.1f}" for each in scores}
        )
    titles = ["start", "epochs", *iteration_titles(ITERATIONS)]
    print(f"\n{markdown_table(titles, [list(each.values()) for each in rows])}\n")
    save_csv(out / "fine_tuning.csv", rows)
    print(f"wrote {out / 'fine_tuning.csv'}")


def model_values(preset: str) -> dict[str, Any]:
    """Returns the options of a preset's architecture, without its weights."""
    from rnnseg.training.start import options_of

    values = options_of(preset)
    for name in ("encoder_weights", "l2"):
        values.pop(name, None)
    return values


def scaled_config(values: Mapping[str, Any], epochs: int, scale: float) -> TrainingConfig:
    """Returns the configuration of a training on scaled images.

    Args:
      values: the options for images of their own size.
      epochs: the number of epochs; the last model is validated alone.
      scale: the scale of the images.
    """
    config = TrainingConfig(**values)
    changes = dict(
        crop=tuple(max(1, round(scale * side)) for side in config.crop),
        scale=tuple(scale * each for each in config.scale),
        epochs=epochs,
        validate_every=epochs,
    )
    return TrainingConfig(**values | changes)


if __name__ == "__main__":
    main()
