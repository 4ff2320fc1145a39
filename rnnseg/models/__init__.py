"""Models: from an image to a canvas of class logits, stage by stage.

The stages are `encode`, `prepare`, `refine` and `read` (`base`). `recurrent` has the loop, which
runs the cells of `conv_lstm`; `encoders` and `context` give the features; `geometry` says where
image, features and canvas lie on one another. `adaptive` stops what has settled, `recomputation`
trains in less memory. `baselines` are the feed-forward models to compare with, `registry` names
them all, and `loading` reads them from files.
"""

from typing import TYPE_CHECKING

from rnnseg._lazy import lazy_attributes

if TYPE_CHECKING:  # what type checkers and editors know of them
    from rnnseg.models.base import SegmentationModel as SegmentationModel
    from rnnseg.models.loading import load_model as load_model
    from rnnseg.models.recurrent import RecurrentSegmenter as RecurrentSegmenter
    from rnnseg.models.registry import MODELS as MODELS

_NAMES = {
    "MODELS": "registry",
    "RecurrentSegmenter": "recurrent",
    "SegmentationModel": "base",
    "load_model": "loading",
}
__getattr__, __dir__ = lazy_attributes(__name__, _NAMES)
