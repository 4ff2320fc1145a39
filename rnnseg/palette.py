"""Class colours for data sets that bring none."""

import numpy as np


def default_colors(num_classes: int) -> list[tuple[int, int, int]]:
    """The PASCAL VOC colour map: bits of the class index spread over red, green and blue.

    Args:
      num_classes: how many colours, 1 to 256.

    Returns:
      One (red, green, blue) of 0-255 a class; class 0 is black, all 256 are distinct.
    """
    index = np.arange(num_classes)
    colors = np.zeros((num_classes, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= (((index >> (3 * bit + channel)) & 1) << (7 - bit)).astype(
                np.uint8
            )
    return [tuple(int(value) for value in color) for color in colors]
