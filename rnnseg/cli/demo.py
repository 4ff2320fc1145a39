"""`rnnseg demo`: trains a small model in a few minutes."""

import click

from rnnseg.cli.base import Command


@click.command(cls=Command)
@click.option(
    "--out",
    type=click.Path(),
    default="runs/demo",
    show_default=True,
    help="Folder to write to; an earlier demo in it is replaced.",
)
def demo(out):
    """Train and evaluate a small model on drawn shapes, in a few minutes."""
    from rnnseg.cli import demonstration

    demonstration.run(out)
