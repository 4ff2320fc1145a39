"""Class maps of an image after each of several numbers of iterations, by a LiteRT file."""

from collections.abc import Iterator, Sequence

import numpy as np

from rnnseg.errors import UserError
from rnnseg.runtime.file_model import FileCosts, FileModel


class FileUnroller:
    """Segments images with several numbers of iterations, as `unrolling.Unroller` does.

    Args:
      model: the file.
      scales: one scale, 1; a file takes images at their own size.
      flip: False.

    Raises:
      UserError: other scales, or mirrored images.
    """

    def __init__(self, model: FileModel, scales: Sequence[float] = (1.0,), flip: bool = False):
        if tuple(scales) != (1,) or flip:
            raise UserError(
                f"{model.loaded_from} is a LiteRT file, which is scored on images of their own "
                "size alone: for other scales and mirrored images evaluate the run that it was "
                "exported from"
            )
        self._model = model

    def __call__(self, image: np.ndarray, iterations: Sequence[int]) -> Iterator[np.ndarray]:
        """Yields the class map of an image, int32 `(h, w)`, after each number of iterations.

        Args:
          image: RGB, uint8 `(h, w, 3)`.
          iterations: the numbers of iterations, rising.
        """
        return self._model.predict_each(image, iterations)

    def predict(self, image: np.ndarray, iterations: int) -> np.ndarray:
        """Returns the class map after a number of iterations, run in one call; int32 `(h, w)`."""
        return self._model.predict(image, iterations)

    def check_size(self, height: int, width: int) -> None:
        """Raises a UserError for an image that is too small."""
        self._model.check_image(height, width)

    def costs(self, height: int, width: int) -> FileCosts:
        """Returns the multiply-adds of an image, which a file scales to its own size."""
        return self._model.costs
