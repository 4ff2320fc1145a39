"""Class maps of images, with as many iterations as a budget pays for."""

import functools
import os
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from rnnseg.budgets.budget import Budget
from rnnseg.budgets.costs import StageCosts, stage_costs
from rnnseg.budgets.planning import Scores, scores_path
from rnnseg.budgets.profiles import Machine, Profile, benchmark_command, profile_path
from rnnseg.errors import UserError
from rnnseg.models.base import SegmentationModel
from rnnseg.models.loading import load_model
from rnnseg.runtime.pacing import most_iterations


class Predictor:
    """Segments images within a budget, with what was measured on the model.

        predictor = rnnseg.Predictor.load("runs/camvid")
        class_map = predictor(image, rnnseg.Budget(milliseconds=50))

    Args:
      model: the model.
      miou: the mean IoU by number of iterations, 0-1. Budgets then pay for the number that scored
        best at most. None: for the number of iterations in training, since more might do harm.
      profile: the latency of the model on this machine, for budgets of milliseconds.

    Attributes:
      model: the model.
    """

    def __init__(
        self,
        model: SegmentationModel,
        *,
        miou: Mapping[int, float] | None = None,
        profile: Profile | None = None,
    ):
        self.model = model
        self._miou = miou
        self._given_profile = profile
        self._split: str | None = None

    @classmethod
    def load(cls, path: str | os.PathLike, split: str = "val") -> "Predictor":
        """Loads a model together with its scores and its profile.

        Args:
          path: a `.keras` file, or the folder of a run. The scores that `rnnseg evaluate` wrote and
            the profile that `rnnseg benchmark --save` wrote are read from beside it when a budget
            first needs them.
          split: the split of the scores.

        Raises:
          UserError: as `rnnseg.load_model`.
        """
        predictor = cls(load_model(path))
        predictor._split = split
        return predictor

    def __call__(
        self, images, budget: Budget | None = None, canvas=None, stop_when_settled: bool = False
    ) -> np.ndarray:
        """Segments images of one size.

        Args:
          images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`, or one image, `(H, W, 3)`.
          budget: the budget for one image; None: as many iterations as in training.
          canvas: logits to start from, `(batch, h, w, classes)`, or `(h, w, classes)` for one
            image; None for the initial canvas.
          stop_when_settled: True to stop where further iterations would hardly change the
            prediction.

        Returns:
          Class maps, int32, `(batch, H, W)` or `(H, W)`.

        Raises:
          UserError: as `iterations`, or as `SegmentationModel.predict_classes`.
        """
        images = tf.convert_to_tensor(images)
        if budget is not None and images.shape.rank in (3, 4):
            budget = Budget(iterations=self.iterations(budget, *images.shape[-3:-1]))
        return self.model.predict_classes(images, budget, canvas, stop_when_settled)

    def every_iteration(self, image: np.ndarray, iterations: int) -> Iterator[np.ndarray]:
        """Yields the class map after each iteration, from the first.

        Args:
          image: RGB 0-255, `(H, W, 3)`.
          iterations: the number of iterations.

        Yields:
          Class maps, int32, `(H, W)`.
        """
        stages = self.model.compiled_stages
        for canvas in stages.unroll(tf.convert_to_tensor(image)[tf.newaxis], iterations):
            yield stages.read(canvas, image.shape[:2])[0].numpy()

    def costs(self, height: int, width: int) -> StageCosts:
        """Returns the multiply-adds of the stages for an image of this size, in pixels."""
        return stage_costs(self.model, height, width)

    def iterations(self, budget: Budget | None, height: int, width: int) -> int:
        """Returns the number of iterations that a budget pays for.

        Args:
          budget: for one image. A number of iterations is taken as it is. Multiply-adds and
            milliseconds pay for the number that scored best at most. None: as many as in training.
          height: of the image, in pixels.
          width: of the image, in pixels.

        Raises:
          UserError: the budget is too small for one iteration; or it is in milliseconds, and there
            is no profile of this model, machine and size.
        """
        if budget is None:
            return self.model.iterations
        self._check_type(budget)
        profile = self.profile if budget.kind == "milliseconds" else None
        return budget.iterations_for(self.model, height, width, most=self._most, profile=profile)

    def check(self, budget: Budget | None) -> None:
        """Raises a UserError for a budget that no image could be segmented with."""
        if budget is not None:
            self._check_type(budget)
            if budget.kind == "milliseconds":
                _ = self.profile

    @staticmethod
    def _check_type(budget) -> None:
        if not isinstance(budget, Budget):
            raise UserError(
                f"budget={budget!r}: expected rnnseg.Budget(gmacs=…), Budget(milliseconds=…) or "
                "Budget(iterations=…)"
            )

    @functools.cached_property
    def _most(self) -> int:
        """The largest number of iterations that multiply-adds and milliseconds are spent on."""
        model, miou = self.model, self._miou
        if not model.recurrent:
            return 1
        if miou is None and self._split is not None:
            if scores_path(model.loaded_from, self._split).is_file():
                miou = Scores.load(model.loaded_from, self._split).miou
        return most_iterations(model.iterations, miou)

    @functools.cached_property
    def profile(self) -> Profile:
        """The latency of this model on this machine.

        Raises:
          UserError: there is none, or it is of another machine or model.
        """
        profile, origin = self._given_profile, self.model.loaded_from
        if profile is None:
            if self._split is None or origin is None:
                raise UserError(
                    "the latency of this model is not known here: measure it by "
                    f"{benchmark_command(origin or 'MODEL.keras')}, and load model and latency by "
                    f"rnnseg.Predictor.load({str(origin or 'MODEL.keras')!r})"
                )
            profile = Profile.load(origin)
        path, here = profile_path(profile.model), Machine.this()
        if profile.machine != here:
            raise UserError(
                f"{path} was measured on {profile.machine}, but this is {here}; measure it here: "
                f"{profile.command()}"
            )
        if profile.parameters != self.model.count_params():
            raise UserError(
                f"{path} is of a model with {profile.parameters} parameters, but "
                f"{origin or self.model.name} has {self.model.count_params()}; measure it anew: "
                f"{profile.command()}"
            )
        return profile
