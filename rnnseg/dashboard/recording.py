"""Evaluations that go into event files."""

import os

from rnnseg.dashboard.images import make_strip, read_images
from rnnseg.dashboard.writing import write_evaluation
from rnnseg.data.source import Source
from rnnseg.evaluation.evaluator import Evaluation, Evaluator

EVALUATIONS = "speed_accuracy"
"""TensorBoard's run of a training's evaluations, below the training's own folder of logs."""

_IMAGES = 3  # enough to look at; each takes some 50 to 150 kB an evaluation


class Recorder:
    """Evaluates a model, again and again if wanted, and writes what it finds for TensorBoard.

    Args:
      evaluator: of the model.
      source: the data.
      split: its split, of which a few images are shown.
      folder: of TensorBoard's run, for these evaluations alone.
    """

    def __init__(self, evaluator: Evaluator, source: Source, split: str, folder: str | os.PathLike):
        self._evaluator, self._source, self._split = evaluator, source, split
        self._folder = folder
        self._images = read_images(source, split, _IMAGES)

    def __call__(self, step: int = 0, progress: bool = True) -> Evaluation:
        """Evaluates and writes.

        Args:
          step: of training, such as the epoch.
          progress: whether a progress bar is shown.

        Raises:
          UserError: as `Evaluator`.
        """
        evaluation = self._evaluator(self._source, self._split, progress)
        model = self._evaluator.model
        strips = [make_strip(self._evaluator, image, model.colors) for image in self._images]
        write_evaluation(self._folder, evaluation, model, strips, step)
        return evaluation
