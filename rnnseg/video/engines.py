"""The engines of a `VideoSegmenter`: models and LiteRT files behind one small interface.

An engine is what the stages (`rnnseg.stages`) become for video. It segments a frame of any size in
one call, knows the initial canvas, and knows how far apart canvas pixels lie on a frame.
"""

import warnings
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from rnnseg.errors import UserError
from rnnseg.runtime import letterbox

if TYPE_CHECKING:  # one of both is loaded, when it is needed
    from rnnseg.models.base import SegmentationModel
    from rnnseg.runtime.segmenter import Segmenter


@runtime_checkable
class Engine(Protocol):
    """Computes the canvas of a frame, from a canvas to start from.

    Attributes:
      recurrent: True if it takes a canvas to start from and several iterations.
      iterations: the number of iterations in training.
      colors: one (red, green, blue) of 0-255 per class.
      initial_canvas: the logits of the initial canvas, which are the same at every canvas pixel,
        float32 `(classes,)`.
    """

    recurrent: bool
    iterations: int
    colors: tuple[tuple[int, int, int], ...]
    initial_canvas: np.ndarray

    def spacing(self, frame: np.ndarray) -> tuple[float, float]:
        """Returns the distance of canvas pixels in pixels of the frame, down and across."""

    def run(
        self, frame: np.ndarray, iterations: int, seed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Segments a frame.

        Args:
          frame: RGB, uint8 `(H, W, 3)`.
          iterations: the number of iterations; a feed-forward model has a single one anyway.
          seed: logits to start from, float32 `(h, w, classes)`; None for the initial canvas.

        Returns:
          The canvas, float32 `(h, w, classes)`, and the class map, int32 `(H, W)`.
        """


def open_engine(model: "SegmentationModel | Segmenter | Engine") -> Engine:
    """Returns the engine of a model.

    Args:
      model: a model from `rnnseg.load_model`, a `rnnseg.runtime.Segmenter`, or an engine.

    Raises:
      UserError: anything else.
    """
    if hasattr(model, "run") and hasattr(model, "start") and not hasattr(model, "initial_canvas"):
        warnings.warn(
            "start of an engine is now called initial_canvas", DeprecationWarning, stacklevel=3
        )
        engine: Any = model
        engine.initial_canvas = engine.start
    if isinstance(model, Engine):
        return model
    from rnnseg.runtime.segmenter import Segmenter

    # Before the other kind of model, whose module imports TensorFlow.
    if isinstance(model, Segmenter):
        return LiteRTEngine(model)
    from rnnseg.models.base import SegmentationModel

    if isinstance(model, SegmentationModel):
        return KerasEngine(model)
    raise UserError(
        f"a {type(model).__name__} cannot segment video: expected a model from rnnseg.load_model, "
        "or a rnnseg.runtime.Segmenter"
    )


class KerasEngine:
    """Runs a model from `rnnseg.load_model`.

    Args:
      model: the model.
      tile: the side of tiles for large frames, as in `rnnseg.Predictor`.
      max_size: the largest side at which frames are segmented, likewise.

    Attributes:
      stages: its compiled stages.
    """

    def __init__(
        self, model: "SegmentationModel", tile: int | None = None, max_size: int | None = None
    ) -> None:
        from rnnseg.inference.large_images import LargeImages  # loads TensorFlow

        self.stages = model.compiled_stages
        self.recurrent = model.recurrent
        self.iterations = model.iterations
        self.colors = model.colors
        initial = model.initial_values
        zeros = np.zeros(model.num_classes, np.float32)
        self.initial_canvas = initial["canvas"].numpy() if "canvas" in initial else zeros
        self._large_images = LargeImages(model, tile, max_size)

    def spacing(self, frame: np.ndarray) -> tuple[float, float]:
        """Returns the canvas stride, more for a frame made smaller; see `Engine.spacing`."""
        sides = frame.shape[:2]
        reduced = self._large_images.reduced_size(*sides)
        return tuple(
            self.stages.canvas_stride * side / part
            for side, part in zip(sides, reduced, strict=True)
        )

    def run(
        self, frame: np.ndarray, iterations: int, seed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Segments a frame; see `Engine.run`."""
        canvas = self._large_images.canvas_of(frame, iterations, canvas=seed)
        return canvas, self.read(canvas, frame)

    def read(self, canvas: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """Returns the class map of a frame, int32 `(H, W)`, from its canvas `(h, w, classes)`."""
        return self._large_images.read(canvas, frame.shape[:2]).astype(np.int32)


class LiteRTEngine:
    """Runs an `anytime.tflite`, without TensorFlow.

    Args:
      segmenter: a `rnnseg.runtime.Segmenter`.
    """

    def __init__(self, segmenter: "Segmenter") -> None:
        info = segmenter.info
        self.recurrent, self.iterations, self.colors = info.recurrent, info.iterations, info.colors
        zeros = np.zeros(len(info.classes))
        self.initial_canvas = np.asarray(info.initial_state.get("canvas", zeros), np.float32)
        self._segmenter = segmenter

    def spacing(self, frame: np.ndarray) -> tuple[float, float]:
        """Returns the canvas stride, more for a frame that is scaled down; see `Engine.spacing`."""
        info, sides = self._segmenter.info, frame.shape[:2]
        content = sides if info.size is None else letterbox.content_size(sides, info.size)
        return tuple(
            info.canvas_stride * max(1, side - 1) / max(1, part - 1)
            for side, part in zip(sides, content, strict=True)
        )

    def run(
        self, frame: np.ndarray, iterations: int, seed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Segments a frame; see `Engine.run`."""
        result = self._segmenter(frame, iterations=iterations, canvas=seed)
        return result.canvas, result.classes
