"""The model of a command line: the one that is named there, or the default preset."""

import glob
import os
import pathlib
from collections.abc import Callable, Sequence

import click

from rnnseg.pretrained.names import DEFAULT, is_preset

# What shows that a folder is a model and no folder of images.
_MODEL_FILES = ("best.keras", "last.keras", "config.json", "saved_model.pb")


def optional_model(command: Callable) -> Callable:
    """Adds the argument `model`, None where none is named."""
    return click.argument("model", metavar="[MODEL_OR_TFLITE]", required=False)(command)


def split_model(arguments: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Takes the model from arguments of which the first may name one.

    Args:
      arguments: at least one argument.

    Returns:
      The model, the default preset if none is named, and the other arguments. A first argument that
      does not exist stands for a model if others follow it, and if it is neither the name of an
      image file nor a pattern.
    """
    from rnnseg.data.images import IMAGE_ENDINGS

    first, *others = arguments
    missing = not os.path.lexists(first) and not glob.has_magic(first)
    is_image = pathlib.Path(first).suffix.lower() in IMAGE_ENDINGS
    if names_model(first) or (others and missing and not is_image):
        return first, tuple(others)
    return default_model(), tuple(arguments)


def names_model(argument: str) -> bool:
    """Returns True for a model's file, a preset, and the folder of a run or a SavedModel."""
    if argument.endswith((".keras", ".tflite")) or is_preset(argument):
        return True
    return any(os.path.isfile(os.path.join(argument, name)) for name in _MODEL_FILES)


def default_model() -> str:
    """Returns the name of the default preset, and prints that it is used."""
    click.echo(f"model: the preset {DEFAULT}, since none is named; rnnseg presets tells of it")
    return DEFAULT
