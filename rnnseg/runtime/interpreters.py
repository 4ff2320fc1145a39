"""The stages in an `anytime.tflite`, run by LiteRT."""

import contextlib
import os
from collections.abc import Iterator, Mapping

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from rnnseg.errors import UserError
from rnnseg.runtime.model_info import ModelInfo

Tensors = Mapping[str, np.ndarray]


class Stages:
    """One interpreter, for one call at a time.

    Where the file is for any size, tensors take that of what is given.

    Args:
      path: the file.
      info: what it holds.
      threads: how many the operators may use.

    Raises:
      UserError: LiteRT cannot run it.
    """

    def __init__(self, path: str, info: ModelInfo, threads: int):
        try:
            interpreter = Interpreter(path, num_threads=threads)
            self._encode = interpreter.get_signature_runner("encode")
            self._refine = interpreter.get_signature_runner("refine") if info.recurrent else None
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{path} is damaged, or newer than the ai-edge-litert that is installed "
                f"({reason}): export the model anew"
            ) from error
        self._info = info
        self._read = None
        self._interpreter = interpreter
        self._start: Tensors = {}

    def encode(self, image: np.ndarray) -> Tensors:
        """What is done once per image.

        Args:
          image: RGB, uint8 `(1, H, W, 3)`.

        Returns:
          `prepared`, float32 `(1, h, w, channels)`; of a feed-forward model the `canvas`.
        """
        return self._encode(image=image)

    def start(self, encoded: Tensors) -> Tensors:
        """What the first iteration starts from: `canvas`, `h_0`, `c_0`, …, float32."""
        place = encoded["prepared"].shape[:3]
        if not self._start or self._start["canvas"].shape[:3] != place:
            self._start = {
                name: np.full((*place, len(values)), values, np.float32)
                for name, values in self._info.initial.items()
            }
        return self._start

    def refine(self, encoded: Tensors, variables: Tensors) -> Tensors:
        """One iteration.

        Args:
          encoded: from `encode`.
          variables: from `start`, or from the iteration before.

        Returns:
          The same tensors after it.
        """
        return self._refine(**encoded, **variables)

    def read(self, canvas: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """The class map by the file's own signature, which interpolates all logits.

        Args:
          canvas: float32 `(1, h, w, classes)`.
          size: the image's (height, width), in pixels; the file's, where it has one.

        Returns:
          Class indices, int32 `(H, W)`.
        """
        if self._read is None:
            self._read = self._interpreter.get_signature_runner("read")
        sizes = {} if self._info.size else {"size": np.int32(size)}
        return self._read(canvas=canvas, **sizes)["classes"][0]


class Interpreters:
    """Interpreters of one file, as many as there are calls at a time; they share it in memory.

    Args:
      path: the file.
      info: what it holds.
      threads: how many the operators of one call may use.
    """

    def __init__(self, path: str | os.PathLike, info: ModelInfo, threads: int):
        self._arguments = os.path.abspath(path), info, threads
        self._idle = [Stages(*self._arguments)]

    @contextlib.contextmanager
    def borrow(self) -> Iterator[Stages]:
        """An interpreter that nobody else has for so long."""
        try:
            stages = self._idle.pop()
        except IndexError:
            stages = Stages(*self._arguments)
        try:
            yield stages
        finally:
            self._idle.append(stages)
