"""Models: from an image to a canvas of class logits, stage by stage.

The stages are `encode`, `prepare`, `refine` and `read` (`base`). `recurrent` has the loop, which
runs the cells of `conv_lstm`; `encoders` and `context` give the features; `geometry` says where
image, features and canvas lie on one another. `adaptive` stops what has settled, `recomputation`
trains in less memory. `baselines` are the feed-forward models to compare with, `registry` names
them all, and `loading` reads them from files.
"""

from rnnseg._lazy import lazy_attributes

_NAMES = {
    "MODELS": "registry",
    "RecurrentSegmenter": "recurrent",
    "SegmentationModel": "base",
    "load_model": "loading",
}
__getattr__, __dir__ = lazy_attributes(__name__, _NAMES)
