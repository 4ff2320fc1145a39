"""Models that label images for others: LiteRT files, Keras files, SavedModels, runs."""

import hashlib
import os
import pathlib
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rnnseg.errors import UserError, first_line
from rnnseg.runtime.foreign_file import GREY, ForeignFile, scale_to
from rnnseg.runtime.letterbox import resize_nearest, scale_and_pad

Predict = Callable[[np.ndarray], np.ndarray]

# The input of a SavedModel is that of this signature.
_SIGNATURE = "serving_default"
_LEAST_PROBABILITY = 1e-6


class Teacher:
    """A segmentation model, its class maps and its classes.

    Args:
      path: a LiteRT file, a Keras file, a SavedModel, or the folder of a run.
      input_range: the values that a model of another maker expects for 0 and for 255, if it takes
        floats.
      threads: the number of threads of a LiteRT file; None for all processors.
      with_scores: True for a teacher whose `scores` are asked for.

    Attributes:
      name: the name of the file or folder.
      checksum: the SHA-256 of its files.
      names: one name per class; None if the model does not tell them.
      colors: one (red, green, blue) of 0-255 per class; None likewise.
      size: the (height, width) of the images that it takes; None for any size. Larger images are
        scaled down to it, and smaller ones are padded.

    Raises:
      UserError: no such model, or one that does not map an image to classes; or `input_range` is
        missing, or it is given although nothing needs it.
    """

    def __init__(
        self,
        path: pathlib.Path,
        input_range: tuple[float, float] | None = None,
        threads: int | None = None,
        with_scores: bool = False,
    ):
        self.path, self.name = path, path.name
        self.names: Sequence[str] | None = None
        self.colors: Sequence[Sequence[int]] | None = None
        self.size: tuple[int, int] | None = None
        self._model: Any = None
        self._predict: Callable[..., np.ndarray]
        if not path.exists():
            raise UserError(
                f"{path}: no such model; expected a .tflite or .keras file, a SavedModel, or the "
                "folder of a run"
            )
        if path.is_dir() and (path / "saved_model.pb").is_file():
            self._open_foreign(*_open_saved_model(path), input_range)
        elif path.suffix == ".tflite":
            if _is_own_file(path):
                if with_scores:
                    raise UserError(
                        f"{path} gives class maps, no scores; take the run that it comes from"
                    )
                self._open_own_file(threads, input_range)
            else:
                file = ForeignFile(path, threads, input_range or (-1.0, 1.0), with_scores)
                _check_range(path, file.takes_floats, input_range)
                self._predict, self.size = file.predict, file.size
        else:
            self._open_keras(input_range)
        self.checksum = _checksum(path)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Segments an image.

        Args:
          image: RGB, uint8 `(height, width, 3)`, of any size.

        Returns:
          The class map, int32 `(height, width)`.

        Raises:
          UserError: the model cannot segment an image of this size, or its output is none of
            classes.
        """
        if self.names is not None:
            return self._predict(image)
        fitted, content = self._fitted(image)
        classes = self._classes(self._predict(fitted), fitted.shape[:2])
        return resize_nearest(classes[: content[0], : content[1]], image.shape[:2])

    def scores(self, image: np.ndarray) -> np.ndarray:
        """Scores all classes at every pixel of an image.

        Args:
          image: RGB, uint8 `(height, width, 3)`, of any size.

        Returns:
          Logits, float32 `(height, width, classes)`. Those of a model that gives probabilities are
          their logarithms.

        Raises:
          UserError: the model cannot segment an image of this size, or its output is no scores.
        """
        if self.names is not None:
            return np.asarray(self._model(image[np.newaxis]))[0]
        fitted, content = self._fitted(image)
        output = np.asarray(self._predict(fitted), np.float32)
        if output.ndim != 3 or output.shape[2] == 1:
            raise UserError(
                f"{self.path} gives a class map, {output.shape}: expected scores, (height, width, "
                "classes)"
            )
        output = _resized(output, fitted.shape[:2])[: content[0], : content[1]]
        output = _resized(output, image.shape[:2])
        if output.min() >= 0 and np.allclose(output.sum(-1), 1, atol=0.02):
            output = np.log(np.maximum(output, _LEAST_PROBABILITY))
        return output

    def _fitted(self, image):
        """Returns an image in the size of the model, and the size of its content."""
        if self.size is None:
            return image, image.shape[:2]
        return scale_and_pad(image, self.size, GREY)

    def _open_own_file(self, threads, input_range) -> None:
        from rnnseg.runtime.file_model import FileModel

        _check_range(self.path, False, input_range)
        model = FileModel(self.path, threads)
        self._predict, self.names, self.colors = model.predict, model.names, model.colors
        self.size = model.info.size

    def _open_keras(self, input_range) -> None:
        import keras

        from rnnseg.inference.predictor import Predictor
        from rnnseg.models.loading import load_model

        if self.path.is_file():
            try:
                foreign = keras.saving.load_model(self.path, compile=False)
            except Exception:  # of this package, or no model at all, which load_model tells
                foreign = None
            if foreign is not None and not hasattr(foreign, "class_names"):
                self._open_foreign(*_from_keras(self.path, foreign), input_range)
                return
        model = load_model(self.path)
        _check_range(self.path, False, input_range)
        self._model = model
        self._predict, self.names, self.colors = Predictor(model), model.names, model.colors

    def _open_foreign(self, function, shape, dtype, input_range) -> None:
        shape = tuple(shape)
        if len(shape) != 4 or shape[3] != 3:
            raise UserError(
                f"{self.path} takes {dtype} {shape}: expected images, (batch, height, width, 3)"
            )
        floats = dtype.startswith(("float", "bfloat"))
        _check_range(self.path, floats, input_range)
        if None not in shape[1:3]:
            self.size = shape[1:3]

        def predict(image):
            given = scale_to(image, input_range) if floats else image
            try:
                return function(given[np.newaxis].astype(dtype))[0]
            except Exception as error:  # whatever layers raise for sizes that they cannot take
                raise UserError(
                    f"{self.path} cannot segment an image of {image.shape[0]}x{image.shape[1]} "
                    f"pixels ({first_line(error)}); take a teacher for images of one size"
                ) from error

        self._predict = predict

    def _classes(self, output: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Returns the class map, int32, of an image of a size from the output for it."""
        if output.ndim == 3 and output.shape[2] == 1:
            output = output[..., 0]
        if output.ndim == 3:
            return _resized(output, size).argmax(-1).astype(np.int32)
        labels = output.astype(np.int32)
        if output.ndim != 2 or not np.array_equal(labels, output):
            raise UserError(
                f"{self.path} gives {output.dtype} {output.shape}: expected a class map, (height, "
                "width), or scores, (height, width, classes)"
            )
        return labels if labels.shape == size else resize_nearest(labels, size)


def _resized(scores: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns scores, `(h, w, classes)`, interpolated at another size."""
    if scores.shape[:2] == size:
        return scores
    import tensorflow as tf

    return tf.image.resize(scores, size).numpy()


def _check_range(path, floats: bool, input_range) -> None:
    if floats and input_range is None:
        raise UserError(
            f"{path} takes floats, and does not tell of what range: give the values for black and "
            "white, such as --input-range -1,1 or 0,1 or 0,255"
        )
    if not floats and input_range is not None:
        raise UserError(f"--input-range: {path} takes 0 to 255; leave the option out")


def _is_own_file(path: pathlib.Path) -> bool:
    """Returns True for a LiteRT file with the metadata of `rnnseg export`."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "rnnseg.json" in archive.namelist()
    except Exception:  # no archive, or a damaged one, for which zipfile raises many kinds
        return False


def _from_keras(path, model) -> tuple[Predict, Any, str]:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UserError(
            f"{path} has {len(model.inputs)} inputs and {len(model.outputs)} outputs: expected one "
            "of each"
        )
    (given,) = model.inputs
    return lambda images: np.asarray(model(images, training=False)), given.shape, given.dtype


def _open_saved_model(path) -> tuple[Predict, Any, str]:
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(os.fspath(path))
    except Exception as error:  # damaged protocol buffers fail in many ways
        raise UserError(f"{path} cannot be loaded as a SavedModel: {first_line(error)}") from error
    signature = loaded.signatures.get(_SIGNATURE)
    if signature is None:
        raise UserError(
            f"{path} has no signature {_SIGNATURE}; it has "
            f"{', '.join(sorted(loaded.signatures)) or 'none'}"
        )
    inputs = signature.structured_input_signature[1]
    outputs = signature.structured_outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise UserError(
            f"{path} has {len(inputs)} inputs and {len(outputs)} outputs: expected one of each"
        )
    ((name, spec),), (result,) = inputs.items(), outputs

    def predict(images):
        _keep = loaded  # the signature alone would lose its variables
        return signature(**{name: tf.constant(images)})[result].numpy()

    shape = (None,) * 4 if spec.shape.rank is None else spec.shape.as_list()
    return predict, shape, spec.dtype.name


def _checksum(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file, of the files of a SavedModel, or of the models of a run."""
    files = [path]
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.is_file())
        if not (path / "saved_model.pb").is_file():
            files = [each for each in files if each.suffix == ".keras"]
    whole = hashlib.sha256()
    for file in files:
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()
