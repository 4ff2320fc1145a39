"""`rnnseg inspect`: checks a data set."""

from collections.abc import Sequence

import click

from rnnseg.cli.base import Command


@click.command(cls=Command)
@click.argument("data")
@click.option(
    "--split", "splits", multiple=True, help="Check this split only; can be given several times."
)
@click.option(
    "--sheet",
    type=click.Path(),
    default="inspect.png",
    show_default=True,
    help="Image of overlays to write.",
)
def inspect(data: str, splits: Sequence[str], sheet: str) -> None:
    r"""Check a data set before training: sizes, labels, and mistakes in them.

    \b
    rnnseg inspect data/camvid
    """
    from rnnseg.data import inspection, open_source

    inspection.inspect(open_source(data), splits, sheet)
