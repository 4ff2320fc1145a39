"""The base classes of all commands: errors in one line, and options that were renamed."""

import sys
from collections.abc import Mapping
from typing import Any

import click

from rnnseg.cli.parameters import check_given
from rnnseg.errors import UserError, one_line


class _OneLine:
    """Prints one line, `error: …`, and no traceback for mistakes of the user.

    These are mistakes in the command line, the data or a path.

    Args:
      *args: as click's command takes them.
      help: the help text.
      renamed: the old names of options, each with its present name. An old name still works, and
        prints a warning.
      **kwargs: as click's command takes them.
    """

    def __init__(
        self, *args, help: str | None = None, renamed: Mapping[str, str] | None = None, **kwargs
    ):
        # Raw docstrings spell out the character by which click knows lines to be left as they are.
        super().__init__(*args, help=help and help.replace("\\b", "\b"), **kwargs)
        self._renamed = renamed or {}

    def main(self, *args, **kwargs) -> Any:
        """Runs the command and ends the process with its status."""
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # file names may hold bytes that are no characters
                stream.reconfigure(errors="backslashreplace")
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
        except MemoryError:
            _fail("not enough memory; choose smaller images, batches or widths")
        except RuntimeError as error:
            if "Symlink loop" not in str(error):  # what pathlib raises for one, up to Python 3.12
                raise
            _fail(str(error))
        sys.exit(status if isinstance(status, int) else 0)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reads the command line, in which options may have their old names."""
        end = args.index("--") if "--" in args else len(args)
        args = [*map(self._present_name, args[:end]), *args[end:]]
        if args:
            given, _, _ = self.make_parser(ctx).parse_args(list(args))
            for param in self.params:
                check_given(param, given.get(param.name), ctx)
        return super().parse_args(ctx, args)

    def _present_name(self, argument: str) -> str:
        name, equals, value = argument.partition("=")
        if name not in self._renamed:
            return argument
        click.echo(f"warning: {name} is now called {self._renamed[name]}", err=True)
        return self._renamed[name] + equals + value


def _fail(message: str):
    click.echo(one_line(f"error: {message}"), err=True)
    sys.exit(2)


class Command(_OneLine, click.Command):
    """A single command."""


class Group(_OneLine, click.Group):
    """A command with subcommands."""

    command_class = Command
