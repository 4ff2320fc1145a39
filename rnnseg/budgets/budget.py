"""Operating points within a budget: the number of iterations and the model that it pays for."""

from __future__ import annotations

import dataclasses
import decimal
import math
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from rnnseg._renamed import renamed_attributes
from rnnseg.budgets.profiles import Profile
from rnnseg.errors import UserError

if TYPE_CHECKING:  # loads TensorFlow, which choosing among evaluated models does without
    from rnnseg.models.base import SegmentationModel

__getattr__ = renamed_attributes(
    __name__, {"most_iterations": "rnnseg.runtime.pacing.most_iterations"}
)

# Curves are drawn, and predictions timed, up to this multiple of the number of iterations in
# training. Beyond it, the curves are flat or fall.
MOST_OF_TRAINED = 2

_UNITS = {"gmacs": "G", "milliseconds": "ms", "iterations": "iterations"}


@dataclasses.dataclass(frozen=True)
class Budget:
    """The most that the prediction of one image may cost; exactly one of the three is given.

    Attributes:
      gmacs: 10^9 multiply-adds, as `rnnseg.budgets` counts them.
      milliseconds: the time on this machine, as `rnnseg benchmark --save` measured it for an image
        that comes alone. A batch of eight may take eight times as long.
      iterations: the number of iterations.

    Raises:
      UserError: none or several of them, or not a number above zero.
    """

    gmacs: float | None = None
    milliseconds: float | None = None
    iterations: int | None = None

    def __post_init__(self) -> None:
        given = [f"{name}={value}" for name, value in vars(self).items() if value is not None]
        if len(given) != 1:
            raise UserError(
                f"a budget of {' and '.join(given) or 'nothing'}: expected exactly one of gmacs, "
                "milliseconds and iterations"
            )
        is_number = isinstance(self.limit, numbers.Real) and not isinstance(self.limit, bool)
        if not is_number or not self.limit > 0 or not math.isfinite(self.limit):
            raise UserError(f"a budget of {given[0]}: expected a finite number above 0")
        if self.kind == "iterations" and self.limit != int(self.limit):
            raise UserError(f"a budget of {given[0]}: expected a whole number")

    @property
    def kind(self) -> str:
        """The name of the attribute that is given."""
        return next(name for name, value in vars(self).items() if value is not None)

    @property
    def limit(self) -> float:
        """The value of the attribute that is given."""
        return getattr(self, self.kind)

    @property
    def unit(self) -> str:
        """The unit of the limit, for messages: "G", "ms" or "iterations"."""
        return _UNITS[self.kind]

    def iterations_for(
        self,
        model: SegmentationModel,
        height: int,
        width: int,
        *,
        most: int | None = None,
        profile: Profile | None = None,
    ) -> int:
        """Returns the number of iterations that the budget pays for on one image.

        Args:
          model: the model.
          height: of the image, in pixels.
          width: of the image, in pixels.
          most: the largest number of iterations worth running; None: as many as in training. A
            budget that is itself a number of iterations is taken as it is.
          profile: the latency of the model on this machine, for a budget of milliseconds.

        Raises:
          UserError: the budget is too small for one iteration; or it is in milliseconds, without a
            profile of this size of images.
        """
        if not model.recurrent:
            most = 1
        if self.iterations is not None:
            return int(self.iterations) if model.recurrent else 1
        cost = self.cost(model, height, width, profile)
        most = model.iterations if most is None else most
        return iterations_within(self, cost, most, f"an image of {height}x{width}")

    def cost(
        self,
        model: SegmentationModel,
        height: int,
        width: int,
        profile: Profile | None = None,
        scale: float = 1.0,
    ) -> Callable[[int], float]:
        """Returns the cost of a prediction by number of iterations, which never falls.

        Args:
          model: the model.
          height: of the image, in pixels.
          width: of the image, in pixels.
          profile: the latency of the model on this machine, for a budget of milliseconds.
          scale: the scale at which the image is segmented.

        Returns:
          A function from the number of iterations to the cost, in the unit of the budget.

        Raises:
          UserError: the budget is in milliseconds, without a profile.
        """
        if self.kind == "gmacs":
            from rnnseg.budgets.scaling import scaled_costs  # loads TensorFlow

            costs = scaled_costs(model, height, width, scale)
            return lambda iterations: costs.total(iterations) / 1e9
        if profile is None:
            raise UserError(
                f"a budget of {self}: the latency of the model on this machine is not known here; "
                "measure it by rnnseg benchmark RUN --size HEIGHTxWIDTH --save, and predict by "
                'rnnseg.Predictor.load("RUN")'
            )
        return lambda iterations: profile.milliseconds(height, width, iterations, scale)

    def __str__(self) -> str:
        return f"{self.limit:.12g} {self.unit}"


def iterations_within(budget: Budget, cost: Callable[[int], float], most: int, target: str) -> int:
    """Returns the largest number of iterations that a budget pays for.

    Args:
      budget: a budget of multiply-adds or milliseconds.
      cost: the cost of a whole prediction by number of iterations, in the budget's unit; it never
        falls.
      most: the largest number worth running, at least 1.
      target: the image or data to predict, for the error message: "an image of 480x640".

    Returns:
      1 to `most`.

    Raises:
      UserError: the budget is too small for one iteration; the message gives the cost of one.
    """
    if cost(1) > budget.limit:
        raise too_small(budget, cost(1), target)
    fits, fails = 1, most + 1
    while fails - fits > 1:
        middle = (fits + fails) // 2
        if cost(middle) <= budget.limit:
            fits = middle
        else:
            fails = middle
    return fits


def too_small(budget: Budget, least: float, target: str) -> UserError:
    """Returns the error of a budget that does not pay for one iteration.

    Args:
      budget: a budget of multiply-adds or milliseconds.
      least: the cost of one iteration, in the budget's unit.
      target: as in `iterations_within`.
    """
    here = " on this machine" if budget.kind == "milliseconds" else ""
    return UserError(
        f"budget of {budget}: one iteration on {target} needs {round_up(least)} {budget.unit} at "
        f"least{here}; give as much, or take smaller images or a smaller encoder"
    )


def round_up(value: float) -> str:
    """Formats a cost with three digits, rounded up so that it is enough as a budget."""
    context = decimal.Context(prec=3, rounding=decimal.ROUND_CEILING)
    return f"{context.create_decimal(repr(value)):f}"


@dataclasses.dataclass(frozen=True)
class OperatingPoint:
    """A model with a number of iterations and an image scale, and its score and cost on some data.

    Attributes:
      model: the user's name for the model.
      iterations: the number of iterations.
      miou: the mean IoU, 0-1.
      gmacs: 10^9 multiply-adds per image; NaN if they are not known.
      milliseconds: milliseconds per image.
      scale: the scale at which the images are segmented; 1 is their own size.
    """

    model: str
    iterations: int
    miou: float
    gmacs: float
    milliseconds: float
    scale: float = 1.0

    def __str__(self) -> str:
        scale = "" if self.scale == 1 else f", images scaled by {self.scale:g}"
        return f"{self.model}, {self.iterations} iteration{'s' * (self.iterations > 1)}{scale}"


def frontier(points: Iterable[OperatingPoint], kind: str) -> list[OperatingPoint]:
    """Returns the Pareto frontier: the points that no other point beats.

    A point beats another if it costs no more, scores no less, and is better in one of the two.

    Args:
      points: the points of all models.
      kind: the cost to compare by, "gmacs" or "milliseconds".

    Returns:
      Points of rising cost and rising mIoU. Of several points with equal cost and equal mIoU, the
      first.
    """
    result: list[OperatingPoint] = []
    for point in sorted(points, key=lambda each: (getattr(each, kind), -each.miou)):
        if not result or point.miou > result[-1].miou:
            result.append(point)
    return result


def best_within(points: Sequence[OperatingPoint], budget: Budget) -> OperatingPoint:
    """Returns the best point of a frontier that a budget pays for.

    Args:
      points: the points from `frontier`.
      budget: a budget of multiply-adds or milliseconds.

    Raises:
      UserError: the budget is too small for every point; the message gives the cost of the
        cheapest.
    """
    affordable = [each for each in points if getattr(each, budget.kind) <= budget.limit]
    if not affordable:
        cheapest = points[0]
        raise UserError(
            f"budget of {budget}: the cheapest point, {cheapest}, needs "
            f"{round_up(getattr(cheapest, budget.kind))} {budget.unit}"
        )
    return affordable[-1]
