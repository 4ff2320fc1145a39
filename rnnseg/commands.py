"""How all commands end when something is wrong that the user can mend: one line, status 2."""

import sys
from typing import Any

import click

from rnnseg.errors import UserError


class _OneLine:
    """Prints `error: …` and no traceback for mistakes in the command line, the data or a path."""

    def __init__(self, *args, help: str | None = None, **kwargs):
        # Raw docstrings spell out the character by which click knows lines to be left as they are.
        super().__init__(*args, help=help and help.replace("\\b", "\b"), **kwargs)

    def main(self, *args, **kwargs) -> Any:
        """Runs the command and ends the process with its status."""
        kwargs["standalone_mode"] = False  # click would print its own errors in several lines
        try:
            status = super().main(*args, **kwargs)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(2)
        except click.Abort:
            click.echo("interrupted", err=True)
            sys.exit(130)
        except click.ClickException as error:
            _fail(error.format_message())
        except UserError as error:
            _fail(str(error))
        except OSError as error:
            # A full disk, a folder that cannot be written, a file in the place of a folder.
            _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str):
    click.echo(f"error: {message}", err=True)
    sys.exit(2)


class Command(_OneLine, click.Command):
    """A command of its own."""


class Group(_OneLine, click.Group):
    """A command with subcommands."""

    command_class = Command
