"""Old names of modules, which work for one more release and say where their module is now."""

import importlib
import importlib.abc
import importlib.util
import sys
import types
import warnings
from collections.abc import Sequence

_MOVED = {
    "adaptive": "models.adaptive",
    "base": "models.base",
    "baselines": "models.baselines",
    "baselines.deeplabv3": "models.baselines.deeplabv3",
    "baselines.feed_forward": "models.baselines.feed_forward",
    "baselines.pspnet": "models.baselines.pspnet",
    "benchmarking": "budgets.benchmarking",
    "cityscapes": "evaluation.cityscapes",
    "config": "training.config",
    "context": "models.context",
    "conv_lstm": "models.conv_lstm",
    "encoders": "models.encoders",
    "framing": "runtime.letterbox",
    "geometry": "models.geometry",
    "inspection": "data.inspection",
    "interpreters": "runtime.interpreters",
    "loading": "models.loading",
    "losses": "training.losses",
    "metrics": "evaluation.metrics",
    "model_info": "runtime.model_info",
    "pacing": "runtime.pacing",
    "planning": "budgets.budget",
    "prediction": "inference.predictor",
    "profiles": "budgets.profiles",
    "reading": "runtime.reading",
    "recomputation": "models.recomputation",
    "replicas": "training.replicas",
    "report": "evaluation.report",
    "sampling": "training.sampling",
    "scores": "budgets.planning",
    "segmentation": "inference.image_files",
    "segmenter": "models.recurrent",
    "timing": "budgets.timing",
    "tracing": "evaluation.unrolling",
    "views": "evaluation.multi_scale",
}


class _Finder(importlib.abc.MetaPathFinder):
    """The finder of old names.

    It comes before the others, which would find `rnnseg.baselines.pspnet` in the folder of
    `rnnseg.models.baselines` and run that module twice.
    """

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, name = fullname.partition(".")
        if package != "rnnseg" or name not in _MOVED:
            return None
        present = f"rnnseg.{_MOVED[name]}"
        _warn(f"{fullname} is now {present}")
        return importlib.util.spec_from_loader(fullname, AliasLoader(present))


def _warn(message: str) -> None:
    """Gives a DeprecationWarning for the line that imports, which Python shows if it is a script's.

    No number of frames leads there: `from rnnseg import base` goes through `rnnseg._lazy`, `import
    rnnseg.base` does not.
    """
    frame = sys._getframe(1)
    while frame.f_back and _imports(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    warnings.warn_explicit(
        message,
        DeprecationWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        frame.f_globals.get("__name__"),
        frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _imports(module: str) -> bool:
    """Returns True if a module is part of the machinery of imports."""
    return module.partition(".")[0] == "importlib" or module in (__name__, "rnnseg._lazy")


class AliasLoader(importlib.abc.Loader):
    """A loader that gives the module of another name, so that both names mean one module.

    Args:
      name: the other name.
    """

    def __init__(self, name: str):
        self._name = name

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Imports the module by its other name."""
        module = importlib.import_module(self._name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Restores the module, which has been run already."""
        module.__spec__ = self._spec  # the import system has put that of the old name there

    def get_code(self, fullname: str) -> types.CodeType | None:
        """Returns the code of the module, for `python -m`."""
        spec = importlib.util.find_spec(self._name)
        loader = spec and spec.loader
        assert isinstance(loader, importlib.abc.InspectLoader)  # as for every module of a package
        return loader.get_code(self._name)


def find_moved_modules() -> None:
    """Makes `import rnnseg.OLD_NAME` work."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
