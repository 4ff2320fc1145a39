"""The stages of an `anytime.tflite`, run by LiteRT."""

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rnnseg import grid
from rnnseg.checks import check_positive
from rnnseg.runtime.integrity import check_file
from rnnseg.runtime.model_info import ModelInfo, encode_signature
from rnnseg.runtime.signatures import Signatures
from rnnseg.stages import Prediction, Stages

Features = Mapping[str, np.ndarray]
"""The outputs of a stage of the encoder, by name: what `prepare` computes, and what the next stage
needs."""

State = Mapping[str, np.ndarray]
"""The LSTM state: float32 `(1, h, w, channels)` by the names h_0, c_0, h_1, …"""


class LiteRTStages(Stages[np.ndarray]):
    """Runs the stages of a file by one interpreter, which serves one call at a time.

    A batch is one image. It has the size of the file; in a file for any size, all tensors take the
    size of the image.

    Args:
      path: the file.
      info: its metadata.
      threads: the number of threads that the operators may use.

    Raises:
      UserError: LiteRT cannot run the file, or its metadata do not fit.
    """

    def __init__(self, path: str | os.PathLike, info: ModelInfo, threads: int):
        signatures = Signatures(path, threads)
        stages = [encode_signature(number) for number in range(1 + len(info.early_iterations))]
        image = (1, *(info.size or (None, None)), 3)
        signatures.check(stages[0], {"image": image}, info.encoder_outputs[0])
        passed = itertools.pairwise(info.encoder_outputs)
        for stage, (inputs, outputs) in zip(stages[1:], passed, strict=True):
            signatures.check(stage, dict.fromkeys(inputs, (1, None, None, None)), outputs)
        self._encode = [signatures[stage] for stage in stages]
        self._refine: Any = None
        if info.recurrent:
            tensors: dict[str, tuple[int | None, ...]] = {
                name: (1, None, None, len(values)) for name, values in info.initial_values.items()
            }
            grids: dict[str, tuple[int | None, ...]] = {"prepared": (1, None, None, None)}
            signatures.check("refine", grids | tensors, tensors)
            self._refine = signatures["refine"]
        self.recurrent = info.recurrent
        self.iterations = info.iterations
        self.num_classes = len(info.classes)
        self.output_stride = info.output_stride
        self.canvas_stride = info.canvas_stride
        self.early_iterations = info.early_iterations
        self.class_names = info.classes
        self.class_colors = info.colors
        self._info = info
        self._signatures = signatures
        self._read: Any = None
        self._initial: dict[str, np.ndarray] = {}

    def encode(self, images: np.ndarray) -> Features:
        """Runs all stages of the encoder.

        Args:
          images: RGB, uint8 `(1, H, W, 3)`.

        Returns:
          The outputs of the last stage, which are for `prepare`.
        """
        features = self.encode_stage(0, images)
        for number in range(1, len(self._encode)):
            features = self.encode_stage(number, features)
        return features

    def encode_stage(self, number: int, inputs: np.ndarray | Features) -> Features:
        """Runs one stage of the encoder; in a file, that includes preparation.

        Args:
          number: the number of the stage, from 0.
          inputs: images, RGB, uint8 `(1, H, W, 3)`, for stage 0, otherwise the result of the stage
            before.
        """
        given: Any = inputs if number else {"image": inputs}
        return self._encode[number](**given)

    def prepare(self, features: Features, prepared: np.ndarray | None = None) -> np.ndarray:
        """Returns what the encoder has prepared.

        Args:
          features: from `encode` or `encode_stage`.
          prepared: the result for the stages before, which the features already include.

        Returns:
          Float32 `(1, h, w, channels)`; for a feed-forward model the canvas.
        """
        return features["prepared" if self.recurrent else "canvas"]

    def refine(
        self,
        prepared: np.ndarray,
        iterations: int,
        canvas: np.ndarray | None = None,
        state: State | None = None,
    ) -> tuple[np.ndarray, State]:
        """Runs iterations on a canvas; see `rnnseg.stages.Stages.refine`.

        Args:
          prepared: from `prepare`.
          iterations: the number of iterations, at least 1; a feed-forward model has a single one.
          canvas: float32 `(1, h, w, classes)`; None for the initial canvas.
          state: the state of an earlier call; None for the initial state.

        Returns:
          The canvas, float32 `(1, h, w, classes)`, and the state.
        """
        check_positive("iterations", iterations)
        if not self.recurrent:
            return prepared, {}
        tensors = {**self._initial_tensors(prepared.shape[:3]), **(state or {})}
        if canvas is not None:
            tensors["canvas"] = canvas
        for _ in range(iterations):
            tensors = self._refine(prepared=prepared, **tensors)
        return tensors.pop("canvas"), tensors

    def _initial_tensors(self, place: tuple[int, int, int]) -> dict[str, np.ndarray]:
        """Returns the initial canvas and state for a `(batch, h, w)`, by name."""
        if not self._initial or self._initial["canvas"].shape[:3] != place:
            self._initial = {
                name: np.full((*place, len(values)), values, np.float32)
                for name, values in self._info.initial_values.items()
            }
        return self._initial

    def read(self, canvas: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Returns class maps by the file's own signature, which interpolates all logits.

        `rnnseg.runtime.reading` returns the same ones faster.

        Args:
          canvas: float32 `(1, h, w, classes)`.
          size: the `(height, width)` of the image, in pixels.

        Returns:
          Class indices, int32 `(1, height, width)`.

        Raises:
          UserError: the canvas does not cover an image of this size.
        """
        grid.check_covered(size, canvas.shape[1:3], self.canvas_stride)
        if self._read is None:
            self._read = self._signatures["read"]
        sizes = {} if self._info.size else {"size": np.asarray(size, np.int32)}
        return self._read(canvas=canvas, **sizes)["classes"][:, : size[0], : size[1]]

    def unroll(
        self, images: np.ndarray, iterations: int, canvas: np.ndarray | None = None
    ) -> np.ndarray:
        """Computes the canvas of every iteration; see `rnnseg.stages.Stages.unroll`.

        Args:
          images: RGB, uint8 `(1, H, W, 3)`.
          iterations: the number of iterations, at least 1.
          canvas: as in `refine`.

        Returns:
          Float32 `(iterations, 1, h, w, classes)`; for a feed-forward model `(1, 1, h, w,
          classes)`.
        """
        check_positive("iterations", iterations)
        prediction = Prediction(self, images, canvas)
        numbers = range(1, (iterations if self.recurrent else 1) + 1)
        return np.stack([prediction.run_to(number) for number in numbers])


class Interpreters:
    """A pool of interpreters of one file, which they share in memory; it grows with the threads.

    The file is checked once, before LiteRT reads it.

    Args:
      path: the file.
      info: its metadata.
      threads: the number of threads that the operators of one call may use.

    Raises:
      UserError: the file is damaged, or LiteRT cannot run it.
    """

    def __init__(self, path: str | os.PathLike, info: ModelInfo, threads: int):
        check_file(path, info.sha256)
        self._arguments = os.path.abspath(path), info, threads
        self._idle = [LiteRTStages(*self._arguments)]

    @contextlib.contextmanager
    def borrow(self) -> Iterator[LiteRTStages]:
        """Lends an interpreter to one caller for the duration of a block."""
        try:
            stages = self._idle.pop()
        except IndexError:
            stages = LiteRTStages(*self._arguments)
        try:
            yield stages
        finally:
            self._idle.append(stages)
