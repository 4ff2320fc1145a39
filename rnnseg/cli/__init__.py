"""The `rnnseg` command."""

from rnnseg.cli.app import main

__all__ = ["main"]
