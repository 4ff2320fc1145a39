"""The metadata of an exported LiteRT file, read without TensorFlow.

They are JSON in a zip archive behind the model's flat buffer, where LiteRT keeps "associated
files": the interpreter ignores them, and any zip reader finds them.
"""

import dataclasses
import io
import json
import os
import zipfile
from collections.abc import Mapping

from rnnseg._renamed import RenamedAttribute
from rnnseg.errors import UserError

_NAME = "rnnseg.json"
_LABELS = "labels.txt"

# The key of `initial_state` up to 0.1.0. Files have it once more, for apps that were written then.
_INITIAL_STATE_BEFORE = "start"


def encode_signature(number: int) -> str:
    """Returns the name of the signature of a stage of the encoder: encode, encode_1 and so on."""
    return f"encode_{number}" if number else "encode"


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """The metadata of an exported file.

    Attributes:
      kind: "anytime", with the signatures encode, refine, read and seed (and encode_1, encode_2, …
        for further stages of the encoder), or "segment", with the one of that name.
      recurrent: True if there are iterations; otherwise `encode` returns the canvas.
      quantization: "float32", "float16", "dynamic" or "int8".
      classes: one name per class.
      colors: one (red, green, blue) of 0-255 per class.
      size: the `(height, width)` of the images, in pixels; None for any size.
      output_stride: input pixels per pixel of the deepest features.
      canvas_stride: input pixels per canvas pixel.
      early_iterations: the number of iterations on each stage of the encoder before the last.
      encoder_outputs: the names of the outputs of every stage of the encoder, as in its signature.
      padding: the (red, green, blue) of 0-255 to pad smaller images with.
      iterations: the number of iterations in training.
      state: the number of channels of each tensor of the LSTM state, by name: h_0, c_0, h_1, …
      initial_state: the initial values of canvas and LSTM state, one per channel, by name; tensors
        without an entry start from zero.
      multiply_adds: of the stages encode, prepare, refine and read, at `size`, with all stages of
        the encoder in encode and prepare; None for any size.
      miou: the mean intersection over union, 0-1, by number of iterations; None if not measured.
      scored_on: the data and split of `miou`.
    """

    kind: str
    recurrent: bool
    quantization: str
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    size: tuple[int, int] | None
    output_stride: int
    canvas_stride: int
    early_iterations: tuple[int, ...]
    encoder_outputs: tuple[tuple[str, ...], ...]
    padding: tuple[int, int, int]
    iterations: int
    state: Mapping[str, int]
    initial_state: Mapping[str, tuple[float, ...]]
    multiply_adds: Mapping[str, int] | None
    miou: Mapping[int, float] | None = None
    scored_on: str | None = None

    start = RenamedAttribute("initial_state")
    initial = RenamedAttribute("initial_values")

    @property
    def initial_values(self) -> dict[str, tuple[float, ...]]:
        """The initial values of canvas and state, one per channel, by name, zeros included."""
        if not self.recurrent:
            return {}
        widths = {"canvas": len(self.classes), **self.state}
        return {name: (0.0,) * width for name, width in widths.items()} | dict(self.initial_state)

    def texts(self) -> dict[str, str]:
        """Returns the metadata as they stand in a file, by name: rnnseg.json and labels.txt."""
        content = dataclasses.asdict(self)
        content[_INITIAL_STATE_BEFORE] = content["initial_state"]
        return {
            _NAME: json.dumps(content, indent=1),
            _LABELS: "".join(f"{name}\n" for name in self.classes),
        }

    def append_to(self, model: bytes) -> bytes:
        """Returns a model's flat buffer with these metadata behind it."""
        file = io.BytesIO(model)
        with zipfile.ZipFile(file, "a") as archive:
            for name, text in self.texts().items():
                archive.writestr(name, text)
        return file.getvalue()

    @classmethod
    def load(cls, path: str | os.PathLike) -> "ModelInfo":
        """Reads the metadata of an exported file.

        Args:
          path: a `.tflite` file.

        Raises:
          UserError: no such file, or one that `rnnseg export` did not write.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                content = json.loads(archive.read(_NAME))
            return cls._from_json(content)
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
        except (zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} has no metadata: expected a .tflite file that `rnnseg export` wrote; "
                "export the model again"
            ) from error

    @classmethod
    def _from_json(cls, content: dict) -> "ModelInfo":
        earlier = content.pop(_INITIAL_STATE_BEFORE, None)
        initial = content.get("initial_state", earlier)
        miou = content["miou"]
        # Files up to 0.1.0 have one stride and one stage.
        content = {
            "canvas_stride": content["output_stride"],
            "early_iterations": (),
            "encoder_outputs": [["prepared" if content["recurrent"] else "canvas"]],
        } | content
        return cls(
            **content
            | {
                "early_iterations": tuple(content["early_iterations"]),
                "encoder_outputs": tuple(map(tuple, content["encoder_outputs"])),
                "classes": tuple(content["classes"]),
                "colors": tuple(tuple(each) for each in content["colors"]),
                "size": content["size"] and tuple(content["size"]),
                "padding": tuple(content["padding"]),
                "initial_state": {name: tuple(each) for name, each in initial.items()},
                "miou": miou and {int(number): float(each) for number, each in miou.items()},
            }
        )
