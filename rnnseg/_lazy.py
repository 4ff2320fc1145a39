"""Attributes of a package that load when they are first used."""

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any


def lazy_attributes(
    package: str, names: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Makes the `__getattr__` and `__dir__` of a package.

    Keras and TensorFlow take seconds to load. A package whose names load on first use costs nothing
    to those who only want the command's help or the device runtime.

    Args:
      package: its `__name__`.
      names: the module that holds each public name, relative to the package, such as
        `{"Budget": "budgets.budget"}`.

    Returns:
      Both functions. Modules of the package are attributes, too.
    """

    def get(name: str) -> Any:
        if name in names:
            return getattr(importlib.import_module(f"{package}.{names[name]}"), name)
        if not name.startswith("_") and importlib.util.find_spec(f"{package}.{name}"):
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def list_names() -> list[str]:
        return sorted(names)

    return get, list_names
