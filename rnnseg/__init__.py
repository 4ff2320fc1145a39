"""Semantic segmentation for any computational budget.

    import rnnseg
    model = rnnseg.RecurrentSegmenter(num_classes=21, encoder="mobilenet_v2")
    logits = model(images, iterations=3)

Names load when they are first used, so that `import rnnseg` and the command's help stay quick.
"""

from typing import TYPE_CHECKING

from rnnseg import _checkout, _moved
from rnnseg._lazy import lazy_attributes

__version__ = "0.1.0"

if TYPE_CHECKING:  # what type checkers and editors know of them
    from rnnseg import budgets as budgets
    from rnnseg import bulk as bulk
    from rnnseg import dashboard as dashboard
    from rnnseg import data as data
    from rnnseg import demos as demos
    from rnnseg import evaluation as evaluation
    from rnnseg import exporting as exporting
    from rnnseg import inference as inference
    from rnnseg import models as models
    from rnnseg import pretrained as pretrained
    from rnnseg import runtime as runtime
    from rnnseg import training as training
    from rnnseg import video as video
    from rnnseg import visualize as visualize
    from rnnseg.budgets.budget import Budget as Budget
    from rnnseg.errors import UserError as UserError
    from rnnseg.exporting.export import export_model as export_model
    from rnnseg.inference.predictor import Predictor as Predictor
    from rnnseg.models.loading import load_model as load_model
    from rnnseg.models.recurrent import RecurrentSegmenter as RecurrentSegmenter
    from rnnseg.pretrained.listing import presets as presets
    from rnnseg.training.losses import SegmentationLoss as SegmentationLoss
    from rnnseg.video.segmenter import VideoSegmenter as VideoSegmenter

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
