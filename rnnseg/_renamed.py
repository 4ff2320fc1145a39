"""Old names of arguments and fields, which work for one more release."""

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def present_names(
    values: Mapping[str, Any], renamed: Mapping[str, str], where: str = "", stacklevel: int = 2
) -> dict[str, Any]:
    """Returns the same values by their present names; a DeprecationWarning tells of each old one.

    Args:
      values: by name, which may be an old one.
      renamed: the present name of every old one.
      where: the beginning of the warnings.
      stacklevel: as `warnings.warn` takes it, from here.
    """
    for old in sorted(renamed.keys() & values.keys()):
        warnings.warn(
            f"{where}{old} is now called {renamed[old]}",
            DeprecationWarning,
            stacklevel=stacklevel + 1,
        )
    return {renamed.get(name, name): value for name, value in values.items()}


def renamed_arguments(**renamed: str) -> Callable:
    """Returns a decorator for functions and classes whose keyword arguments were renamed.

    Args:
      **renamed: the present name of every old one.
    """

    def decorate(target):
        if isinstance(target, type):
            target.__init__ = decorate(target.__init__)
            return target

        @functools.wraps(target)
        def wrapped(*args, **kwargs):
            return target(*args, **present_names(kwargs, renamed))

        return wrapped

    return decorate
