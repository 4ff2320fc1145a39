"""The models by the names that commands take."""

from rnnseg.models.base import SegmentationModel
from rnnseg.models.baselines.deeplabv3 import DeepLabV3
from rnnseg.models.baselines.pspnet import PSPNet
from rnnseg.models.recurrent import RecurrentSegmenter

MODELS: dict[str, type[SegmentationModel]] = {
    "recurrent": RecurrentSegmenter,
    "deeplabv3": DeepLabV3,
    "pspnet": PSPNet,
}
