"""Semantic segmentation for any computational budget.

    import rnnseg
    model = rnnseg.RecurrentSegmenter(num_classes=21, encoder="mobilenet_v2")
    logits = model(images, iterations=3)

Names load when they are first used, so that `import rnnseg` and the command's help stay quick.
"""

from rnnseg import _checkout, _moved
from rnnseg._lazy import lazy_attributes

__version__ = "0.1.0"

_NAMES = {
    "Budget": "budgets.budget",
    "Predictor": "inference.predictor",
    "RecurrentSegmenter": "models.recurrent",
    "SegmentationLoss": "training.losses",
    "UserError": "errors",
    "VideoSegmenter": "video.segmenter",
    "export_model": "exporting.export",
    "load_model": "models.loading",
    "presets": "pretrained.listing",
}
__getattr__, __dir__ = lazy_attributes(__name__, _NAMES)

_checkout.find_neighbours()
_moved.find_moved_modules()
