"""Converts a SavedModel to an ONNX file: convert_onnx.py SAVED_MODEL SIGNATURE OUT OPSET.

The inputs keep their order and their names, and so do the outputs.
"""

import sys

import onnx
import tensorflow as tf
import tf2onnx


def main(saved_model: str, signature: str, out: str, opset: str) -> None:
    """Writes the file `out` with the operators of version `opset`."""
    loaded = tf.saved_model.load(saved_model)
    traced = loaded.signatures[signature]
    specs = [
        tf.TensorSpec(spec.shape, spec.dtype, name)
        for name, spec in sorted(traced.structured_input_signature[1].items())
    ]

    def call(*tensors):
        return traced(**{spec.name: each for spec, each in zip(specs, tensors, strict=True)})

    function = tf.function(call, input_signature=specs, autograph=False)
    try:
        tf2onnx.convert.from_function(function, specs, opset=int(opset), output_path=out)
        # Operators that ONNX does not have are logged by the converter, and left in the file.
        onnx.checker.check_model(out)
    except Exception as error:  # of the converter, of TensorFlow or of the checker
        sys.exit((str(error).strip() or type(error).__name__).splitlines()[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
