"""Folders of pretrained models."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import MaxLen, MinLen

from rnnseg import schemas
from rnnseg.errors import UserError
from rnnseg.score_files import EvaluationContent, present_names

CONFIG, WEIGHTS, METADATA = "config.json", "model.weights.h5", "metadata.json"
"""The files that every preset has, with the names that KerasHub gives them."""

SCORES, LITERT, CARD = "scores_val.json", "anytime_int8.tflite", "README.md"
"""The files that a preset may have: scores, an exported file for devices, and the model card."""

FORMAT = 1
"""The version of the layout of presets."""

WAY_OUT = "take the preset anew from where it comes from"
"""The end of messages on damaged files."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metadata:
    """What `metadata.json` holds.

    Attributes:
      format: the version of the layout, as `FORMAT`.
      rnnseg_version: the version of this package that wrote it.
      keras_version: the version of Keras, likewise.
      date_saved: the day, as in 2026-01-31.
      description: a sentence on the model.
      data: what it was trained on.
      license: of the weights, such as Apache-2.0.
      command: the command that trained it.
      weaknesses: what it is bad at.
      classes: one name per class.
      colors: one (red, green, blue) of 0-255 per class.
      parameters: the number of parameters.
      files: the SHA-256 of the files that the model is made of, by name.
    """

    format: schemas.Count
    rnnseg_version: schemas.Text
    keras_version: schemas.Text
    date_saved: schemas.Text
    description: str
    data: str
    license: str
    command: str
    weaknesses: str
    classes: Annotated[tuple[schemas.Text, ...], MinLen(1), MaxLen(1 << 16)]
    colors: tuple[schemas.Color, ...]
    parameters: schemas.Count
    files: Mapping[schemas.Text, schemas.Text]


@dataclasses.dataclass(frozen=True)
class Preset:
    """A pretrained model in a folder.

    Attributes:
      name: the name by which it was found.
      folder: the folder.
      metadata: what `metadata.json` says.
    """

    name: str
    folder: pathlib.Path
    metadata: Metadata

    def has(self, name: str) -> bool:
        """Returns True if the preset has a file, such as `LITERT`."""
        return name in self.metadata.files

    def scores(self) -> EvaluationContent | None:
        """Returns the scores on the split val; None if the preset has none.

        Raises:
          UserError: the file of scores is damaged.
        """
        path = self.folder / SCORES
        if not path.is_file():
            return None
        return schemas.read_json(path, EvaluationContent, WAY_OUT, present_names)

    def file(self, name: str) -> pathlib.Path:
        """Returns the path of a file of the preset, after a check of its checksum.

        Args:
          name: the name of the file, such as `WEIGHTS`.

        Raises:
          UserError: the preset has no such file, or the file is missing, damaged, or only a part.
        """
        if not self.has(name):
            have = ", ".join(self.metadata.files)
            raise UserError(f"preset {self.name} has no {name}; it has {have}")
        path = self.folder / name
        try:
            found = checksum(path)
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); {WAY_OUT}") from error
        if found != self.metadata.files[name]:
            raise UserError(
                f"{path} is damaged, or only a part: its checksum is {found[:12]}…, expected "
                f"{self.metadata.files[name][:12]}…; {WAY_OUT}"
            )
        return path


def open_folder(folder: pathlib.Path, name: str) -> Preset:
    """Opens a preset.

    Args:
      folder: the folder.
      name: the name that stands for it in messages.

    Raises:
      UserError: no preset, a damaged one, or one of a later version of this package.
    """
    path = folder / METADATA
    if not path.is_file():
        raise UserError(
            f"{folder} is no preset: it has no {METADATA}; expected a folder that save_to_preset "
            "wrote"
        )
    content = schemas.parse_json(schemas.read_text(path, WAY_OUT), str(path), WAY_OUT)
    _check_format(content, path)
    metadata = schemas.check(content, Metadata, str(path), WAY_OUT)
    unknown = sorted(set(metadata.files) - {CONFIG, WEIGHTS, LITERT})
    if unknown or not {CONFIG, WEIGHTS} <= set(metadata.files):
        raise UserError(
            f"{path}: files are {', '.join(metadata.files) or 'none'}, expected {CONFIG}, {WEIGHTS}"
            f" and, where there is one, {LITERT}; {WAY_OUT}"
        )
    return Preset(name, folder, metadata)


def checksum(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_format(content: Any, path: pathlib.Path) -> None:
    """Raises a UserError for a layout of a later version; what else is wrong, the schema tells."""
    found = content.get("format") if isinstance(content, dict) else None
    if isinstance(found, int) and found > FORMAT:
        raise UserError(
            f"{path}: format {found}, made by rnnseg {content.get('rnnseg_version')}; expected at "
            f"most {FORMAT}: update rnnseg"
        )
