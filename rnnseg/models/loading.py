"""Loading models from files."""

import importlib
import os
import pathlib

import keras

from rnnseg.errors import UserError, first_line
from rnnseg.models.base import SegmentationModel
from rnnseg.models.finite import check_weights
from rnnseg.models.preset_files import load_preset
from rnnseg.pretrained.names import expected, is_preset, open_preset


def load_model(path: str | os.PathLike, compile: bool = False) -> SegmentationModel:
    """Loads a trained segmenter.

    Args:
      path: a `.keras` file; the folder of a run, whose best model is taken; or a preset, as
        `rnnseg.pretrained.names.open_preset` takes it.
      compile: True to load its loss and optimizer, too, for further training.

    Returns:
      The model; its `loaded_from` is the path.

    Raises:
      UserError: the file does not exist, holds no model of this package, or weights that are not
        finite numbers.
    """
    if is_preset(path):
        return load_preset(open_preset(path))
    path = pathlib.Path(path)
    file = path
    if path.is_dir():
        found = [path / name for name in ("best.keras", "last.keras") if (path / name).is_file()]
        if not found:
            raise UserError(f"{path} holds no model: expected a run's folder with best.keras in it")
        file = found[0]
    if not file.is_file():
        raise UserError(
            f"{file}: no such model; expected a .keras file, the folder of a run, "
            f"{expected(str(path))}"
        )
    # By name: models import nothing that trains them, but a compiled one brings its loss.
    importlib.import_module("rnnseg.registration")
    try:
        model = keras.saving.load_model(file, compile=compile)
    except Exception as error:  # a wrong file fails in zipfile, h5py, json or Keras
        reason = first_line(error)
        raise UserError(f"{file} cannot be loaded as a model: {reason}") from error
    if not isinstance(model, SegmentationModel):
        raise UserError(f"{file} holds a {type(model).__name__}; expected a model of rnnseg")
    check_weights(model, str(file))
    model.loaded_from = str(path)
    return model
