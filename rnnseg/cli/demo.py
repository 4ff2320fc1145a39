"""`rnnseg demo`: segments photographs with the default preset, or trains a small model."""

import click

from rnnseg.cli.base import Command


@click.command(cls=Command)
@click.option(
    "--train",
    "trains",
    is_flag=True,
    help="Train and evaluate a small model on drawn shapes instead, in a few minutes.",
)
@click.option(
    "--out",
    type=click.Path(),
    default="runs/demo",
    show_default=True,
    help="Folder to write to; an earlier demo in it is replaced.",
)
def demo(trains: bool, out: str) -> None:
    r"""Segment three photographs and a short clip with the default preset.

    For every photograph it writes a strip over several operating points, numbers of iterations at
    scales of the image, and an overlay of the best one; it measures their milliseconds here. The
    clip needs the extra video.

    \b
    rnnseg demo
    rnnseg demo --train --out runs/shapes
    """
    if trains:
        from rnnseg.demos import drawn

        drawn.run(out)
    else:
        from rnnseg.demos import photographs

        photographs.run(out)
