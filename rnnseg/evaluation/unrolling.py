"""Class maps of an image after each of several numbers of iterations."""

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from rnnseg._renamed import renamed_attributes
from rnnseg.budgets import scaling
from rnnseg.budgets.costs import StageCosts
from rnnseg.errors import UserError
from rnnseg.evaluation.multi_scale import MeanReader, View, make_views, multi_scale_costs
from rnnseg.models.base import SegmentationModel
from rnnseg.stages import Prediction

__getattr__ = renamed_attributes(__name__, {"Tracer": "Unroller"})

# Multi-scale evaluation holds the canvases after this many numbers of iterations at a time; for
# more of them, it segments the views again. With twelve views of 1024x2048 pixels and 19 classes,
# the canvases take 350 MB.
_AT_ONCE = 32


class Unroller:
    """Segments images with several numbers of iterations, each continuing from the one before.

    Args:
      model: the model.
      scales: the scales that every image is segmented at; their logits are averaged.
      flip: True to also segment every scale mirrored.

    Raises:
      UserError: no scales, or a scale that is not a finite number above 0; or a single scale of
        more than half of the canvas stride.
    """

    def __init__(
        self, model: SegmentationModel, scales: Sequence[float] = (1.0,), flip: bool = False
    ):
        self._views = make_views(scales, flip)
        self._given = tuple(scales), flip
        self._model = model
        self._read_mean = None
        largest = model.canvas_stride / 2
        if len(self._views) == 1 and self._views[0].scale > largest:
            raise UserError(
                f"scale {self._views[0].scale:g}: expected at most {largest:g}, half of the canvas "
                "stride"
            )
        if len(self._views) > 1:
            self._read_mean = MeanReader(
                self._views, model.num_classes, model.output_stride, model.canvas_stride
            )
        self._stages = model.compiled_stages

    def __call__(
        self, image: np.ndarray | tf.Tensor, iterations: Sequence[int]
    ) -> Iterator[np.ndarray]:
        """Segments one image.

        Args:
          image: RGB 0-255, `(h, w, 3)`.
          iterations: the numbers of iterations, rising.

        Yields:
          The class map after each number of iterations, int32 `(h, w)`. One is held at a time, so
          that memory does not grow with their number.
        """
        for canvases in self._canvases(image, iterations):
            yield self._read(canvases, image.shape[:2])

    def predict(self, image: np.ndarray | tf.Tensor, iterations: int) -> np.ndarray:
        """Returns the class map after a number of iterations, run in one call; int32 `(h, w)`."""
        (class_map,) = self(image, (iterations,))
        return class_map

    def check_size(self, height: int, width: int) -> None:
        """Raises a UserError for an image that has a side below one output stride at some scale."""
        smallest = self._views[-1]
        try:
            self._model.check_image(*smallest.size(height, width))
        except UserError as error:
            if smallest.scale == 1:
                raise
            scaled = f"{height}x{width} pixels, scaled by {smallest.scale:g}"
            raise UserError(f"{scaled}: {error}") from error

    def costs(self, height: int, width: int) -> StageCosts:
        """Returns the multiply-adds of an image of this size, in pixels, over all views."""
        return multi_scale_costs(self._model, height, width, *self._given)

    def _canvases(
        self, image: np.ndarray | tf.Tensor, iterations: Sequence[int]
    ) -> Iterator[Sequence[tf.Tensor]]:
        """Yields the canvases of all views after each number of iterations."""
        if len(self._views) == 1:
            for canvas in self._follow(image, self._views[0], iterations):
                yield [canvas]
            return
        for start in range(0, len(iterations), _AT_ONCE):
            numbers = iterations[start : start + _AT_ONCE]
            # View by view, since the features take much more memory than the canvases.
            followed = [list(self._follow(image, view, numbers)) for view in self._views]
            yield from zip(*followed, strict=True)

    def _follow(
        self, image: np.ndarray | tf.Tensor, view: View, iterations: Sequence[int]
    ) -> Iterator[tf.Tensor]:
        """Yields the canvas of one view after each number of iterations."""
        prediction = Prediction(self._stages, view.of(image)[tf.newaxis])
        for number in iterations:
            yield prediction.run_to(number)

    def _read(self, canvases: Sequence[tf.Tensor], size: tuple[int, int]) -> np.ndarray:
        """Returns the class map of an image of this size."""
        if self._read_mean is not None:
            return self._read_mean(canvases, size)
        scale, stride = self._views[0].scale, self._model.canvas_stride
        return scaling.read_scaled(canvases[0][0].numpy(), size, scale, stride)
