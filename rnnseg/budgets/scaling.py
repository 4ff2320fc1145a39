"""Predictions of an image at another scale, the second dial beside the number of iterations.

The image is scaled, segmented, and the canvas read at the size of the image. The corners of the
scaled image are the corners of the image, so that the canvas pixels form a regular grid on it.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from rnnseg import grid
from rnnseg.budgets.costs import BILINEAR_COST, StageCosts, stage_costs
from rnnseg.models import geometry
from rnnseg.models.base import SegmentationModel
from rnnseg.runtime import reading


def scale_images(images: np.ndarray | tf.Tensor, scale: float) -> tf.Tensor:
    """Scales images of one size by bilinear interpolation with aligned corners.

    Args:
      images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`.
      scale: the factor of the distance between the first and the last pixel of a side.

    Returns:
      Float32, `(batch, h, w, 3)`.
    """
    images = tf.cast(images, tf.float32)
    if scale == 1:
        return images
    _, height, width, _ = images.shape
    return geometry.resize_aligned(images, scaled_size(height, width, scale))


def scaled_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Returns the (height, width) of an image of this size at a scale, in pixels."""
    return grid.scaled_size(height, scale), grid.scaled_size(width, scale)


def read_scaled(
    canvas: np.ndarray, size: tuple[int, int], scale: float, canvas_stride: int
) -> np.ndarray:
    """Reads the class map of an image from the canvas of the scaled image.

    Args:
      canvas: finite logits, float32, `(h, w, classes)`.
      size: the `(height, width)` of the image, in pixels.
      scale: the scale of the image that the canvas is of, at most half of the canvas stride.
      canvas_stride: pixels of the scaled image per canvas pixel.

    Returns:
      Class map, int32, `(height, width)`; the first class in a tie.

    Raises:
      UserError: logits that are not finite.
    """
    if scale == 1:
        return reading.read_sparsely(canvas, size, canvas_stride)
    rows, columns = (
        np.linspace(0, (scaled - 1) / canvas_stride, side)
        for scaled, side in zip(scaled_size(*size, scale), size, strict=True)
    )
    return reading.read_at(canvas, rows, columns)


def predict_scaled(
    model: SegmentationModel,
    images: np.ndarray | tf.Tensor,
    scale: float,
    iterations: int,
    stop_when_settled: bool = False,
) -> np.ndarray:
    """Segments images of one size at another scale.

    Args:
      model: the model.
      images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`.
      scale: the scale.
      iterations: the number of iterations.
      stop_when_settled: True to stop where further iterations would hardly change the prediction.

    Returns:
      Class maps, int32, `(batch, H, W)`.

    Raises:
      UserError: the scaled image has a side below one output stride.
    """
    canvases = model.compiled_stages.canvas_of(
        scale_images(images, scale), iterations, stop_when_settled=stop_when_settled
    )
    size = tuple(images.shape[1:3])
    return np.stack(
        [read_scaled(each, size, scale, model.canvas_stride) for each in canvases.numpy()]
    )


def scaled_costs(
    model: SegmentationModel, height: int, width: int, scale: float = 1.0
) -> StageCosts:
    """Counts the multiply-adds of a prediction of an image at a scale.

    They include the scaling of the image, in `encode`, and the reading of a class map as large as
    the image.

    Args:
      model: the model.
      height: of the image, in pixels.
      width: of the image, in pixels.
      scale: the scale.

    Raises:
      UserError: the scaled image has a side below one output stride.
    """
    size = scaled_size(height, width, scale)
    costs = stage_costs(model, *size)
    if scale == 1:
        return costs
    scaling = BILINEAR_COST * 3 * size[0] * size[1]
    return dataclasses.replace(
        costs,
        encode=costs.encode + scaling,
        read=BILINEAR_COST * height * width * model.num_classes,
        early=tuple(each._replace(encode=each.encode + scaling) for each in costs.early),
    )
