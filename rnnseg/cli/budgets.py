"""The options by which commands take a budget."""

from collections.abc import Callable
from typing import Any

import click

from rnnseg.budgets.budget import Budget

_LIMIT = click.FloatRange(0, 10**9, min_open=True)


def budget_options(command: Callable) -> Callable:
    """Adds the options that set a budget, of which one at most is given."""
    for option, help_text in (
        ("--milliseconds", "Time budget per image, in milliseconds."),
        ("--gmacs", "Multiply-add budget per image, in 10^9."),
    ):
        command = click.option(option, type=_LIMIT, help=help_text)(command)
    return command


def budget_of(**options: Any) -> Budget | None:
    """Returns the budget that options set; None if none of them is given."""
    given = {name: value for name, value in options.items() if value is not None}
    return Budget(**given) if given else None
