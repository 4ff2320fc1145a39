"""Converts a SavedModel to LiteRT files: convert.py SAVED_MODEL OUT FILE:SIGNATURE,SIGNATURE.

Several files may be given, each with signatures of its own.
"""

import pathlib
import re
import sys

import tensorflow as tf


def main(saved_model: str, out: str, *files: str) -> None:
    """Writes the files to the folder `out`."""
    for each in files:
        name, _, signatures = each.partition(":")
        converter = tf.lite.TFLiteConverter.from_saved_model(
            saved_model, signature_keys=signatures.split(",")
        )
        try:
            buffer = converter.convert()
        except Exception as error:  # of the converter, of MLIR or of TensorFlow
            sys.exit(_reason(error))
        pathlib.Path(out, name).write_bytes(buffer)


def _reason(error: Exception) -> str:
    """Returns one line for a message that may have hundreds."""
    missing = re.findall(r"^(?:TF Select|Flex|Custom) ops: (.+)$", str(error), re.MULTILINE)
    if missing:
        return "LiteRT has no operator for " + ", ".join(dict.fromkeys(missing))
    return (str(error).strip() or type(error).__name__).splitlines()[0]


if __name__ == "__main__":
    main(*sys.argv[1:])
