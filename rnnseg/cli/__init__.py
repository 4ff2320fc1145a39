"""The `rnnseg` command.

`app` is the group of all subcommands, each of which has a module of its own. They share the base
classes of `base`, which turn mistakes into one line, the parameter types of `parameters`, the
options of a budget (`budgets`) and the options that `derived` makes from their declarations.
"""

from rnnseg.cli.app import main

__all__ = ["main"]
