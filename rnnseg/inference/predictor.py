"""Class maps of images, with the iterations and the image scale that a budget pays for."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rnnseg.budgets.budget import Budget, iterations_within, too_small
from rnnseg.budgets.costs import StageCosts
from rnnseg.budgets.planning import Scores, scores_path
from rnnseg.budgets.profiles import Machine, Profile, benchmark_command, profile_path
from rnnseg.budgets.scaling import predict_scaled, scaled_size
from rnnseg.errors import UserError
from rnnseg.inference.large_images import LargeImages
from rnnseg.models.base import SegmentationModel
from rnnseg.models.loading import load_model
from rnnseg.runtime.pacing import most_iterations


class Setting(NamedTuple):
    """How an image is segmented.

    Attributes:
      iterations: the number of iterations.
      scale: the scale of the image; 1 is its own size.
    """

    iterations: int
    scale: float = 1.0


class Predictor:
    """Segments images within a budget, with what was measured on the model.

        predictor = rnnseg.Predictor.load("runs/camvid")
        class_map = predictor(image, rnnseg.Budget(milliseconds=50))

    Args:
      model: the model.
      miou: the mean IoU by number of iterations, 0-1. Budgets then pay for the number that scored
        best at most. None: for the number of iterations in training, since more might do harm.
      scaled_miou: the same for scaled images, by scale. Budgets then choose among the scales, too.
      profile: the latency of the model on this machine, for budgets of milliseconds.
      tile: the side of tiles, in pixels, in which larger images are computed; 0 for no tiles. None:
        tiles of 1024 pixels for images of more than 2 million pixels, whose memory is then that of
        a tile.
      max_size: the largest side, in pixels, at which images are segmented: larger ones are made
        smaller, and their class maps keep the size of the image. None: the size of the image.

    Attributes:
      model: the model.

    Raises:
      UserError: `tile` or `max_size` is too small for the model.
    """

    def __init__(
        self,
        model: SegmentationModel,
        *,
        miou: Mapping[int, float] | None = None,
        scaled_miou: Mapping[float, Mapping[int, float]] | None = None,
        profile: Profile | None = None,
        tile: int | None = None,
        max_size: int | None = None,
    ):
        self.model = model
        self._large_images = LargeImages(model, tile, max_size)
        self._is_resized = bool(tile) or max_size is not None
        self._given_miou = {1.0: miou or {}, **(scaled_miou or {})}
        self._given_profile = profile
        self._split: str | None = None

    @classmethod
    def load(
        cls,
        path: str | os.PathLike,
        split: str = "val",
        *,
        tile: int | None = None,
        max_size: int | None = None,
    ) -> "Predictor":
        """Loads a model together with its scores and its profile.

        Args:
          path: a `.keras` file, or the folder of a run. The scores that `rnnseg evaluate` wrote and
            the profile that `rnnseg benchmark --save` wrote are read from beside it when a budget
            first needs them.
          split: the split of the scores.
          tile: as in the constructor.
          max_size: as in the constructor.

        Raises:
          UserError: as `rnnseg.load_model`, or as the constructor.
        """
        predictor = cls(load_model(path), tile=tile, max_size=max_size)
        predictor._split = split
        return predictor

    def __call__(
        self,
        images: np.ndarray | tf.Tensor,
        budget: Budget | None = None,
        canvas: np.ndarray | tf.Tensor | None = None,
        stop_when_settled: bool = False,
        dtype: type = np.int32,
    ) -> np.ndarray:
        """Segments images of one size.

        Args:
          images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`, or one image, `(H, W, 3)`.
          budget: the budget for one image; None: as many iterations as in training.
          canvas: logits to start from, `(batch, h, w, classes)`, or `(h, w, classes)` for one
            image, which then keeps its size; None for the initial canvas.
          stop_when_settled: True to stop where further iterations would hardly change the
            prediction.
          dtype: the type of the class maps, such as uint8, with which that of a large image takes a
            quarter of the memory.

        Returns:
          Class maps, `(batch, H, W)` or `(H, W)`.

        Raises:
          UserError: as `setting`, or as `SegmentationModel.predict_classes`.
        """
        # As an array where it is one: a tensor would be a copy of a large image.
        images = images if tf.is_tensor(images) else np.asarray(images)
        shape = tuple(images.shape)
        if len(shape) not in (3, 4) or shape[-1] != 3 or not shape[0]:
            maps = self.model.predict_classes(images, budget, canvas, stop_when_settled)
            return maps.astype(dtype, copy=False)
        height, width = shape[-3:-1]
        single = len(shape) == 3
        scales = None if canvas is None else (1.0,)
        iterations, scale = self._setting(budget, height, width, scales)
        if stop_when_settled:
            self.model.check_can_stop()
        large = self._large(budget)
        if large.is_plain(height, width, scale):
            if scale == 1:
                budget = Budget(iterations=iterations)
                maps = self.model.predict_classes(images, budget, canvas, stop_when_settled)
                return maps.astype(dtype, copy=False)
            batch = images[tf.newaxis] if single else images
            maps = predict_scaled(self.model, batch, scale, iterations, stop_when_settled)
        else:
            batch = np.asarray(images)[np.newaxis] if single else np.asarray(images)
            given: Iterable = [None] * len(batch)
            if canvas is not None:
                given = [canvas] if single else canvas
            parts = [
                large.class_map(image, iterations, scale, start, stop_when_settled)
                for image, start in zip(batch, given, strict=True)
            ]
            maps = parts[0][np.newaxis] if single else np.stack(parts)
        return (maps[0] if single else maps).astype(dtype, copy=False)

    def stays_whole(
        self, budget: Budget | None, height: int, width: int, scale: float = 1.0
    ) -> bool:
        """True if an image of this size, in pixels, is neither made smaller nor cut into tiles."""
        return self._large(budget).is_plain(height, width, scale)

    def warm_up(
        self,
        image: np.ndarray,
        setting: Setting,
        whole: bool = True,
        stop_when_settled: bool = False,
    ) -> None:
        """Segments a small image, so that what is compiled first is no part of a latency.

        Args:
          image: RGB 0-255, `(H, W, 3)`, of any size.
          setting: the number of iterations and the scale of the images to come.
          whole: True for images that stay whole, as `stays_whole` says.
          stop_when_settled: as for the images to come.
        """
        if whole and setting.scale == 1:
            self(image, Budget(iterations=setting.iterations), None, stop_when_settled)
        else:
            whole_image = LargeImages(self.model, tile=0)
            whole_image.class_map(image, *setting, stop_when_settled=stop_when_settled)

    def every_iteration(
        self, image: np.ndarray, iterations: int, scale: float = 1.0
    ) -> Iterator[np.ndarray]:
        """Yields the class map after each iteration, from the first.

        Args:
          image: RGB 0-255, `(H, W, 3)`.
          iterations: the number of iterations.
          scale: the scale of the image.

        Yields:
          Class maps, int32, `(H, W)`.
        """
        for canvas in self._large_images.unroll(image, iterations, scale):
            yield self._large_images.read(canvas, image.shape[:2], scale).astype(np.int32)

    def costs(self, height: int, width: int, scale: float = 1.0) -> StageCosts:
        """Returns the multiply-adds of the stages for an image of this size, in pixels.

        The overlaps of tiles are included.
        """
        return self._large_images.costs(height, width, scale)

    def iterations(self, budget: Budget | None, height: int, width: int) -> int:
        """Returns the number of iterations that a budget pays for, as `setting` chooses it."""
        return self.setting(budget, height, width).iterations

    def setting(self, budget: Budget | None, height: int, width: int) -> Setting:
        """Returns the number of iterations and the image scale that a budget pays for.

        Of all that cost no more than the budget, it is the one that scored best; numbers of
        iterations that were not evaluated count with a score between those of their neighbours. A
        scale at which this image has a side below one output stride is left out.

        Args:
          budget: for one image. A number of iterations is taken as it is, at scale 1. Multiply-adds
            and milliseconds pay for the number that scored best at most, of images of their own
            size or of any scale that was evaluated. None: as many iterations as in training.
          height: of the image, in pixels.
          width: of the image, in pixels.

        Raises:
          UserError: the budget is too small for one iteration; or it is in milliseconds, and there
            is no profile of this model, machine and size.
        """
        return self._setting(budget, height, width)

    def _setting(
        self, budget: Budget | None, height: int, width: int, scales: Iterable[float] | None = None
    ) -> Setting:
        """Returns `setting`, chosen from some scales; None: from all that were evaluated."""
        model = self.model
        if budget is None:
            return Setting(model.iterations)
        self._check_type(budget)
        if budget.kind == "iterations":
            return Setting(budget.iterations_for(model, height, width))
        reduced = self._large(budget).reduced_size(height, width)
        costs = {
            scale: self._cost(budget, height, width, scale)
            for scale in scales or self._miou
            if min(scaled_size(*reduced, scale)) >= model.output_stride or scale == 1
        }
        found = {}
        for scale, cost in costs.items():
            if cost(1) <= budget.limit:
                setting, score = self._best_at(scale, budget, cost)
                found[setting] = score, -cost(setting.iterations)
        if found:
            return max(found, key=lambda setting: found[setting])
        scale = min(costs, key=lambda each: costs[each](1))
        target = f"an image of {height}x{width}" + ("" if scale == 1 else f", scaled by {scale:g},")
        raise too_small(budget, costs[scale](1), target)

    def _cost(
        self, budget: Budget, height: int, width: int, scale: float
    ) -> Callable[[int], float]:
        """Returns the cost of a prediction by number of iterations, in the unit of the budget."""
        if budget.kind == "milliseconds":
            return budget.cost(self.model, height, width, self.profile, scale)
        costs = self.costs(height, width, scale)
        return lambda iterations: costs.total(iterations) / 1e9

    def _large(self, budget: Budget | None) -> LargeImages:
        """Returns how large images are segmented within a budget.

        Raises:
          UserError: the budget is in milliseconds, and images do not stay whole.
        """
        if budget is None or budget.kind != "milliseconds":
            return self._large_images
        if self._is_resized:
            raise UserError(
                f"a budget of {budget}: latencies are measured on whole images of their own size; "
                "leave out tile and max_size, or give a budget of multiply-adds or iterations"
            )
        return LargeImages(self.model, tile=0)

    def _best_at(
        self, scale: float, budget: Budget, cost: Callable[[int], float]
    ) -> tuple[Setting, float]:
        """Returns the number of iterations that scored best at a scale, and its score.

        The largest one in a tie, as where nothing was measured.
        """
        miou = self._miou[scale]
        most = most_iterations(self.model.iterations, miou) if self.model.recurrent else 1
        most = iterations_within(budget, cost, most, "")
        measured = sorted(miou.items()) or [(1, 0.0)]
        numbers, values = zip(*measured, strict=True)
        scores = np.interp(np.arange(1, most + 1), numbers, values)
        best = most - int(np.argmax(scores[::-1]))
        return Setting(best, scale), float(scores[best - 1])

    def check(self, budget: Budget | None) -> None:
        """Raises a UserError for a budget that no image could be segmented with."""
        if budget is not None:
            self._check_type(budget)
            self._large(budget)
            if budget.kind == "milliseconds":
                _ = self.profile

    @staticmethod
    def _check_type(budget: object) -> None:
        if not isinstance(budget, Budget):
            raise UserError(
                f"budget={budget!r}: expected rnnseg.Budget(gmacs=…), Budget(milliseconds=…) or "
                "Budget(iterations=…)"
            )

    @functools.cached_property
    def _miou(self) -> Mapping[float, Mapping[int, float]]:
        """The mean IoU by scale and number of iterations; empty at scale 1 if it is unknown."""
        if self._split is not None and self.model.loaded_from is not None:
            if scores_path(self.model.loaded_from, self._split).is_file():
                # An image that is too small for the scales that were evaluated has its own.
                return {1.0: {}} | Scores.load(self.model.loaded_from, self._split).miou_by_scale
        return self._given_miou

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
