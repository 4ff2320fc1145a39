"""Models of presets, and presets of models."""

import datetime
import importlib
import importlib.metadata
import json
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any, TypeVar

import h5py
import keras
import numpy as np

from rnnseg import schemas
from rnnseg.errors import UserError, first_line
from rnnseg.files import atomic_folder, beside
from rnnseg.models.finite import check_weights
from rnnseg.pretrained.card import model_card
from rnnseg.pretrained.names import open_preset
from rnnseg.pretrained.preset import (
    CARD,
    CONFIG,
    FORMAT,
    LITERT,
    METADATA,
    SCORES,
    WAY_OUT,
    WEIGHTS,
    Metadata,
    Preset,
    checksum,
)
from rnnseg.runtime.model_info import ModelInfo
from rnnseg.score_files import EvaluationContent, present_names

_Model = TypeVar("_Model", bound="PresetModel")


class PresetModel:
    """The doors of a model to pretrained ones, with the names that they have in KerasHub."""

    @classmethod
    def from_preset(
        cls: type[_Model],
        preset: str | os.PathLike,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        class_colors: Sequence[Sequence[int]] | None = None,
        **options: Any,
    ) -> _Model:
        """Builds a pretrained model, or one that starts from its weights for further training.

        Without further arguments it is the model as it was trained. With them it is made by
        `from_model`: if most classes have names that the preset knows, these keep their weights.

        Args:
          preset: a name of `rnnseg.presets`, a folder that `save_to_preset` wrote, or
            `hf://USER/REPO`.
          num_classes: the number of classes, if they are others.
          class_names: one name per class, likewise.
          class_colors: one (red, green, blue) of 0-255 per class, likewise.
          **options: arguments of the constructor that differ from those of the pretrained model.

        Raises:
          UserError: no such preset, a damaged one, or one of another kind of model.
        """
        found = open_preset(preset)
        old = load_preset(found)
        changes = {"num_classes": num_classes, "class_names": class_names}
        changes |= {"class_colors": class_colors, **options}
        if any(value is not None for value in changes.values()):
            return cls.from_model(old, **changes)
        if not isinstance(old, cls):
            raise UserError(f"preset {preset} is a {type(old).__name__}; use its from_preset")
        return old

    def save_to_preset(
        self,
        folder: str | os.PathLike,
        *,
        description: str = "",
        data: str = "",
        license: str = "",
        command: str = "",
        weaknesses: str = "",
        litert: str | os.PathLike | None = None,
    ) -> None:
        """Writes a preset: structure, weights, metadata, scores if there are any, and a model card.

        Kernels are written as float16, which halves the file and changes class maps on pixels where
        two classes are nearly as likely.

        Args:
          folder: a new folder.
          description: a sentence on the model.
          data: what it was trained on.
          license: the licence of the weights, such as "Apache-2.0".
          command: the command that trained it.
          weaknesses: what it is bad at.
          litert: an `anytime_int8.tflite` that `rnnseg export` wrote of this model, to copy.

        The scores are those that `rnnseg evaluate` wrote, on the split val, beside the run that the
        model was loaded from.

        Raises:
          UserError: the folder exists already, or `litert` is another kind of file.
        """
        folder = pathlib.Path(folder)
        if folder.exists():
            raise UserError(f"{folder} exists already: choose a new folder for the preset")
        scores = None
        if self.loaded_from is not None and beside(self.loaded_from, SCORES).is_file():
            scores = beside(self.loaded_from, SCORES)
        if litert is not None:
            info = ModelInfo.load(litert)
            if info.kind != "anytime" or info.classes != tuple(self.names):
                raise UserError(
                    f"{litert}: expected anytime_int8.tflite of this model, with its classes"
                )
        with atomic_folder(folder) as temporary:
            config = keras.saving.serialize_keras_object(self)
            config.pop("compile_config", None)
            text = json.dumps(config, indent=1)
            (temporary / CONFIG).write_text(f"{text}\n", encoding="utf-8")
            self.save_weights(temporary / WEIGHTS)
            _halve(temporary / WEIGHTS)
            if litert is not None:
                shutil.copyfile(litert, temporary / LITERT)
            metadata = Metadata(
                format=FORMAT,
                rnnseg_version=importlib.metadata.version("rnnseg"),
                keras_version=keras.__version__,
                date_saved=datetime.date.today().isoformat(),
                description=description,
                data=data,
                license=license,
                command=command,
                weaknesses=weaknesses,
                classes=tuple(self.names),
                colors=tuple(map(tuple, self.colors)),
                parameters=self.count_params(),
                files={path.name: checksum(path) for path in sorted(temporary.iterdir())},
            )
            text = json.dumps(vars(metadata), indent=1)
            (temporary / METADATA).write_text(f"{text}\n", encoding="utf-8")
            if scores is not None:
                scores = _copy_scores(scores, temporary / SCORES)
            card = model_card(folder.resolve().name, metadata, scores)
            (temporary / CARD).write_text(card, encoding="utf-8")


def load_preset(preset: Preset) -> keras.Model:
    """Builds the model of a preset, a `rnnseg.models.base.SegmentationModel`.

    Code in the files is not run, as by `keras.saving.load_model` with its safe mode.

    Args:
      preset: the preset.

    Raises:
      UserError: a file is damaged, or holds no model of this package, or weights that are not
        finite numbers.
    """
    config, weights = preset.file(CONFIG), preset.file(WEIGHTS)
    # By name: models import nothing that trains them, but the classes of all have to be known.
    importlib.import_module("rnnseg.registration")
    content = schemas.parse_json(schemas.read_text(config, WAY_OUT), str(config), WAY_OUT)
    try:
        model = keras.saving.deserialize_keras_object(content)
    except Exception as error:  # whatever the constructors of a wrong file's classes raise
        raise UserError(f"{config} cannot be loaded as a model: {first_line(error)}") from error
    if not isinstance(model, PresetModel):
        raise UserError(f"{config} holds a {type(model).__name__}; expected a model of rnnseg")
    # The variables are made by the first call.
    side = 2 * model.output_stride + 1
    model(np.zeros((1, side, side, 3), np.uint8))
    try:
        model.load_weights(weights)
    except Exception as error:  # of h5py, or a Keras layer that misses its weights
        raise UserError(f"{weights} does not fit {config.name}: {first_line(error)}") from error
    check_weights(model, str(weights))
    model.loaded_from = preset.name
    return model


def _copy_scores(source: pathlib.Path, target: pathlib.Path) -> EvaluationContent:
    """Copies scores without their confusion matrices, and returns them."""
    way_out = "evaluate the model again"
    scores = schemas.read_json(source, EvaluationContent, way_out, present_names)
    content = schemas.parse_json(schemas.read_text(source, way_out), str(source), way_out)
    for row in content["results"]:
        row.pop("confusion", None)
    target.write_text(f"{json.dumps(content, indent=1)}\n", encoding="utf-8")
    return scores


def _halve(path: pathlib.Path) -> None:
    """Turns the kernels in a file of weights into float16.

    Vectors stay as they are: the variances of batch norm may be smaller than float16 can be, and
    they take hardly any room.
    """
    smaller = path.with_name(f"smaller_{path.name}")
    with h5py.File(path) as source, h5py.File(smaller, "w") as target:

        def copy(name, item):
            if not isinstance(item, h5py.Dataset):
                made = target.require_group(name)
            elif item.ndim >= 2 and item.dtype == np.float32:
                made = target.create_dataset(name, data=item[()].astype(np.float16))
            else:
                made = target.create_dataset(name, data=item[()])
            for key, value in item.attrs.items():
                made.attrs[key] = value

        source.visititems(copy)
        for key, value in source.attrs.items():
            target.attrs[key] = value
    smaller.replace(path)
