"""Compares models by the scores that `rnnseg evaluate` wrote beside them."""

import dataclasses
import math
import os
import pathlib
import shlex
from collections.abc import Sequence

from rnnseg import schemas
from rnnseg._renamed import RenamedAttribute
from rnnseg.budgets.budget import Budget, OperatingPoint, best_within, frontier
from rnnseg.budgets.profiles import Machine, Profile, profile_path
from rnnseg.errors import UserError
from rnnseg.files import beside
from rnnseg.pretrained.names import is_preset, open_preset
from rnnseg.score_files import EvaluationContent, present_names


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ScoreFile(EvaluationContent):
    """The schema of a file of scores; the milliseconds were measured on `machine`."""

    machine: Machine


@dataclasses.dataclass(frozen=True)
class Scores:
    """The scores and costs of one model, as it was evaluated.

    Attributes:
      model: the user's name for the model.
      data: the name of the data that it was evaluated on.
      split: the split of the data.
      images: the number of images.
      image_size: the most common (height, width), in pixels.
      multi_scale: True if the logits were averaged over scales or mirrored images.
      machine: the machine that the milliseconds were measured on.
      profiled: True if the milliseconds come from a profile, False if from the evaluation.
      points: one operating point per number of iterations and image scale.
    """

    model: str
    data: str
    split: str
    images: int
    image_size: tuple[int, int]
    multi_scale: bool
    machine: Machine
    profiled: bool
    points: tuple[OperatingPoint, ...]

    pictures = RenamedAttribute("images")
    picture_size = RenamedAttribute("image_size")
    several_views = RenamedAttribute("multi_scale")

    @classmethod
    def load(cls, model: str | os.PathLike, split: str) -> "Scores":
        """Reads the scores of a model, as they were evaluated.

        Args:
          model: the folder of a run, a `.keras` or a `.tflite` file, with the scores beside it; or
            the file of scores itself, `.json`.
          split: the split that the model was evaluated on.

        Raises:
          UserError: the file of scores is missing, or holds no scores.
        """
        path = pathlib.Path(model)
        given = path.suffix == ".json"
        path = path if given else scores_path(model, split)
        command = f"rnnseg evaluate {'RUN' if given else shlex.quote(str(model))} --data DATA"
        command += f" --split {split}" + (f" --json {shlex.quote(str(path))}" if given else "")
        if not path.is_file():
            raise UserError(f"{path}: no such scores; make them by {command}")
        held = schemas.read_json(
            path, _ScoreFile, f"make the scores anew by {command}", present_names
        )
        return cls(
            model=str(model),
            data=held.data,
            split=held.split,
            images=held.images,
            image_size=held.image_size,
            multi_scale=held.multi_scale,
            machine=held.machine,
            profiled=False,
            points=tuple(
                OperatingPoint(
                    str(model),
                    row.iterations,
                    row.miou,
                    # Those of some LiteRT files are not known.
                    math.nan if row.multiply_adds is None else row.multiply_adds / 1e9,
                    row.milliseconds,
                    # Rows of earlier versions have no scale of their own.
                    row.scale or (1.0 if held.multi_scale else held.scales[0]),
                )
                for row in held.results
            ),
        )

    @property
    def miou(self) -> dict[int, float]:
        """The mean IoU, 0-1, by number of iterations, of images of their own size."""
        return self.miou_by_scale.get(1.0, {})

    @property
    def miou_by_scale(self) -> dict[float, dict[int, float]]:
        """The mean IoU, 0-1, by image scale and number of iterations."""
        found: dict[float, dict[int, float]] = {}
        for point in self.points:
            found.setdefault(point.scale, {})[point.iterations] = point.miou
        return found

    def with_profile(self) -> "Scores":
        """Returns the scores with the milliseconds of the profile beside the model.

        The scores stay as they are where there is no profile. The same goes for a file of scores,
        which may be of the model at another stride, and for a multi-scale evaluation, whose
        milliseconds are the sum over all scales.

        Raises:
          UserError: the profile is damaged, or has no images as large as those of the scores.
        """
        given = pathlib.Path(self.model).suffix == ".json"
        if given or self.multi_scale or not profile_path(self.model).is_file():
            return self
        profile = Profile.load(self.model)
        points = tuple(
            dataclasses.replace(
                point,
                milliseconds=profile.milliseconds(*self.image_size, point.iterations, point.scale),
            )
            for point in self.points
        )
        return dataclasses.replace(self, machine=profile.machine, profiled=True, points=points)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The best model, number of iterations and image scale for a budget, and the alternatives.

    Attributes:
      budget: the budget, of multiply-adds or milliseconds.
      scores: the scores of the models.
      frontier: the points of all models that no other point beats, by rising cost.
      best: the best point within the budget.
    """

    budget: Budget
    scores: tuple[Scores, ...]
    frontier: tuple[OperatingPoint, ...]
    best: OperatingPoint


def make_plan(models: Sequence[str | os.PathLike], split: str, budget: Budget) -> Plan:
    """Finds the best model, number of iterations and image scale for a budget.

    Args:
      models: the models, as `Scores.load` takes them.
      split: the split that all of them were evaluated on.
      budget: a budget of multiply-adds or milliseconds.

    Raises:
      UserError: scores are missing or cannot be compared, or the budget is too small for every
        point.
    """
    scores = tuple(Scores.load(model, split) for model in dict.fromkeys(map(str, models)))
    if budget.kind == "milliseconds":
        scores = tuple(each.with_profile() for each in scores)
    for other in scores[1:]:
        _check_comparable(scores[0], other, budget)
    points = [point for each in scores for point in each.points]
    if budget.kind == "gmacs":
        points = [point for point in points if not math.isnan(point.gmacs)]
        for each in scores:
            if not any(point.model == each.model for point in points):
                raise UserError(
                    f"{each.model}: its multiply-adds are not known, as of a file for images of "
                    "any size: plan by --milliseconds, or leave it out"
                )
    points = frontier(points, budget.kind)
    return Plan(budget, scores, tuple(points), best_within(points, budget))


def scores_path(model: str | os.PathLike, split: str) -> pathlib.Path:
    """Returns the path of a model's scores; of a preset, those measured here before its own.

    Args:
      model: a `.keras` file, the folder of a run, or a preset.
      split: the split that the model was evaluated on.
    """
    name = f"scores_{split}.json"
    own = beside(model, name)
    return own if own.is_file() or not is_preset(model) else open_preset(model).folder / name


def _check_comparable(one: Scores, other: Scores, budget: Budget) -> None:
    """Raises a UserError unless both were scored on the same images and timed on one machine."""
    for field in ("data", "split", "images"):
        mine, its = getattr(one, field), getattr(other, field)
        if mine != its:
            raise UserError(
                f"{one.model} was evaluated on {field} {mine!r} but {other.model} on {its!r}: "
                "evaluate both on the same"
            )
    if budget.kind == "milliseconds" and one.machine != other.machine:
        raise UserError(
            f"{one.model} was timed on {one.machine}, but {other.model} on {other.machine}: "
            "measure both on one machine, by rnnseg benchmark --save"
        )
