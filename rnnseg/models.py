"""The models that can be named, each built from the same options."""

from rnnseg.base import Segmenter
from rnnseg.baselines.deeplabv3 import DeepLabV3
from rnnseg.baselines.pspnet import PSPNet
from rnnseg.segmenter import RecurrentSegmenter

MODELS: dict[str, type[Segmenter]] = {
    "recurrent": RecurrentSegmenter,
    "deeplabv3": DeepLabV3,
    "pspnet": PSPNet,
}
