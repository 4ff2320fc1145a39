"""Class colours for data sets that bring none."""

import numpy as np


def default_colors(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Returns the PASCAL VOC colour map: the bits of the class index spread over the channels.

    Args:
      num_classes: the number of colours, 1 to 256.

    Returns:
      One (red, green, blue) of 0-255 per class. Class 0 is black; all 256 colours are distinct.
    """
    index = np.arange(num_classes)
    colors = np.zeros((num_classes, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            value = (index >> (3 * bit + channel)) & 1
            colors[:, channel] |= (value << (7 - bit)).astype(np.uint8)
    return tuple((red, green, blue) for red, green, blue in colors.tolist())
