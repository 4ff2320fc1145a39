"""How all commands end when the user made a mistake: one line, status 2, no traceback."""

from typing import Any

import click

from rnnseg.errors import UserError


class Command(click.Command):
    """A command that reports a `UserError` as one line, with exit status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(2)


class Group(click.Group):
    """A command with subcommands that all report so."""

    command_class = Command
