"""CamVid with the canvas of the paper: one depth, output stride 16, the loss at the last iteration.

Most experiments on the recurrence itself are with models of this recipe
(`docs/experiments/training.md`); `camvid`, from which it has all other settings, is better at every
cost.
"""

from rnnseg.models.options import paper_form
from rnnseg.training.recipes import camvid

RECIPE = {
    **camvid.RECIPE,
    **paper_form(16),
    "hidden_channels": (128, 64),
    "iterations": 6,
    "class_weights": None,
}
