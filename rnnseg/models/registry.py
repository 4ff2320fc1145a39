"""The models that can be named, each built from the same options."""

from rnnseg.models.base import Segmenter
from rnnseg.models.baselines.deeplabv3 import DeepLabV3
from rnnseg.models.baselines.pspnet import PSPNet
from rnnseg.models.recurrent import RecurrentSegmenter

MODELS: dict[str, type[Segmenter]] = {
    "recurrent": RecurrentSegmenter,
    "deeplabv3": DeepLabV3,
    "pspnet": PSPNet,
}
