"""Views of an image, and the labels on which a model gives them all the same class."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from rnnseg import grid
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.runtime.letterbox import content_size, resize_nearest


def view_sizes(
    size: tuple[int, int], scales: tuple[float, ...], teacher_size: tuple[int, int] | None
) -> list[tuple[int, int]]:
    """Returns the sizes at which an image is looked at, each once.

    Args:
      size: the (height, width) of the image, in pixels.
      scales: the factors of both sides.
      teacher_size: the (height, width) that the teacher takes; larger views would be scaled down to
        it, so they are scaled to it at once. None: any.
    """
    sizes = [tuple(grid.scaled_size(side, scale) for side in size) for scale in scales]
    if teacher_size is not None:
        sizes = [content_size(each, teacher_size) for each in sizes]
    return list(dict.fromkeys(sizes))


def agreed(
    teacher: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    sizes: list[tuple[int, int]],
) -> np.ndarray:
    """Returns the labels of an image on which all views of it agree.

    Args:
      teacher: maps an image, uint8 `(h, w, 3)`, to its class map, `(h, w)`.
      image: RGB, uint8 `(height, width, 3)`.
      sizes: the (height, width) of every view; each is looked at mirrored, too.

    Returns:
      int32 `(height, width)`: the class, or 255 where two views differ.
    """
    labels = None
    for height, width in sizes:
        view = image
        if view.shape[:2] != (height, width):
            resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
            view = np.asarray(resized)
        for mirrored in (False, True):
            found = teacher(np.ascontiguousarray(view[:, ::-1]) if mirrored else view)
            found = resize_nearest(found[:, ::-1] if mirrored else found, image.shape[:2])
            if labels is None:
                labels = found.astype(np.int32)
            else:
                labels[labels != found] = IGNORE_LABEL
    return labels
