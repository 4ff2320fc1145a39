"""`rnnseg train`: trains a model."""

import dataclasses
import shlex
import warnings
from typing import Any

import click

from rnnseg.cli.base import Command
from rnnseg.cli.derived import options_of, refuse_options_of_others
from rnnseg.errors import UserError
from rnnseg.training import config as configuration
from rnnseg.training import runs


@click.command(
    cls=Command, renamed={"--hidden": "--hidden-channels", "--sample-cells": "--sample-patches"}
)
@click.option("--out", required=True, type=click.Path(), help="Folder of the run.")
@click.option(
    "--recipe",
    help="Settings for a data set: camvid, voc, or a Python file. What it says of the form of its "
    "own model does not hold for another --model.",
)
@click.option("--resume", is_flag=True, help="Continue the run in --out, with its options.")
@options_of(configuration.TrainingConfig)
def train(out: str, recipe: str | None, resume: bool, **options: Any) -> None:
    r"""Train a model.

    \b
    rnnseg train --recipe camvid --data data/camvid --out runs/camvid
    rnnseg train --init runs/camvid --data data/mine --out runs/mine
    rnnseg train --out runs/camvid --resume
    """
    values = {}
    if resume and runs.Run(out).config.is_file():
        # What is given beside it is checked against it below.
        values = dataclasses.asdict(runs.Run(out).read_config())
    given = {field: value for field, value in options.items() if value is not None}
    set_by_recipe = _read_recipe(recipe) if recipe else {}
    init = (set_by_recipe | given).get("init")
    if init is not None and not values:
        from rnnseg.training import start, workers

        workers.own_share()  # TensorFlow connects workers before it loads a model, or not at all
        values = start.options_of(init)
    model = (values | set_by_recipe | given).get("model")
    values |= configuration.settings_for(set_by_recipe, model)
    values |= given
    if "data" not in values:
        raise UserError(
            '--data is missing: give a folder that rnnseg prepare built, tfds:NAME, or "shapes"'
        )
    for option in ("encoder_weights", "class_weights"):
        if values.get(option) == "none":
            values[option] = None
    config = configuration.TrainingConfig(**values)
    # A recipe may be for several models, and a run names all options; the user means the one.
    refuse_options_of_others(config.model, given)

    from rnnseg.training import loop, reporting, workers

    run = loop.train(config, out, resume)
    if not workers.own_share().is_first:
        return
    click.echo(f"wrote {reporting.write_report(run)}")
    following = ["rnnseg", "evaluate", run.folder, "--data", config.data]
    click.echo(f"\nnext: {shlex.join([*map(str, following), '--split', config.val_split])}")


def _read_recipe(recipe: str) -> dict:
    """Returns the settings of a recipe, and prints a line for every warning, as of old names."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", "recipe ", DeprecationWarning)
        values = configuration.load_recipe(recipe)
    for warning in caught:
        click.echo(f"warning: {warning.message}", err=True)
    return values
