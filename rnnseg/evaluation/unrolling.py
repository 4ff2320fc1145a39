"""Class maps of an image after every number of iterations."""

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from rnnseg.errors import UserError
from rnnseg.evaluation.multi_scale import MeanReader, View, make_views
from rnnseg.runtime import reading

# Numbers of iterations whose canvases are held at a time where there are several views. Those of
# twelve views of 1024x2048 pixels and 19 classes take 350 MB; for more numbers than these, the
# views are segmented anew.
_AT_ONCE = 32


class Unroller:
    """Follows predictions from iteration to iteration; one trace serves images of all sizes.

    Args:
      model: a segmenter.
      scales: at which every image is segmented, factors of its sides less one; the logits of all
        are averaged.
      flip: whether it is segmented mirrored at each of them, too.

    Raises:
      UserError: no scales, or one that is not above 0.
    """

    def __init__(self, model, scales: Sequence[float] = (1.0,), flip: bool = False):
        self._views = make_views(scales, flip)
        self._stride = model.output_stride
        self._read_mean = None
        if self._views != (View(),):
            self._read_mean = MeanReader(self._views, model.num_classes, model.output_stride)
        self._stages = model.compiled_stages

    def __call__(self, image, iterations: Sequence[int]) -> Iterator[np.ndarray]:
        """Segments one image.

        Args:
          image: RGB 0-255, `(h, w, 3)`.
          iterations: rising numbers of them.

        Yields:
          For every number the class map, int32 `(h, w)`. There is one at a time, and memory does
          not grow with the number of iterations.
        """
        for canvases in self._canvases(image, iterations):
            yield self._read(canvases, image.shape[:2])

    def predict(self, image, iterations: int) -> np.ndarray:
        """The class map after a number of iterations, int32 `(h, w)`, all in one call."""
        (class_map,) = self(image, (iterations,))
        return class_map

    def check_size(self, height: int, width: int) -> None:
        """Raises a UserError for an image with a view of less than one output stride a side."""
        smallest = self._views[-1]
        if min(smallest.size(height, width)) < self._stride:
            scaled = "" if smallest.scale == 1 else f", scaled by {smallest.scale:g}"
            raise UserError(
                f"image of {width}x{height} pixels{scaled}; expected at least {self._stride} "
                "(one output stride) a side"
            )

    def _canvases(self, image, iterations) -> Iterator[Sequence[tf.Tensor]]:
        """The canvas of every view after each number of iterations."""
        if len(self._views) == 1:
            for canvas in self._follow(image, self._views[0], iterations):
                yield [canvas]
            return
        for start in range(0, len(iterations), _AT_ONCE):
            numbers = iterations[start : start + _AT_ONCE]
            # View by view: what comes before the canvases takes much more memory than they do.
            followed = [list(self._follow(image, view, numbers)) for view in self._views]
            yield from zip(*followed, strict=True)

    def _follow(self, image, view, iterations) -> Iterator[tf.Tensor]:
        """The canvas of one view after each number of iterations."""
        prepared = self._stages.prepare(self._stages.encode(view.of(image)[tf.newaxis]))
        canvas = state = None
        done = 0
        for number in iterations:
            canvas, state = self._stages.refine(prepared, number - done, canvas, state)
            yield canvas
            done = number

    def _read(self, canvases, size) -> np.ndarray:
        """The class map of an image of this size."""
        if self._read_mean is not None:
            return self._read_mean(canvases, size)
        return reading.read_sparsely(canvases[0][0].numpy(), size, self._stride)
