"""Smaller and faster LiteRT files, with some of their numbers rounded."""

import pathlib
import tempfile
from collections.abc import Mapping, Sequence

import numpy as np

from rnnseg.errors import UserError
from rnnseg.exporting import litert, processes
from rnnseg.exporting.fitting import FittedImage

KINDS = ("float16", "dynamic", "int8")
"""Weights as float16; weights of products as int8; the encoder, but for its ends, in int8.

What of the int8 file is not the encoder's middle is as in the dynamic one.
"""


def quantize(
    files: Mapping[str, bytes], kind: str, images: Sequence[FittedImage]
) -> dict[str, bytes]:
    """Quantizes LiteRT files; canvas and cell state stay float32.

    Args:
      files: flat buffers in float32, "anytime" and "segment".
      kind: one of `KINDS`.
      images: to calibrate int8 on; the others need none.

    Returns:
      The quantized ones.

    Raises:
      UserError: the quantizer does not know what to make of the model.
    """
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
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
