"""Semantic segmentation for any computational budget.

    import rnnseg
    model = rnnseg.RecurrentSegmenter(num_classes=21, encoder="mobilenet_v2")
    logits = model(images, iterations=3)

Names load when they are first used, so that `import rnnseg` and the command's help stay quick.
"""

import importlib

from rnnseg import _registration

__version__ = "0.1.0"

_NAMES = {
    "Budget": "rnnseg.planning",
    "RecurrentSegmenter": "rnnseg.segmenter",
    "SegmentationLoss": "rnnseg.losses",
    "UserError": "rnnseg.errors",
    "VideoSegmenter": "rnnseg.video.segmenter",
    "export_model": "rnnseg.exporting.export",
    "load_model": "rnnseg.loading",
}
_MODULES = (
    "adaptive base baselines benchmarking budgets checks cityscapes config context conv_lstm "
    "dashboard data demo encoders errors evaluation exporting files framing geometry inspection "
    "interpreters loading losses metrics model_info models pacing palette planning prediction "
    "profiles reading recomputation report runtime sampling scores segmentation segmenter tracing "
    "training video views visualize"
).split()


def __getattr__(name):
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"rnnseg.{name}")
    raise AttributeError(f"module 'rnnseg' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_NAMES, *_MODULES])


_registration.register_with_keras()
