"""The parameter types of commands: several numbers in one value."""

import re

import click

MOST_ITERATIONS = 1000  # far beyond where any canvas has settled


class IterationNumbers(click.ParamType):
    """Numbers of iterations, such as 6, 1-12 or 1,2,6, as a rising tuple."""

    name = "N-M"

    def convert(self, value, param, ctx):
        """Returns the numbers that a text lists."""
        numbers = []
        for part in str(value).split(","):
            match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
            if not match:
                self.fail(f"{value!r}: expected numbers such as 6, 1-12 or 1,2,6", param, ctx)
            first, last = int(match[1]), int(match[2] or match[1])
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

    def __init__(self, name, kind, separator, length=None, least=None, most=None):
        self.name = name
        self._kind, self._separator, self._length = kind, separator, length
        self._range = None if (least, most) == (None, None) else click.FloatRange(least, most)

    def convert(self, value, param, ctx):
        """Returns the numbers of a text."""
        try:
            numbers = tuple(self._kind(part) for part in str(value).split(self._separator))
        except ValueError:
            self.fail(f"{value!r}: expected {self.name}", param, ctx)
        if self._length == 2 and len(numbers) == 1:
            numbers *= 2
        if self._length not in (None, len(numbers)):
            self.fail(f"{value!r}: expected {self.name}", param, ctx)
        for number in numbers if self._range else ():
            self._range.convert(number, param, ctx)
        return numbers


class Sizes(click.ParamType):
    """Sizes of images, separated by commas."""

    name = "HEIGHTxWIDTH,..."

    def convert(self, value, param, ctx):
        """Returns one (height, width) per size."""
        return tuple(SIZE.convert(each, param, ctx) for each in str(value).split(","))


class SizeOrAny(click.ParamType):
    """One size of images, or any size."""

    name = "HEIGHTxWIDTH|any"

    def convert(self, value, param, ctx):
        """Returns (height, width), or "any"."""
        return value if value == "any" else SIZE.convert(value, param, ctx)


SIZE = Numbers("HEIGHTxWIDTH", int, "x", 2, least=1, most=2**15)
SCALES = Numbers("S,S,...", float, ",")
