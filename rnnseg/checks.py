"""Checks of numeric arguments, with uniform messages."""

import numbers
from typing import Any

from rnnseg.errors import UserError


def check_positive(option: str, value: Any) -> None:
    """Raises a UserError unless `value` is a whole number of at least 1."""
    if not _is_number(value, numbers.Integral) or value < 1:
        raise UserError(f"{option}={value}: expected a whole number of at least 1")


def check_fraction(option: str, value: Any) -> None:
    """Raises a UserError unless `value` is a number from 0 to 1."""
    if not _is_number(value, numbers.Real) or not 0 <= value <= 1:
        raise UserError(f"{option}={value}: expected a number from 0 to 1")


def check_milliseconds(option: str, value: Any) -> None:
    """Raises a UserError unless `value` is a number above 0."""
    if not _is_number(value, numbers.Real) or not value > 0:
        raise UserError(f"{option}={value}: expected milliseconds above 0")


def _is_number(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
