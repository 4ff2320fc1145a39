"""Makes `keras.saving.load_model` know segmenter and loss wherever `rnnseg` was imported.

Keras finds a class only after the module that registers it was imported, and that module needs
Keras
and TensorFlow: seconds that `import rnnseg` must not cost who only wants the command's help or the
device runtime. So these modules are imported together with Keras, whichever of the two comes
first.
"""

import importlib
import importlib.abc
import importlib.util
import sys

_REGISTERING = ("rnnseg.segmenter", "rnnseg.losses")


class _AfterKeras(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for the loader of Keras once, to import what registers right after it."""

    def __init__(self):
        self._loader = None

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("keras")
        if spec is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        # From here on Keras has its own loader and this one is gone.
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _import_registering()


def register_with_keras() -> None:
    """Registers segmenter and loss now where Keras is there already, else as soon as it is."""
    if "keras" in sys.modules:
        _import_registering()
    else:
        sys.meta_path.insert(0, _AfterKeras())


def _import_registering():
    for name in _REGISTERING:
        importlib.import_module(name)
