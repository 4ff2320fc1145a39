"""Quantization of LiteRT files, which makes them smaller and faster."""

import pathlib
import tempfile
from collections.abc import Mapping, Sequence

import numpy as np

from rnnseg.errors import UserError
from rnnseg.exporting import litert, processes
from rnnseg.exporting.examples import LetterboxedExample

KINDS = ("float16", "dynamic", "int8")
"""The kinds of quantization.

float16 stores weights as float16. dynamic stores the weights of products as int8. int8 computes the
encoder in int8, except for its first layers and its outputs; the rest is as in dynamic.
"""


def quantize(
    files: Mapping[str, bytes], kind: str, images: Sequence[LetterboxedExample]
) -> dict[str, bytes]:
    """Quantizes LiteRT files; canvas and cell state stay float32.

    Args:
      files: flat buffers in float32, "anytime" and "segment".
      kind: one of `KINDS`.
      images: the images to calibrate int8 on; other kinds need none.

    Returns:
      The quantized flat buffers, by the same names.

    Raises:
      UserError: the quantizer cannot quantize the model.
    """
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = pathlib.Path(name_of_folder)
        for name, file in files.items():
            (folder / name).write_bytes(file)
        if kind == "int8":
            for index, image in enumerate(images):
                np.save(folder / f"{index:06d}.npy", image.image[np.newaxis])
        try:
            processes.run("quantize", kind, folder)
        except processes.ProcessError as error:
            raise UserError(
                f"the model cannot be quantized as {kind}: {error}; export it without"
            ) from error
        quantized = {name: (folder / name).read_bytes() for name in files}
    for file in quantized.values():
        litert.check_builtin(file)
    return quantized
