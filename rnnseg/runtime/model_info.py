"""What an exported LiteRT file says of itself; read without TensorFlow.

It is JSON in a zip archive behind the model's flat buffer, which is where LiteRT keeps "associated
files": the interpreter does not look there, and any zip reader finds it.
"""

import dataclasses
import io
import json
import os
import zipfile
from collections.abc import Mapping

from rnnseg.errors import UserError

_NAME = "rnnseg.json"
_LABELS = "labels.txt"


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """What an exported file holds.

    Attributes:
      kind: "anytime", with the signatures encode, refine, read and seed, or "segment", with the one
        of that name.
      recurrent: whether there are iterations; without them `encode` gives the canvas.
      quantization: "float32", "float16", "dynamic" or "int8".
      classes: their names.
      colors: one (red, green, blue) of 0-255 a class.
      size: the image's (height, width), in pixels; None for any.
      output_stride: pixels of the image a pixel of the canvas.
      padding: the (red, green, blue) of 0-255 to surround smaller images with.
      iterations: how many training ran.
      state: the number of channels of each tensor of the LSTM state, by name: h_0, c_0, h_1, …
      start: the values that canvas and state start from, one a channel, by name; of those that are
        not here they are zero.
      multiply_adds: of the stages encode, prepare, refine and read, at `size`; None for any size.
      miou: mean intersection over union, of 1, by number of iterations; None where not measured.
      scored_on: the data and split of `miou`.
    """

    kind: str
    recurrent: bool
    quantization: str
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    size: tuple[int, int] | None
    output_stride: int
    padding: tuple[int, int, int]
    iterations: int
    state: Mapping[str, int]
    start: Mapping[str, tuple[float, ...]]
    multiply_adds: Mapping[str, int] | None
    miou: Mapping[int, float] | None = None
    scored_on: str | None = None

    @property
    def initial(self) -> dict[str, tuple[float, ...]]:
        """The values of canvas and state, one a channel, that iterations start from, by name."""
        if not self.recurrent:
            return {}
        widths = {"canvas": len(self.classes), **self.state}
        return {name: (0.0,) * width for name, width in widths.items()} | dict(self.start)

    def append_to(self, model: bytes) -> bytes:
        """A model's flat buffer with this behind it."""
        file = io.BytesIO(model)
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(_NAME, json.dumps(dataclasses.asdict(self), indent=1))
            archive.writestr(_LABELS, "".join(f"{name}\n" for name in self.classes))
        return file.getvalue()

    @classmethod
    def load(cls, path: str | os.PathLike) -> "ModelInfo":
        """Reads it from an exported file.

        Args:
          path: a `.tflite` file.

        Raises:
          UserError: no such file, or not one that `rnnseg export` wrote.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                content = json.loads(archive.read(_NAME))
            return cls._from_json(content)
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
        except (zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} does not say what is in it: expected a .tflite file that `rnnseg export` "
                "wrote; export the model anew"
            ) from error

    @classmethod
    def _from_json(cls, content: Mapping) -> "ModelInfo":
        miou = content["miou"]
        return cls(
            **content
            | {
                "classes": tuple(content["classes"]),
                "colors": tuple(tuple(each) for each in content["colors"]),
                "size": content["size"] and tuple(content["size"]),
                "padding": tuple(content["padding"]),
                "start": {name: tuple(each) for name, each in content["start"].items()},
                "miou": miou and {int(number): float(each) for number, each in miou.items()},
            }
        )
