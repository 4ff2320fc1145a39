"""Refuses work that needs more memory than the machine has, before it begins."""

import os

from rnnseg.budgets import costs
from rnnseg.errors import UserError
from rnnseg.models.base import SegmentationModel

# Counting the memory takes a second; images of fewer pixels fit into the memory of any machine.
_LARGE = 1 << 22


def check_memory(
    model: SegmentationModel, size: tuple[int, int], advice: str, images: int = 1
) -> None:
    """Raises a UserError if whole images need more memory than the machine has.

    Args:
      model: the model.
      size: the (height, width) of the images, in pixels.
      advice: what to do then, for the message.
      images: the number of images that are in memory together.
    """
    height, width = size
    if images * height * width <= _LARGE:
        return
    needed = images * max(stage.memory for stage in costs.stages(model, height, width).values())
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there / 2:  # the rest is for the results, TensorFlow and other programs
        several = f"{images} images" if images > 1 else "images"
        raise UserError(
            f"{several} of {height}x{width} pixels: {needed / 1e9:.0f} GB for the tensors of a "
            f"stage, expected at most half of the {there / 1e9:.0f} GB of this machine; {advice}"
        )
