"""The signatures of a LiteRT file as functions, whose errors name the file in one line."""

import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from rnnseg.errors import UserError


class Signatures:
    """The signatures of a file, run by one interpreter.

    Args:
      path: the file.
      threads: the number of threads that the operators may use.

    Raises:
      UserError: LiteRT cannot run the file.
    """

    def __init__(self, path: str | os.PathLike, threads: int):
        self._path = path
        with self._named_errors():
            self._interpreter = Interpreter(os.fspath(path), num_threads=threads)

    def __getitem__(self, name: str) -> Callable[..., dict[str, np.ndarray]]:
        """Returns a signature as a function of named arrays.

        Raises:
          UserError: there is none of this name, or, on a call, LiteRT cannot run it.
        """
        with self._named_errors():
            runner = self._interpreter.get_signature_runner(name)

        def run(**inputs):
            with self._named_errors():
                return runner(**inputs)

        return run

    def check(
        self,
        name: str,
        inputs: Mapping[str, Sequence[int | None]],
        outputs: Collection[str],
    ) -> None:
        """Checks a signature against what the metadata say.

        Args:
          name: the signature.
          inputs: the shape of every input by its name; None for a side of any length.
          outputs: the names of the outputs.

        Raises:
          UserError: it has others.
        """
        with self._named_errors():
            runner = self._interpreter.get_signature_runner(name)
            found = {
                key: tuple(map(int, each["shape"]))
                for key, each in runner.get_input_details().items()
            }
            made = runner.get_output_details().keys()
        if made != set(outputs) or not _fit(found, inputs):
            shapes = ", ".join(f"{key} {list(shape)}" for key, shape in sorted(found.items()))
            raise UserError(
                f"{self._path}: its metadata do not fit its model, whose signature {name} makes "
                f"{', '.join(sorted(made))} from {shapes}; export the model again"
            )

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Turns LiteRT's errors of many lines into one that names the file."""
        try:
            yield
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{self._path} is damaged, or newer than the ai-edge-litert that is installed "
                f"({reason}): export the model again"
            ) from error


def _fit(found: Mapping[str, Sequence[int]], expected: Mapping[str, Sequence[int | None]]) -> bool:
    return found.keys() == expected.keys() and all(
        len(shape) == len(expected[name])
        and all(each in (None, side) for side, each in zip(shape, expected[name], strict=True))
        for name, shape in found.items()
    )
