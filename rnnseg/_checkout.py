"""The packages `rnnseg.data_prep` and `rnnseg.experiments` in a checkout.

The wheel has them inside `rnnseg`. A checkout has them beside it, where they can be imported as
`data_prep` and `experiments`, too; both names then mean the same modules. Otherwise the builders
would be registered with TFDS twice.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import pathlib
import sys
import types
from collections.abc import Sequence

from rnnseg._moved import AliasLoader

_PACKAGES = ("data_prep", "experiments")
_RNNSEG = pathlib.Path(__file__).parent


class _Finder(importlib.abc.MetaPathFinder):
    """The finder of `rnnseg.data_prep.X` where `data_prep.X` of the same checkout is importable."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Returns a spec with an alias; None leaves the module to the other finders."""
        package, _, name = fullname.partition(".")
        neighbour = name.partition(".")[0]
        if package != "rnnseg" or neighbour not in _PACKAGES:
            return None
        beside = importlib.machinery.PathFinder.find_spec(neighbour)
        if beside is None or pathlib.Path(beside.origin or "").parent != _RNNSEG.parent / neighbour:
            return None
        found = importlib.util.find_spec(name)
        if found is None:
            return None
        return importlib.util.spec_from_loader(fullname, AliasLoader(name), origin=found.origin)


def find_neighbours() -> None:
    """Makes `import rnnseg.data_prep` work in a checkout."""
    is_wheel = (_RNNSEG / _PACKAGES[0]).is_dir()
    if not is_wheel and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
