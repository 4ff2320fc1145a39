"""LiteRT files in the place of models, for commands that take both."""

import os
from typing import TYPE_CHECKING, Any

from rnnseg.errors import UserError

if TYPE_CHECKING:  # one of both is loaded, when it is needed
    from rnnseg.models.base import SegmentationModel
    from rnnseg.runtime.file_model import FileModel


def is_litert(model: str) -> bool:
    """Returns True for the path of a LiteRT file, by its ending."""
    return os.fspath(model).endswith(".tflite")


def open_model(model: str) -> "SegmentationModel | FileModel":
    """Returns the model of a run or a `.keras` file, or a `FileModel` of a LiteRT file."""
    if is_litert(model):
        from rnnseg.runtime.file_model import FileModel

        return FileModel(model)
    from rnnseg.models.loading import load_model

    return load_model(model)


def refuse_options(model: str, way_out: str, **given: Any) -> None:
    """Raises a UserError for options that a LiteRT file cannot honour.

    Args:
      model: the path of the file.
      way_out: what to do for them instead.
      **given: the values of such options by name; those that are false or None were not given.
    """
    for name, value in given.items():
        if value is not None and value is not False:
            raise UserError(
                f"--{name.replace('_', '-')}: {model} is a LiteRT file, which computes as it was "
                f"exported; leave the option out, or {way_out}"
            )
