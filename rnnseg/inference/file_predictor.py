"""Class maps of images by a LiteRT file, with the iterations that a budget pays for."""

from collections.abc import Iterator

import numpy as np

from rnnseg.budgets.budget import Budget
from rnnseg.errors import UserError
from rnnseg.inference.predictor import Predictor
from rnnseg.runtime.file_model import FileCosts, FileModel


class FilePredictor(Predictor):
    """A `Predictor` of a LiteRT file, which segments images one at a time, at its own scale.

    Args:
      model: the file. Its scores and its profile are read from beside it, as of any model; without
        scores, those of its metadata count.
    """

    def __init__(self, model: FileModel):
        super().__init__(model, miou=model.info.miou, tile=0)
        self._split = "val"

    def __call__(
        self,
        image: np.ndarray,
        budget: Budget | None = None,
        canvas: np.ndarray | None = None,
        stop_when_settled: bool = False,
        dtype: type = np.int32,
    ) -> np.ndarray:
        """Segments an image.

        Args:
          image: RGB, uint8 `(H, W, 3)`.
          budget: the budget; None: as many iterations as in training.
          canvas: None; `rnnseg.runtime.Segmenter` starts from a canvas.
          stop_when_settled: False.
          dtype: the type of the class map.

        Returns:
          Class map, `(H, W)`.

        Raises:
          UserError: as `setting`; or a canvas, or stopping, which a file does not do here.
        """
        if canvas is not None:
            raise UserError(f"{self.model.loaded_from}: rnnseg.runtime.Segmenter takes a canvas")
        if stop_when_settled:
            self.model.check_can_stop()
        iterations = self.setting(budget, *image.shape[:2]).iterations
        return self.model.predict(image, iterations).astype(dtype, copy=False)

    def every_iteration(
        self, image: np.ndarray, iterations: int, scale: float = 1.0
    ) -> Iterator[np.ndarray]:
        """Yields the class map after each iteration; see `Predictor.every_iteration`."""
        return self.model.predict_each(image, range(1, iterations + 1))

    def costs(self, height: int, width: int, scale: float = 1.0) -> FileCosts:
        """Returns the multiply-adds of any image, which a file scales to its own size."""
        return self.model.costs

    def _cost(self, budget, height, width, scale):
        if budget.kind == "milliseconds":
            return super()._cost(budget, height, width, scale)
        costs, first = self.model.costs, 1 + sum(self.model.info.early_iterations)
        if costs.total(first) is None:
            raise UserError(
                f"a budget of {budget}: the multiply-adds of {self.model.loaded_from}, a file for "
                "images of any size, are not known; give a number of iterations or milliseconds"
            )
        # Those of fewer iterations are not known; they are at most as many.
        return lambda iterations: costs.total(max(iterations, first)) / 1e9
