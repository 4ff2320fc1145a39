"""Conversion to LiteRT files with builtin operators only, which run wherever LiteRT runs."""

import pathlib
import tempfile

from ai_edge_litert import schema_py_generated as schema

from rnnseg.errors import UserError
from rnnseg.exporting import processes, saved_model, signatures
from rnnseg.models.base import SegmentationModel


def convert(model: SegmentationModel, size: tuple[int, int] | None) -> dict[str, bytes]:
    """Converts a model to LiteRT files in float32.

    Args:
      model: a model that computes in float32.
      size: the `(height, width)` of the images, in pixels; None for any size.

    Returns:
      Flat buffers by kind: "anytime", without loops, with one signature for each of
      `signatures.stage_functions`; and "segment", with the signature `segment(image, iterations) ->
      classes, canvas`.

    Raises:
      UserError: the model needs an operator that LiteRT does not have.
    """

    def outputs(canvas, size):
        return {"classes": model.read(canvas, size), "canvas": canvas}

    stages = signatures.stage_functions(model, size, batch=1)
    whole = signatures.segment_function(model, size, 1, outputs)
    with tempfile.TemporaryDirectory() as folder:
        saved_model.write(stages | {"segment": whole}, folder)
        try:
            processes.run(
                "convert", folder, folder, f"anytime:{','.join(stages)}", "segment:segment"
            )
        except processes.ProcessError as error:
            raise UserError(
                f"{model.name} cannot be converted for LiteRT: {error}; give it an encoder without "
                "such layers"
            ) from error
        files = {kind: pathlib.Path(folder, kind).read_bytes() for kind in ("anytime", "segment")}
    for file in files.values():
        check_builtin(file)
    return files


def check_builtin(file: bytes) -> None:
    """Raises a UserError for a flat buffer with operators of TensorFlow (Flex) or custom ones."""
    codes = schema.ModelT.InitFromPackedBuf(file, 0).operatorCodes
    custom = {code.customCode for code in codes if code.customCode is not None}
    if custom:
        names = ", ".join(sorted(name.decode() for name in custom))
        raise UserError(
            f"the LiteRT file needs {names}, which not every device has: expected builtin "
            "operators; give the model an encoder without such layers"
        )
