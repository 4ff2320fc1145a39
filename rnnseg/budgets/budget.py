"""Choosing an operating point: how many iterations a budget pays for, and of which model."""

import dataclasses
import decimal
import math
import numbers
from collections.abc import Callable, Iterable, Sequence

from rnnseg.budgets.profiles import Profile
from rnnseg.errors import UserError
from rnnseg.stages import Stages

# Curves are drawn, and predictions timed, up to this multiple of the number of training: past it,
# they are flat or fall.
MOST_OF_TRAINED = 2

_UNITS = {"gmacs": "G", "milliseconds": "ms", "iterations": "iterations"}


@dataclasses.dataclass(frozen=True)
class Budget:
    """What the prediction of one image may cost at most; exactly one of the three is given.

    Attributes:
      gmacs: 10^9 multiply-adds, as `rnnseg.budgets` counts them.
      milliseconds: on this machine, as `rnnseg benchmark --save` found. It is an image's time when
        it comes alone; a batch of eight may take eight times as long.
      iterations: the number itself.

    Raises:
      UserError: none or several of them, or not a number above zero.
    """

    gmacs: float | None = None
    milliseconds: float | None = None
    iterations: int | None = None

    def __post_init__(self):
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
        """The name of the one that is given."""
        return next(name for name, value in vars(self).items() if value is not None)

    @property
    def limit(self) -> float:
        """The value of the one that is given."""
        return getattr(self, self.kind)

    @property
    def unit(self) -> str:
        """What the limit is counted in, for people."""
        return _UNITS[self.kind]

    def iterations_for(
        self,
        model: Stages,
        height: int,
        width: int,
        *,
        most: int | None = None,
        profile: Profile | None = None,
    ) -> int:
        """Returns the number of iterations that the budget pays for on one image.

        Args:
          model: a Keras model.
          height: of the image, in pixels.
          width: of the image, in pixels.
          most: the largest number of iterations worth running; None: that of training. A budget
            that is itself a number of iterations is taken as it is.
          profile: the latency of the model on this machine, for a budget of milliseconds.

        Raises:
          UserError: the budget is too small for one iteration; or it is in milliseconds, without a
            profile of this size of images.
        """
        if not model.recurrent:
            most = 1
        if self.kind == "iterations":
            return int(self.iterations) if model.recurrent else 1
        if self.kind == "gmacs":
            from rnnseg.budgets.costs import stage_costs  # TensorFlow loads where it is needed

            costs = stage_costs(model, height, width)
            cost = lambda n: costs.total(n) / 1e9  # noqa: E731
        elif profile is None:
            raise UserError(
                f"a budget of {self}: the latency of the model on this machine is not known here; "
                "measure it by rnnseg benchmark RUN --size HEIGHTxWIDTH --save, and predict by "
                'rnnseg.Predictor.load("RUN")'
            )
        else:
            cost = lambda n: profile.milliseconds(height, width, n)  # noqa: E731
        most = model.iterations if most is None else most
        return iterations_within(self, cost, most, f"an image of {height}x{width}")

    def __str__(self):
        return f"{self.limit:.12g} {self.unit}"


def iterations_within(budget: Budget, cost: Callable[[int], float], most: int, what: str) -> int:
    """The largest number of iterations that a budget pays for.

    Args:
      budget: of multiply-adds or milliseconds.
      cost: of a whole prediction after a number of iterations, in the budget's unit; never falls.
      most: the largest number worth taking, at least 1.
      what: is predicted, for the error, such as "an image of 480x640".

    Returns:
      1 to `most`.

    Raises:
      UserError: not even one fits; it says what one needs.
    """
    if cost(1) > budget.limit:
        raise UserError(
            f"budget of {budget}: one iteration on {what} needs {round_up(cost(1))} {budget.unit} "
            "at least"
        )
    fits, fails = 1, most + 1
    while fails - fits > 1:
        middle = (fits + fails) // 2
        if cost(middle) <= budget.limit:
            fits = middle
        else:
            fails = middle
    return fits


def round_up(value: float) -> str:
    """Three digits, rounded up, so that a budget of what is printed is enough."""
    context = decimal.Context(prec=3, rounding=decimal.ROUND_CEILING)
    return f"{context.create_decimal(repr(value)):f}"


@dataclasses.dataclass(frozen=True)
class OperatingPoint:
    """One model with one number of iterations, on the data that it was evaluated on.

    Attributes:
      model: what the user calls it.
      iterations: how many.
      miou: mean IoU, 0-1.
      gmacs: 10^9 multiply-adds per image.
      milliseconds: an image.
    """

    model: str
    iterations: int
    miou: float
    gmacs: float
    milliseconds: float

    def __str__(self):
        return f"{self.model}, {self.iterations} iteration{'s' if self.iterations > 1 else ''}"


def frontier(points: Iterable[OperatingPoint], kind: str) -> list[OperatingPoint]:
    """The points that no other one beats: none is at least as good for no more.

    Args:
      points: of all models.
      kind: of the cost, "gmacs" or "milliseconds".

    Returns:
      Points of rising cost and rising mIoU; of several that are equal in both, the first.
    """
    result = []
    for point in sorted(points, key=lambda each: (getattr(each, kind), -each.miou)):
        if not result or point.miou > result[-1].miou:
            result.append(point)
    return result


def best_within(points: Sequence[OperatingPoint], budget: Budget) -> OperatingPoint:
    """The best point of a frontier that a budget pays for.

    Args:
      points: from `frontier`.
      budget: of multiply-adds or milliseconds.

    Raises:
      UserError: none is cheap enough; it says what the cheapest needs.
    """
    affordable = [each for each in points if getattr(each, budget.kind) <= budget.limit]
    if not affordable:
        least = points[0]
        raise UserError(
            f"budget of {budget}: the least is {round_up(getattr(least, budget.kind))} "
            f"{budget.unit}, for {least}"
        )
    return affordable[-1]
