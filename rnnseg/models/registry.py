"""The models by the names that commands take."""

from rnnseg.models.base import SegmentationModel
from rnnseg.models.baselines.crf_rnn import CRFRNN
from rnnseg.models.baselines.deeplab import DeepLab
from rnnseg.models.baselines.deeplabv3 import DeepLabV3
from rnnseg.models.baselines.deeplabv3_plus import DeepLabV3Plus
from rnnseg.models.baselines.fcn import FCN
from rnnseg.models.baselines.lr_aspp import LRASPP
from rnnseg.models.baselines.pspnet import PSPNet
from rnnseg.models.baselines.sdn import SDN
from rnnseg.models.recurrent import RecurrentSegmenter

MODELS: dict[str, type[SegmentationModel]] = {
    "recurrent": RecurrentSegmenter,
    "fcn": FCN,
    "crf_rnn": CRFRNN,
    "deeplab": DeepLab,
    "deeplabv3": DeepLabV3,
    "deeplabv3_plus": DeepLabV3Plus,
    "lr_aspp": LRASPP,
    "pspnet": PSPNet,
    "sdn": SDN,
}


def kind_of(model: SegmentationModel) -> str:
    """Returns the name of a model's class in `MODELS`."""
    return next(name for name, kind in MODELS.items() if type(model) is kind)
