"""The options by which commands segment large images with little memory."""

from collections.abc import Callable

import click


def large_image_options(command: Callable) -> Callable:
    """Adds the options that divide large images into tiles, or make them smaller."""
    for option, help_text in (
        (
            "--max-size",
            "Largest side at which images are segmented, in pixels; larger ones are made smaller, "
            "and class maps keep the size of the image.",
        ),
        (
            "--tile",
            "Side of the tiles in which larger images are computed, in pixels; 0 for none.  "
            "[default: 1024 for images of more than 2 million pixels]",
        ),
    ):
        command = click.option(option, type=click.IntRange(0, 2**20), help=help_text)(command)
    return command
