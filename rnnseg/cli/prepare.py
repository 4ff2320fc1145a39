"""`rnnseg prepare`: builds data sets from labelled images."""

import importlib

import click

from rnnseg.cli.base import Group

# The commands of `rnnseg.data_prep`, each a module with the function `main`.
_NAMES = ("voc", "cityscapes", "coco", "folder", "pseudo_labels", "to_model_garden")


class _Prepare(Group):
    """A group whose commands are imported where they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names of the data sets."""
        return list(_NAMES)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Returns the command of a data set; None if there is none of this name."""
        if name not in _NAMES:
            return None
        return importlib.import_module(f"rnnseg.data_prep.{name}").main


@click.group(cls=_Prepare)
def prepare() -> None:
    r"""Build a data set from labelled images.

    \b
    rnnseg prepare folder --images photos --masks labels --classes classes.txt --out data/mine
    rnnseg prepare voc --out data/voc
    """
