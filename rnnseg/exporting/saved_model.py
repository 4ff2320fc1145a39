"""Export as a SavedModel, for serving without rnnseg."""

import errno
import os

import keras
import tensorflow as tf

from rnnseg.exporting import signatures
from rnnseg.models.base import SegmentationModel


def export(model: SegmentationModel, folder: str | os.PathLike) -> None:
    """Writes a SavedModel for images of any size; the images of a batch share one.

    Its signatures are those of `signatures.stage_functions` and `segment(image, iterations) ->
    classes, confidence`: int32 class maps and the probabilities of their classes, float32 of 0-1,
    both `(batch, H, W)`.

    Args:
      model: a model that computes in float32.
      folder: the folder to write to.
    """

    def outputs(canvas, size):
        logits = model.logits(canvas, size)
        return {
            "classes": tf.argmax(logits, axis=-1, output_type=tf.int32),
            "confidence": tf.reduce_max(tf.nn.softmax(logits), axis=-1),
        }

    whole = signatures.segment_function(model, None, None, outputs)
    # The first signature is also the default.
    write({"segment": whole} | signatures.stage_functions(model, None, None), folder)


def write(functions: dict, folder: str | os.PathLike) -> None:
    """Writes traced functions as signatures of a SavedModel.

    Args:
      functions: traced functions by the names of their signatures.
      folder: the folder to write to.

    Raises:
      OSError: the folder cannot be written.
    """
    archive = keras.export.ExportArchive()
    for name, function in functions.items():
        archive.add_endpoint(name, function)
    try:
        archive.write_out(folder, verbose=False)
    except tf.errors.OpError as error:
        # A message is "{{node …}} /path/to/a/temporary/file; No space left on device [Op:SaveV2]".
        reason = error.message.rpartition("; ")[2].partition(" [Op:")[0]
        raise OSError(errno.EIO, reason, str(folder)) from error
