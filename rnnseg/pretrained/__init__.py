"""Pretrained models: presets that come with the package, in folders, and on Hugging Face's hub.

    rnnseg.presets()
    model = rnnseg.RecurrentSegmenter.from_preset("mobilenet_v2_voc")

A preset is a folder with the files of `preset`, `names` finds it, and `listing` tells what there
is. `hub` reads presets from Hugging Face and publishes them. `card` writes the page that tells
people what a model was trained on. Nothing here imports TensorFlow or Keras: the runtime for
devices opens presets, too. `rnnseg.models.preset_files` makes models of presets, and presets of
models.
"""

from typing import TYPE_CHECKING

from rnnseg._lazy import lazy_attributes

if TYPE_CHECKING:  # what type checkers and editors know of them
    from rnnseg.pretrained.hub import upload_to_hub as upload_to_hub
    from rnnseg.pretrained.listing import PresetInfo as PresetInfo
    from rnnseg.pretrained.listing import presets as presets
    from rnnseg.pretrained.names import is_preset as is_preset
    from rnnseg.pretrained.names import open_preset as open_preset
    from rnnseg.pretrained.preset import Metadata as Metadata
    from rnnseg.pretrained.preset import Preset as Preset

_NAMES = {
    "Metadata": "preset",
    "Preset": "preset",
    "PresetInfo": "listing",
    "is_preset": "names",
    "open_preset": "names",
    "presets": "listing",
    "upload_to_hub": "hub",
}
__getattr__, __dir__ = lazy_attributes(__name__, _NAMES)
