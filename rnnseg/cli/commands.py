"""What commands share: options of several numbers, and how they end when something is wrong."""

import re
import sys
from typing import Any

import click

from rnnseg.errors import UserError

MOST_ITERATIONS = 1000  # far beyond where any canvas has settled


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


class IterationNumbers(click.ParamType):
    """Numbers of iterations, such as 6, 1-12 or 1,2,6, as a rising tuple."""

    name = "N-M"

    def convert(self, value, param, ctx):
        """Reads what the user gave."""
        numbers = []
        for part in str(value).split(","):
            match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
            if not match:
                self.fail(f"{value!r}: expected numbers such as 6, 1-12 or 1,2,6", param, ctx)
            first, last = int(match[1]), int(match[2] or match[1])
            if not 1 <= first <= last <= MOST_ITERATIONS:
                self.fail(f"{value!r}: expected numbers from 1 to {MOST_ITERATIONS}", param, ctx)
            numbers += range(first, last + 1)
        return tuple(sorted(set(numbers)))


class Numbers(click.ParamType):
    """A fixed or free number of numbers, separated by `x`, `-` or `,`, from `least` to `most`."""

    def __init__(self, name, kind, separator, length=None, least=None, most=None):
        self.name, self.separator = name, separator
        self._kind, self._length = kind, length
        self._range = None if (least, most) == (None, None) else click.FloatRange(least, most)

    def convert(self, value, param, ctx):
        """Reads what the user gave."""
        try:
            numbers = tuple(self._kind(part) for part in str(value).split(self.separator))
        except ValueError:
            self.fail(f"{value!r}: expected {self.name}", param, ctx)
        if self._length == 2 and len(numbers) == 1:
            numbers *= 2
        if self._length not in (None, len(numbers)):
            self.fail(f"{value!r}: expected {self.name}", param, ctx)
        for number in numbers if self._range else ():
            self._range.convert(number, param, ctx)
        return numbers
