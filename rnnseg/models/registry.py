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
    """Returns the name in `MODELS` of a model's class, or of the nearest one above it.

    Some of `MODELS` derive from others, and a training on sampled patches has a class of its own.
    """
    names = {kind: name for name, kind in MODELS.items()}
    return next(names[each] for each in type(model).__mro__ if each in names)
