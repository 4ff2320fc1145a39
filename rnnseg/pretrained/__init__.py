"""Pretrained models: presets that come with the package, in folders, and on Hugging Face's hub.

    rnnseg.presets()
    model = rnnseg.RecurrentSegmenter.from_preset("mobilenet_v2_voc")

A preset is a folder with the files of `preset`, `names` finds it, and `listing` tells what there
is. `hub` reads presets from Hugging Face and publishes them. `card` writes the page that tells
people what a model was trained on. Nothing here imports TensorFlow or Keras: the runtime for
devices opens presets, too. `rnnseg.models.preset_files` makes models of presets, and presets of
models.
"""

from rnnseg._lazy import lazy_attributes

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
