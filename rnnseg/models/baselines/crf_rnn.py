"""CRF-RNN: a conditional random field on the scores of an FCN, trained with it."""

from typing import Any

import keras

from rnnseg.models.baselines.crf import CRFSegmenter
from rnnseg.models.baselines.fcn import FCN
from rnnseg.models.mean_field import Widths
from rnnseg.models.options import CRFRNNOptions


@keras.saving.register_keras_serializable("rnnseg")
class CRFRNN(CRFSegmenter, FCN):
    """CRF-RNN (Zheng et al., 2015, "Conditional Random Fields as Recurrent Neural Networks").

    The scores of an FCN-8s (`rnnseg.models.baselines.fcn.FCN`) are the unary logits of a
    conditional random field, whose mean-field inference runs as a recurrent layer
    (`rnnseg.models.mean_field.MeanField`). Scores and field are trained together, with a loss at
    the last iteration. It is a recurrence, too: any number of iterations can be run, and the first
    one gives the scores of the FCN.

    Kept: the layer with its weights per class and its compatibility, which are trained; the two
    kernels, with the widths of the published system at first, 160 pixels, 3 units of colour and 3
    pixels, and weights of 5 and 3; five steps in training, which are iterations 2 to 6. (Published
    scores are of ten steps, `iterations=11`.)

    Changed: kernels see a window of the canvas at stride 4 instead of the whole image, and their
    widths are trained, too. Left out: training the FCN first, and the field with it afterwards;
    start from a trained FCN for that (`rnnseg train --init`).

    Args:
      num_classes: the number of classes.
      **options: as `rnnseg.models.base.SegmentationModel`, and fields of
        `rnnseg.models.options.CRFRNNOptions`.
    """

    options_type = CRFRNNOptions
    skip_strides = (8, 16)
    widths = Widths(far=160, color=3, near=3)
    appearance_weight = 5
    smoothness_weight = 3
    trains_field = True

    def __init__(self, num_classes: int, *, name: str = "crf_rnn", **options: Any) -> None:
        super().__init__(num_classes, name=name, **options)
