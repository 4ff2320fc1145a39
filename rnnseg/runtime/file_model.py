"""Any LiteRT file of `rnnseg export` behind one interface, for what a model is asked elsewhere.

    model = FileModel("exported/segment.tflite")
    class_map = model.predict(image, iterations=6)

Commands that score, time and segment with a model take such a file in its place.
"""

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rnnseg.checks import check_positive
from rnnseg.errors import UserError
from rnnseg.runtime import reading
from rnnseg.runtime.integrity import check_file
from rnnseg.runtime.letterbox import letterbox
from rnnseg.runtime.model_info import ModelInfo
from rnnseg.runtime.segmenter import Segmenter
from rnnseg.runtime.signatures import Signatures


@dataclasses.dataclass(frozen=True)
class FileCosts:
    """The multiply-adds of a file, as far as its metadata tell them.

    Attributes:
      info: the metadata.
    """

    info: ModelInfo

    def total(self, iterations: int) -> int | None:
        """Returns those of a whole prediction at the size of the file.

        None if they are not known: in a file for any size, and in one of an earlier version for so
        few iterations that a part of the encoder is enough.
        """
        costs = self.info.multiply_adds
        if costs is None:
            return None
        seen: Mapping[Any, int] = costs
        if iterations <= sum(self.info.early_iterations):
            early = sorted((self.info.early_multiply_adds or {}).items())
            known = next((counts for most, counts in early if iterations <= most), None)
            if known is None:
                return None
            seen = known
        return seen["encode"] + seen["prepare"] + iterations * costs["refine"] + costs["read"]


class FileModel:
    """A LiteRT file, `anytime*.tflite` or `segment*.tflite`, that segments images of any size.

    Images are letterboxed for a file of one size, and class maps have the size of the image. Those
    of an `anytime.tflite` are those of `rnnseg.runtime.Segmenter`.

    Args:
      path: the file.
      threads: the number of threads that the operators may use; None for all processors.

    Attributes:
      loaded_from: the path.
      info: the metadata of the file.
      name: the name of the file.
      recurrent: True if several iterations can be run.
      iterations: the number of iterations in training.
      num_classes: the number of classes.
      class_names: one name per class.
      names: the same.
      colors: one (red, green, blue) of 0-255 per class.
      output_stride: image pixels per pixel of the deepest features.
      first_iterations: the number of iterations before each stage of the encoder.
      costs: the multiply-adds.

    Raises:
      UserError: no such file, one that `rnnseg export` did not write, a damaged one, or one that
        LiteRT cannot run.
    """

    def __init__(self, path: str | os.PathLike, threads: int | None = None):
        threads = threads or os.cpu_count() or 1
        self.info = info = ModelInfo.load(path)
        self.loaded_from = os.fspath(path)
        self.name = os.path.basename(path)
        self.recurrent, self.iterations = info.recurrent, info.iterations
        self.num_classes = len(info.classes)
        self.class_names = self.names = info.classes
        self.colors, self.output_stride = info.colors, info.output_stride
        self.first_iterations = tuple(itertools.accumulate(info.early_iterations, initial=0))
        self.costs = FileCosts(info)
        self._segmenter = Segmenter(path, threads) if info.kind == "anytime" else None
        if self._segmenter is None:
            self._segment = _segment_function(path, info, threads)

    def predict(self, image: np.ndarray, iterations: int | None = None) -> np.ndarray:
        """Segments an image.

        Args:
          image: RGB, uint8 `(height, width, 3)`.
          iterations: the number of iterations; None for as many as in training. A feed-forward
            model has a single one.

        Returns:
          Class map, int32 `(height, width)`.

        Raises:
          UserError: a wrong image, or a number of iterations below 1.
        """
        if self._segmenter is not None:
            return self._segmenter(image, iterations=iterations).classes
        iterations = self.iterations if iterations is None else iterations
        check_positive("iterations", iterations)
        boxed = letterbox(image, self.info)
        number = {"iterations": np.int32(iterations)} if self.recurrent else {}
        canvas = self._segment(image=boxed.image, **number)["canvas"][0]
        return reading.read_at(canvas, boxed.rows, boxed.columns)

    def predict_each(self, image: np.ndarray, iterations: Sequence[int]) -> Iterator[np.ndarray]:
        """Yields the class map of an image after each of several numbers of iterations, rising.

        An `anytime.tflite` goes on from one to the next; a `segment.tflite` begins anew.
        """
        if self._segmenter is None:
            for number in iterations:
                yield self.predict(image, number)
            return
        for result in self._segmenter.steps(image, max(iterations)):
            if result.iterations in iterations:
                yield result.classes

    def stage_milliseconds(self, image: np.ndarray) -> dict[str, float]:
        """Segments an image, with as many iterations as in training, and times the stages.

        Returns:
          The milliseconds of "encode" (with preparation), "refine" (one iteration) and "read"; none
          of a `segment.tflite`, which runs all of them in one call.
        """
        if self._segmenter is None:
            return {}
        result = self._segmenter(image)
        stages = dict(result.stages)
        if "refine" in stages:
            stages["refine"] /= result.iterations
        return stages

    def stages_for(self, iterations: int) -> int:
        """Returns the number of the encoder's stages that iterations need."""
        return max(1, sum(before < iterations for before in self.first_iterations))

    def count_params(self) -> int:
        """Returns the bytes of the file, by which a profile knows it again."""
        return os.path.getsize(self.loaded_from)

    def check_image(self, height: int, width: int) -> None:
        """Raises a UserError for an image that is too small for a file for any size."""
        if self.info.size is None and min(height, width) < self.output_stride:
            raise UserError(
                f"an image of {height}x{width} pixels is smaller than one output stride "
                f"({self.output_stride}): expected at least that on each side"
            )

    def check_can_stop(self) -> None:
        """Raises a UserError: a file runs as many iterations as it is told."""
        raise UserError(
            f"{self.loaded_from} is a LiteRT file, which cannot stop where a prediction has "
            "settled: use the run that it was exported from"
        )


def _segment_function(
    path: str | os.PathLike, info: ModelInfo, threads: int
) -> Callable[..., dict[str, np.ndarray]]:
    """Returns the function of a `segment.tflite`."""
    check_file(path, info.sha256)
    signatures = Signatures(path, threads)
    inputs = {"image": (1, *(info.size or (None, None)), 3)}
    inputs |= {"iterations": ()} if info.recurrent else {}
    signatures.check("segment", inputs, ("classes", "canvas"))
    return signatures["segment"]
