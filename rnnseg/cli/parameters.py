"""The parameter types of commands, and the rules that hold for every value on a command line."""

import math
import re
from collections.abc import Iterator
from typing import Any

import click

from rnnseg.options import MOST_ITERATIONS

_LARGEST = 10**9
_NUMBER_TYPES = (click.types.IntParamType, click.types.FloatParamType)


def check_given(param: click.Parameter, given: object, ctx: click.Context) -> None:
    """Checks the texts of a command line for one option or argument.

    Args:
      param: the option or argument.
      given: what was given for it: a text, a list of those, or something else for none.
      ctx: the context, for messages.

    Raises:
      click.BadParameter: a text is empty or holds a NUL character; or, where a number is expected,
        it has other digits than 0 to 9 or is not finite.
    """
    for text in _texts(given):
        fault = None
        if not text.strip() and not getattr(param.type, "may_be_empty", False):
            fault = "expected a value, not an empty text"
        elif "\0" in text:
            fault = "a NUL character; expected text"
        elif takes_numbers(param.type) and (not text.isascii() or "_" in text):
            fault = "expected numbers in the digits 0 to 9"
        elif isinstance(param.type, click.types.FloatParamType) and not _is_finite(text):
            fault = "expected a finite number"
        if fault is not None:
            raise click.BadParameter(f"{text!r}: {fault}", ctx, param)


def takes_numbers(kind: click.ParamType) -> bool:
    """Returns True for the types of numbers, click's and those with `takes_numbers`."""
    return isinstance(kind, _NUMBER_TYPES) or getattr(kind, "takes_numbers", False)


def _texts(given) -> Iterator[str]:
    if isinstance(given, str):
        yield given
    elif isinstance(given, (list, tuple)):
        for each in given:
            yield from _texts(each)


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return True  # the type itself tells that it is no number


class EmptyText(click.types.StringParamType):
    """A text that may be empty."""

    may_be_empty = True


class IterationNumbers(click.ParamType):
    """Numbers of iterations, such as 6, 1-12 or 1,2,6, as a rising tuple."""

    name = "N-M"
    takes_numbers = True

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Returns the numbers that a text lists."""
        numbers: list[int] = []
        for part in str(value).split(","):
            match = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", part.strip())
            if not match:
                self.fail(f"{value!r}: expected numbers such as 6, 1-12 or 1,2,6", param, ctx)
            # More digits than Python reads are far out of the range, too.
            first, last = (int(digits[:9]) for digits in (match[1], match[2] or match[1]))
            if not 1 <= first <= last <= MOST_ITERATIONS:
                self.fail(f"{value!r}: expected numbers from 1 to {MOST_ITERATIONS}", param, ctx)
            numbers += range(first, last + 1)
        return tuple(sorted(set(numbers)))


class Numbers(click.ParamType):
    """Several numbers with a separator, such as 0.5,1,1.5.

    Args:
      name: how they are written, for help and messages.
      kind: int or float.
      separator: the text between two numbers.
      length: how many numbers there are; None: any number of them. Where there are two, a single
        number stands for both.
      least: the smallest number allowed; None: there is none.
      most: the largest number allowed, likewise.
    """

    def __init__(
        self,
        name: str,
        kind: type,
        separator: str,
        length: int | None = None,
        least: float | None = None,
        most: float | None = None,
    ) -> None:
        self.name = name
        self.takes_numbers = True
        self._kind, self._separator, self._length = kind, separator, length
        self._range = None if (least, most) == (None, None) else click.FloatRange(least, most)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple:
        """Returns the numbers of a text."""
        try:
            numbers = tuple(self._kind(part) for part in str(value).split(self._separator))
        except ValueError:
            self.fail(f"{value!r}: expected {self.name}", param, ctx)
        if self._length == 2 and len(numbers) == 1:
            numbers *= 2
        if self._length not in (None, len(numbers)):
            self.fail(f"{value!r}: expected {self.name}", param, ctx)
        for number in numbers:
            if math.isnan(number) or (self._range is None and abs(number) > _LARGEST):
                self.fail(f"{value!r}: expected numbers up to {_LARGEST}", param, ctx)
            if self._range:
                self._range.convert(number, param, ctx)
        return numbers


class Sizes(click.ParamType):
    """Sizes of images, separated by commas."""

    name = "HEIGHTxWIDTH,..."
    takes_numbers = True

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns one (height, width) per size."""
        return tuple(SIZE.convert(each, param, ctx) for each in str(value).split(","))


class SizeOrAny(click.ParamType):
    """One size of images, or any size."""

    name = "HEIGHTxWIDTH|any"
    takes_numbers = True

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int] | str:
        """Returns (height, width), or "any"."""
        return value if value == "any" else SIZE.convert(value, param, ctx)


SIZE = Numbers("HEIGHTxWIDTH", int, "x", 2, least=1, most=2**15)
SCALES = Numbers("S,S,...", float, ",", least=0.01, most=10)
