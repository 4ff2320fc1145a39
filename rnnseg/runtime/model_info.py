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
from typing import Annotated, Any, Literal, get_args

from annotated_types import MaxLen, MinLen

from rnnseg import schemas
from rnnseg._renamed import RenamedAttribute
from rnnseg.errors import UserError
from rnnseg.runtime.integrity import checksum

_NAME = "rnnseg.json"
_LABELS = "labels.txt"

# zipfile unpacks these by as many bytes as are asked for, and others at once, of any size.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

_EarlyStage = Literal["encode", "prepare"]
_Stage = Literal[_EarlyStage, "refine", "read"]
_Counts = Mapping[_Stage, schemas.Total]
_EarlyCounts = Mapping[_EarlyStage, schemas.Total]
_WAY_OUT = "export the model again"

# The key of `initial_state` up to 0.1.0. Files have it once more, for apps that were written then.
_INITIAL_STATE_BEFORE = "start"


def encode_signature(number: int) -> str:
    """Returns the name of the signature of a stage of the encoder: encode, encode_1 and so on."""
    return f"encode_{number}" if number else "encode"


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """The metadata of an exported file, and the schema of `rnnseg.json` in it.

    A key that later versions add is a field with a default: earlier versions leave the key out, and
    files without it have the default.

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
      early_multiply_adds: those of encode and prepare for the first iterations alone, which need
        fewer stages of the encoder, by the number of these iterations; None if not known.
      miou: the mean intersection over union, 0-1, by number of iterations; None if not measured.
      scored_on: the data and split of `miou`.
      sha256: the checksum of the model's flat buffer, which `append_to` computes; None in files of
        earlier versions. It does not count in comparisons.
    """

    kind: Literal["anytime", "segment"]
    recurrent: bool
    quantization: Literal["float32", "float16", "dynamic", "int8"]
    classes: Annotated[tuple[schemas.Text, ...], MinLen(1), MaxLen(1 << 16)]
    colors: tuple[schemas.Color, ...]
    size: tuple[schemas.Side, schemas.Side] | None
    output_stride: schemas.Stride
    canvas_stride: schemas.Stride
    early_iterations: tuple[schemas.Iterations, ...]
    encoder_outputs: tuple[tuple[schemas.Text, ...], ...]
    padding: schemas.Color
    iterations: schemas.Iterations
    state: Mapping[str, schemas.Channels]
    initial_state: Mapping[str, tuple[float, ...]]
    multiply_adds: _Counts | None
    early_multiply_adds: Mapping[schemas.Iterations, _EarlyCounts] | None = None
    miou: Mapping[schemas.Iterations, schemas.Fraction] | None = None
    scored_on: str | None = None
    sha256: str | None = dataclasses.field(default=None, compare=False)

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
        """Returns a model's flat buffer with these metadata and its checksum behind it."""
        file = io.BytesIO(model)
        own = dataclasses.replace(self, sha256=checksum(model))
        with zipfile.ZipFile(file, "a") as archive:
            for name, text in own.texts().items():
                archive.writestr(name, text)
        return file.getvalue()

    @classmethod
    def load(cls, path: str | os.PathLike) -> "ModelInfo":
        """Reads the metadata of an exported file.

        Args:
          path: a `.tflite` file.

        Raises:
          UserError: no such file, one that `rnnseg export` did not write, or metadata that cannot
            be true.
        """
        where = f"{path}, {_NAME}"
        text = schemas.decode_text(_read_member(path), where, _WAY_OUT)
        content = schemas.parse_json(text, where, _WAY_OUT)
        if isinstance(content, dict):
            content = _present(content)
        info = schemas.check(content, cls, where, _WAY_OUT)
        _check_lengths(info, where)
        return info


def _read_member(path: str | os.PathLike) -> bytes:
    """Returns the metadata in a file as they are stored there."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(_NAME).compress_type not in _COMPRESSIONS:
                raise zipfile.BadZipFile("compressed in a way that export does not use")
            with archive.open(_NAME) as member:  # the stated size may be a lie
                data = member.read(schemas.MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # zipfile raises many kinds for damaged archives
        raise UserError(
            f"{path} has no metadata: expected a .tflite file that `rnnseg export` wrote; "
            f"{_WAY_OUT}"
        ) from error
    if len(data) > schemas.MOST_BYTES:
        raise UserError(
            f"{path}, {_NAME}: more than {schemas.MOST_BYTES} bytes, expected fewer; {_WAY_OUT}"
        )
    return data


def _present(content: dict[str, Any]) -> dict[str, Any]:
    """Brings metadata of earlier versions into the present form."""
    earlier = content.get(_INITIAL_STATE_BEFORE)
    # Files up to 0.1.0 have one stride and one stage.
    defaults = {
        "initial_state": earlier,
        "canvas_stride": content.get("output_stride"),
        "early_iterations": [],
        "encoder_outputs": [["prepared" if content.get("recurrent") else "canvas"]],
    }
    return {key: value for key, value in defaults.items() if value is not None} | content


def _check_lengths(info: ModelInfo, where: str) -> None:
    """Raises a UserError unless the lists belong together."""
    classes, stages = len(info.classes), len(info.early_iterations) + 1
    state = "one of canvas, " + ", ".join(info.state) if info.state else "canvas"
    widths = {"canvas": classes, **info.state}
    for key, value, right, expected in (
        ("colors", len(info.colors), len(info.colors) == classes, f"{classes}, one per class"),
        (
            "encoder_outputs",
            len(info.encoder_outputs),
            len(info.encoder_outputs) == stages and all(info.encoder_outputs),
            f"{stages}, one of at least one name per stage",
        ),
        *(
            (f"initial_state.{name}", len(each), len(each) == widths.get(name), widths.get(name))
            for name, each in info.initial_state.items()
            if name in widths
        ),
    ):
        if not right:
            raise UserError(f"{where}: {key} has {value} elements, expected {expected}; {_WAY_OUT}")
    unknown = sorted(set(info.initial_state) - set(widths))
    if unknown:
        raise UserError(
            f"{where}: initial_state has the key {unknown[0]!r}, expected {state}; {_WAY_OUT}"
        )
    early = info.early_multiply_adds or {}
    for key, counts, needed in (
        ("multiply_adds", info.multiply_adds, get_args(_Stage)),
        *((f"early_multiply_adds.{each}", early[each], get_args(_EarlyStage)) for each in early),
    ):
        for stage in needed:
            if counts is not None and stage not in counts:
                raise UserError(f"{where}: {key}.{stage} is missing; {_WAY_OUT}")
    if info.canvas_stride > info.output_stride:
        raise UserError(
            f"{where}: canvas_stride is {info.canvas_stride}, expected at most output_stride, "
            f"{info.output_stride}; {_WAY_OUT}"
        )
