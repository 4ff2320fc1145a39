"""Class maps of images, with as many iterations as a budget pays for."""

import functools
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from rnnseg.budgets import profiles
from rnnseg.budgets.budget import Budget, iterations_within
from rnnseg.budgets.costs import stage_costs
from rnnseg.budgets.planning import Scores, scores_path
from rnnseg.errors import UserError
from rnnseg.models import geometry
from rnnseg.runtime.pacing import most_iterations

_IMAGES = tf.TensorSpec((None, None, None, 3), tf.float32)
_CANVASES = tf.TensorSpec((None, None, None, None), tf.float32)
_NUMBER = tf.TensorSpec((), tf.int32)


class Predictor:
    """Gives class maps; one trace serves all sizes and all numbers of iterations.

    Args:
      model: a segmenter.
    """

    def __init__(self, model):
        self._model = model
        self.costs = functools.cache(lambda height, width: stage_costs(model, height, width))

        def maps(settled, images, iterations, canvas=None):
            prepared = model.prepare(model.encode(images))
            refine = model.refine_until_settled if settled else model.refine
            canvas, _ = refine(prepared, iterations, canvas=canvas)
            return model.read(canvas, tf.shape(images)[1:3])

        @functools.cache
        def traced(settled, seeded):
            signature = [_IMAGES, _NUMBER, *([_CANVASES] if seeded else [])]
            return tf.function(
                functools.partial(maps, settled), input_signature=signature, autograph=False
            )

        self._maps = traced
        self._trace = tf.function(model.trace, input_signature=[_IMAGES, _NUMBER], autograph=False)
        self._read = tf.function(model.read, reduce_retracing=True, autograph=False)

    def __call__(
        self, images, budget: Budget | None = None, canvas=None, stop_when_settled: bool = False
    ) -> np.ndarray:
        """Segments images of one size.

        Args:
          images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`, or one image, `(H, W, 3)`.
          budget: what each image may cost; None: as many iterations as in training.
          canvas: logits to start from, `(batch, h, w, classes)`, or `(h, w, classes)` for one
            image; None: the start of training.
          stop_when_settled: whether canvas pixels that have settled are left out of the iterations
            that remain, or where kernels are larger than 1 whole images.

        Returns:
          Class maps, int32, `(batch, H, W)` or `(H, W)`.

        Raises:
          UserError: as `iterations` and `check_can_stop`; or images or a canvas of another shape.
        """
        if stop_when_settled:
            self.check_can_stop()
        images = tf.cast(images, tf.float32)
        single = images.shape.rank == 3
        images = images[tf.newaxis] if single else images
        if images.shape.rank != 4 or images.shape[-1] != 3 or not images.shape[0]:
            raise UserError(
                f"images of shape {images.shape}: expected (height, width, 3) or (batch, height, "
                "width, 3)"
            )
        self._model.check_image(*images.shape[1:3])
        inputs = [images, tf.constant(self.iterations(budget, *images.shape[1:3]))]
        if canvas is not None:
            inputs.append(self._canvas_batch(canvas, images, single))
        maps = self._maps(bool(stop_when_settled), canvas is not None)(*inputs).numpy()
        return maps[0] if single else maps

    def every_iteration(self, image: np.ndarray, iterations: int) -> Iterator[np.ndarray]:
        """The class map after each iteration, from the first, one at a time.

        Args:
          image: one image, RGB 0-255, `(H, W, 3)`.
          iterations: how many.

        Yields:
          Class maps, int32, `(H, W)`.
        """
        size = tf.constant(image.shape[:2])
        for canvas in self._trace(tf.cast(image, tf.float32)[tf.newaxis], tf.constant(iterations)):
            yield self._read(canvas, size)[0].numpy()

    def iterations(self, budget: Budget | None, height: int, width: int) -> int:
        """How many iterations a budget pays for.

        A number of iterations is taken as it is. Multiply-adds and milliseconds pay for the number
        that scored best at most, if there are scores on "val" beside the model (`rnnseg evaluate`),
        else for as many as in training: more might do harm. A feed-forward model has one.

        Args:
          budget: for one image; None: as many as in training.
          height: of the image, in pixels.
          width: of the image, in pixels.

        Raises:
          UserError: not even one iteration fits; there is no profile of this model, machine and
            size for milliseconds; or it is no budget.
        """
        model = self._model
        if budget is not None and not isinstance(budget, Budget):
            raise UserError(
                f"budget={budget!r}: expected rnnseg.Budget(gmacs=…), Budget(milliseconds=…) or "
                "Budget(iterations=…)"
            )
        if budget is None:
            return model.iterations
        if budget.kind == "iterations":
            return int(budget.iterations) if model.recurrent else 1
        if budget.kind == "gmacs":
            costs = self.costs(height, width)
            cost = lambda n: costs.total(n) / 1e9  # noqa: E731
        else:
            profile = self.profile
            cost = lambda n: profile.milliseconds(height, width, n)  # noqa: E731
        return iterations_within(budget, cost, self._most, f"an image of {height}x{width}")

    @functools.cached_property
    def _most(self) -> int:
        """The number of iterations beyond which no budget is spent."""
        model = self._model
        if not model.recurrent:
            return 1
        origin, split = model.loaded_from, "val"
        if origin is None or not scores_path(origin, split).is_file():
            return model.iterations
        return most_iterations(model.iterations, Scores.load(origin, split).miou)

    def check(self, budget: Budget | None) -> None:
        """Raises a UserError for a budget that no image can have: time that was not measured."""
        if budget is not None and budget.kind == "milliseconds":
            _ = self.profile

    def check_can_stop(self) -> None:
        """Raises a UserError for a model that has but one iteration, and nothing to stop."""
        if not self._model.recurrent:
            raise UserError(
                f"stop_when_settled: {self._model.name} is feed-forward and has one iteration "
                "alone; leave it out"
            )

    @functools.cached_property
    def profile(self) -> profiles.Profile:
        """The times of this model on this machine.

        Raises:
          UserError: there is none beside the model, or it is of another machine or model.
        """
        origin = self._model.loaded_from
        if origin is None:
            raise UserError(
                "the times of a model that was just built are not known: save it, measure it by "
                f"{profiles.benchmark_command('MODEL.keras')}, and load it by rnnseg.load_model"
            )
        profile = profiles.Profile.load(origin)
        path, here = profiles.profile_path(origin), profiles.Machine.this()
        if profile.machine != here:
            raise UserError(
                f"{path} was measured on {profile.machine}, but this is {here}; measure it here: "
                f"{profile.command()}"
            )
        if profile.parameters != self._model.count_params():
            raise UserError(
                f"{path} is of a model with {profile.parameters} parameters, but {origin} has "
                f"{self._model.count_params()}; measure it anew: {profile.command()}"
            )
        return profile

    def _canvas_batch(self, canvas, images, single: bool) -> tf.Tensor:
        """A given canvas as one of a batch, once it is sure to belong to the images."""
        canvas = tf.cast(canvas, tf.float32)
        stride = self._model.output_stride
        sides = [geometry.canvas_size(side, stride) for side in images.shape[1:3]]
        expected = (len(images), *sides, self._model.num_classes)[single:]
        if tuple(canvas.shape) != expected:
            raise UserError(
                f"canvas of shape {canvas.shape}: expected {expected}, the logits of "
                f"{expected[-1]} classes at the features' size"
            )
        return canvas[tf.newaxis] if single else canvas
