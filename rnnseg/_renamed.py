"""Old names of arguments, fields and attributes, which work for one more release."""

import functools
import importlib
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

    def decorate(target: Any) -> Any:
        if isinstance(target, type):
            made: Any = target
            made.__init__ = decorate(made.__init__)
            return made

        @functools.wraps(target)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return target(*args, **present_names(kwargs, renamed))

        return wrapped

    return decorate


class RenamedAttribute:
    """An attribute of a class that has another name now; it warns where the old one is read.

    Args:
      present: the present name.
    """

    def __init__(self, present: str):
        self._present = present

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        warnings.warn(
            f"{type(instance).__name__}.{self._name} is now called {self._present}",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(instance, self._present)


def renamed_attributes(
    module: str, renamed: Mapping[str, str], others: Callable[[str], Any] | None = None
) -> Callable[[str], Any]:
    """Makes the `__getattr__` of a module whose functions or classes have other names now.

    Args:
      module: its `__name__`.
      renamed: the present name of every old one, with its module if that is another one, such as
        `{"old": "present", "moved": "rnnseg.grid.moved"}`.
      others: the `__getattr__` for all other names; None if there are none.

    Returns:
      The function, which gives a DeprecationWarning for each old name.
    """

    def get(name: str) -> Any:
        if name not in renamed:
            if others is not None:
                return others(name)
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, present = renamed[name].rpartition(".")
        home = home or module
        warnings.warn(f"{module}.{name} is now {home}.{present}", DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(home), present)

    return get
