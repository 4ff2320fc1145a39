"""`rnnseg plan`: chooses a model and a number of iterations for a budget."""

from collections.abc import Sequence

import click

from rnnseg.cli.base import Command
from rnnseg.cli.budgets import budget_of, budget_options
from rnnseg.errors import UserError


@click.command(cls=Command)
@click.argument("models", metavar="MODEL_OR_TFLITE...", nargs=-1, required=True)
@click.option("--split", default="val", show_default=True, help="Split of the scores.")
@budget_options
def plan(
    models: Sequence[str], split: str, gmacs: float | None, milliseconds: float | None
) -> None:
    r"""Choose the best of several models, and its number of iterations, for a budget.

    Reads the scores that `rnnseg evaluate` wrote beside the models, or any of its files of scores
    (.json), and the times that `rnnseg benchmark --save` saved.

    \b
    rnnseg plan runs/small runs/large --milliseconds 50
    rnnseg plan exported/anytime.tflite exported/anytime_int8.tflite --milliseconds 50
    """
    from rnnseg.budgets.planning import make_plan
    from rnnseg.evaluation import report

    budget = budget_of(gmacs=gmacs, milliseconds=milliseconds)
    if budget is None:
        raise UserError("the budget is missing: give --gmacs or --milliseconds")
    click.echo(report.plan_table(make_plan(models, split, budget)))
