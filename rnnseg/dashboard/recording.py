"""Evaluation of a model with results in event files."""

import os

from rnnseg.dashboard.images import make_strip, read_images
from rnnseg.dashboard.writing import write_evaluation
from rnnseg.data.sharing import WHOLE, Share
from rnnseg.data.source import Source
from rnnseg.evaluation.evaluator import Evaluation, Evaluator

EVALUATIONS = "speed_accuracy"
"""The folder of a training's evaluations in its folder of logs, and so TensorBoard's run."""

_IMAGES = 3  # Each takes about 50 to 150 kB per evaluation.


class Recorder:
    """Evaluates a model, at every call, and writes the results for TensorBoard.

    Args:
      evaluator: the evaluator of the model.
      source: the data.
      split: the split; some of its images are written, too.
      folder: the folder of TensorBoard's run, for these evaluations only.
      share: the worker's share of the evaluation, whose first worker writes.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        source: Source,
        split: str,
        folder: str | os.PathLike,
        share: Share = WHOLE,
    ):
        self._evaluator, self._source, self._split = evaluator, source, split
        self._folder, self._share = folder, share
        self._images = read_images(source, split, _IMAGES) if share.is_first else []

    def __call__(self, step: int = 0, progress: bool = True) -> Evaluation:
        """Evaluates and writes.

        Args:
          step: the step of training, such as the epoch.
          progress: True to show a progress bar.

        Raises:
          UserError: as `Evaluator`.
        """
        evaluation = self._evaluator(self._source, self._split, progress, self._share)
        if not self._share.is_first:
            return evaluation
        model = self._evaluator.model
        strips = [make_strip(self._evaluator, image, model.colors) for image in self._images]
        write_evaluation(self._folder, evaluation, model, strips, step)
        return evaluation
