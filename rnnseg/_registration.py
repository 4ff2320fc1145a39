"""Makes `keras.saving.load_model` know segmenter and loss wherever `rnnseg` was imported.

Keras finds a class only after the module that registers it was imported. Such a module needs Keras
and TensorFlow: seconds that `import rnnseg` must not cost who only wants the command's help or the
device runtime. So these modules are imported together with Keras, whichever of the two comes first.
"""

import importlib
import importlib.abc
import importlib.util
import sys

_REGISTERING = (
    "rnnseg.segmenter",
    "rnnseg.baselines.deeplabv3",
    "rnnseg.baselines.pspnet",
    "rnnseg.losses",
)


class _KerasFinder(importlib.abc.MetaPathFinder):
    """Finds Keras as the other finders do, and hands it to `_KerasLoader`."""

    def __init__(self):
        self._searching = False

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "keras" or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec("keras")
        finally:
            self._searching = False
        # Many only look whether Keras is there: nothing may change before it is really loaded.
        if spec is not None:
            spec.loader = _KerasLoader(spec.loader, self)
        return spec


class _KerasLoader(importlib.abc.Loader):
    """Loads Keras with its own loader, then what registers with it."""

    def __init__(self, loader, finder):
        self._loader, self._finder = loader, finder

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        # From here on Keras has its own loader and these two are gone.
        module.__loader__ = module.__spec__.loader = self._loader
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        self._loader.exec_module(module)
        import_registering()


def register_with_keras() -> None:
    """Registers segmenter and loss now where Keras is there already, else as soon as it is."""
    if "keras" in sys.modules:
        import_registering()
    else:
        sys.meta_path.insert(0, _KerasFinder())


def import_registering() -> None:
    """Imports the modules that register with Keras, as far as that can be done now."""
    for name in _REGISTERING:
        try:
            importlib.import_module(name)
        except (AttributeError, ImportError):
            # Where Keras is imported by a module that these need, such as rnnseg.base, they cannot
            # be had before it is whole; then `rnnseg.load_model` imports them.
            if not _half_imported():
                raise


def _half_imported() -> bool:
    """Whether a module of this package is being imported right now."""
    return any(
        getattr(getattr(module, "__spec__", None), "_initializing", False)
        for name, module in list(sys.modules.items())
        if name.startswith("rnnseg.")
    )
