"""Opens a predictor of any kind of model."""

import os

from rnnseg.errors import UserError
from rnnseg.inference.predictor import Predictor


def open_predictor(
    path: str | os.PathLike, tile: int | None = None, max_size: int | None = None
) -> Predictor:
    """Opens the predictor of a model, with its scores and its profile.

    Args:
      path: a run, a `.keras` or `.tflite` file, or a preset.
      tile: as in `Predictor`; None for a LiteRT file.
      max_size: likewise.

    Raises:
      UserError: as `Predictor.load`; or a size for a LiteRT file.
    """
    if not os.fspath(path).endswith(".tflite"):
        return Predictor.load(path, tile=tile, max_size=max_size)
    if tile is not None or max_size is not None:
        raise UserError(
            f"{path} is a LiteRT file, which computes as it was exported; leave out tile and "
            "max_size"
        )
    from rnnseg.inference.file_predictor import FilePredictor
    from rnnseg.runtime.file_model import FileModel

    return FilePredictor(FileModel(path))
