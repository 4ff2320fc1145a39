"""LiteRT files of builtin operators alone, which run everywhere that LiteRT does."""

import pathlib
import tempfile

from ai_edge_litert import schema_py_generated as schema

from rnnseg.errors import UserError
from rnnseg.exporting import processes, saved_model, signatures


def convert(model, size: tuple[int, int] | None) -> dict[str, bytes]:
    """Makes the LiteRT files of a segmenter in float32.

    Args:
      model: a segmenter that computes in float32.
      size: the images' (height, width), in pixels; None for any.

    Returns:
      Flat buffers by kind: "anytime", with a signature for each of `signatures.stage_functions` and
      no loop in it, and "segment", with one signature, `segment(image, iterations) -> classes,
      canvas`.

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
    """Makes sure that a flat buffer has no operator of TensorFlow's (Flex) or of anybody else's.

    Raises:
      UserError: it has.
    """
    codes = schema.ModelT.InitFromPackedBuf(file, 0).operatorCodes
    custom = {code.customCode for code in codes if code.customCode is not None}
    if custom:
        names = ", ".join(sorted(name.decode() for name in custom))
        raise UserError(
            f"the LiteRT file needs {names}, which not every device has: expected builtin "
            "operators; give the model an encoder without such layers"
        )
