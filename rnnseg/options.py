"""Declarations of options, from which constructors, configurations and commands derive.

An option is declared once, as a field of a frozen dataclass (`rnnseg.models.options`,
`rnnseg.training.config`): its annotation is its type, and `option` adds the default, the help text
and the range. `check_options` validates an instance, and `rnnseg.cli.derived` makes the options of
a command from the same fields. Nothing here loads TensorFlow.
"""

import dataclasses
import math
import numbers
import types
import typing
from collections.abc import Sequence
from typing import Any

from rnnseg.errors import UserError

MOST_ITERATIONS = 1000
"""The largest number of iterations, far beyond where any canvas has settled."""

_METADATA_KEY = "option"
_KINDS = {
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a finite number"),
    str: (str, "a text"),
    bool: (bool, "True or False"),
}


@dataclasses.dataclass(frozen=True)
class Option:
    """The declaration of an option beside its annotation and its default.

    Attributes:
      help: one sentence for the help of commands.
      least: the smallest value, of every element where the option is a tuple.
      most: the largest value, likewise.
      above: the values are larger than this number.
      below: the values are smaller than this number.
      choices: the only values, in the order in which they are shown.
      name: the option of commands; None: two dashes and the field's name.
      also: further names of the option of commands, such as ("--from",).
      flag: for True and False, the two options of commands, such as ("--flip", "--no-flip").
      form: for tuples, how they are written in commands, such as "HEIGHTxWIDTH".
      separator: for tuples, the text between two elements in commands.
      may_be_empty: for tuples, True if there may be no element; commands take "none" for that.
      training_only: True if the option changes training alone: neither the multiply-adds nor the
        parameters of a prediction.
    """

    help: str
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    choices: Sequence[Any] = ()
    name: str | None = None
    also: tuple[str, ...] = ()
    flag: tuple[str, str] | None = None
    form: str | None = None
    separator: str = ","
    may_be_empty: bool = False
    training_only: bool = False

    @property
    def expected(self) -> str:
        """The range in words, such as "at least 1"; empty without a range."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        if self.least is not None and self.most is not None:
            return f"{self.least} to {self.most}"
        limits = {
            "at least": self.least,
            "more than": self.above,
            "at most": self.most,
            "less than": self.below,
        }
        return " and ".join(
            f"{word} {limit}" for word, limit in limits.items() if limit is not None
        )

    def allows(self, value: Any) -> bool:
        """True if a value, or one element of a tuple, is in the range."""
        return not (
            (self.choices and value not in self.choices)
            or (self.least is not None and value < self.least)
            or (self.most is not None and value > self.most)
            or (self.above is not None and value <= self.above)
            or (self.below is not None and value >= self.below)
        )


def option(default: Any, help: str, **declaration: Any) -> Any:
    """Returns a dataclass field that declares an option.

    Args:
      default: the default; `dataclasses.MISSING` if there is none.
      help: one sentence for the help of commands.
      **declaration: further attributes of `Option`.
    """
    return dataclasses.field(default=default, metadata={_METADATA_KEY: Option(help, **declaration)})


def declaration(field: dataclasses.Field) -> Option:
    """Returns the `Option` of a field that `option` made."""
    return field.metadata[_METADATA_KEY]


def check_options(instance: Any) -> None:
    """Validates every option of a frozen dataclass, and brings its value into the declared type.

    Lists become tuples, and NumPy's numbers become Python's.

    Args:
      instance: of a dataclass whose fields are made by `option`.

    Raises:
      UserError: a value of another type than its annotation, or out of its range.
    """
    for field in dataclasses.fields(instance):
        try:
            value = checked(field, getattr(instance, field.name))
        except UserError as error:
            raise UserError(f"{field.name}={error}") from None
        object.__setattr__(instance, field.name, value)


def checked(field: dataclasses.Field, value: Any) -> Any:
    """Validates one value.

    Args:
      field: made by `option`.
      value: the value.

    Returns:
      The value in the declared type.

    Raises:
      UserError: a value of another type than the annotation, or out of the range. The message
        begins with the value; the caller adds the name.
    """
    kinds = kinds_of(field)
    if (value is None and type(None) in kinds) or object in kinds:
        return value
    elements, length = tuple_of(kinds[0])
    if elements is None:
        return _checked_element(field, value, value, kinds)
    if not isinstance(value, (tuple, list)) or length not in (None, len(value)):
        how_many = "some" if length is None else length
        raise UserError(f"{value!r}: expected {how_many} numbers in a tuple")
    return tuple(_checked_element(field, value, each, (elements,)) for each in value)


def kinds_of(field: dataclasses.Field) -> tuple:
    """Returns the types that an annotation allows, such as (int, NoneType) for `int | None`."""
    is_union = isinstance(field.type, types.UnionType)
    return typing.get_args(field.type) if is_union else (field.type,)


def tuple_of(kind: Any) -> tuple[type | None, int | None]:
    """Returns the type of a tuple's elements and their number.

    Args:
      kind: one of `kinds_of`.

    Returns:
      The type, None if `kind` is no tuple; and the number, None if any will do.
    """
    if typing.get_origin(kind) is not tuple:
        return None, None
    elements = typing.get_args(kind)
    return elements[0], None if elements[-1] is Ellipsis else len(elements)


def _checked_element(
    field: dataclasses.Field, value: object, element: Any, kinds: Sequence[Any]
) -> Any:
    """Validates a value or one element of it; messages show the value."""
    kind = kinds[0]
    accepted, words = _KINDS[kind]
    right = isinstance(element, (accepted, *(each for each in kinds if each not in _KINDS)))
    if isinstance(element, bool) and kind is not bool:
        right = False
    if not right or (kind is float and not math.isfinite(element)):
        raise UserError(f"{value!r}: expected {words}")
    declared = declaration(field)
    if not declared.allows(element):
        raise UserError(f"{value!r}: expected {declared.expected}")
    return kind(element) if kind in (int, float) else element
