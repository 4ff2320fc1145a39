"""The start of a training from a model that was trained before."""

import dataclasses
import os
from typing import Any

from rnnseg.errors import UserError
from rnnseg.models.base import SegmentationModel
from rnnseg.models.loading import load_model
from rnnseg.models.options import MODEL_OPTIONS
from rnnseg.models.registry import kind_of
from rnnseg.models.transfer import Transfer, transfer_weights
from rnnseg.options import declaration


def options_of(path: str | os.PathLike) -> dict[str, Any]:
    """Returns the kind and the form of a model, as fields of `TrainingConfig`.

    Of the options that change the training alone, there is only the L2 penalty: kernels that are
    larger than another penalty allows would outweigh the loss.

    Args:
      path: a `.keras` file; the folder of a run, whose best model is taken; or a preset.

    Raises:
      UserError: no such model; or its encoder is a model of the user's own, which has no name.
    """
    model = load_model(path)
    if not isinstance(model.options.encoder, str):
        raise UserError(
            f"{path}: its encoder is a custom model, which a run cannot name; in Python, give it "
            "to the constructor, or take from_model"
        )
    name = kind_of(model)
    fields = dataclasses.fields(MODEL_OPTIONS[name])
    form = [
        field.name for field in fields if field.name == "l2" or not declaration(field).training_only
    ]
    return {"model": name} | {each: getattr(model.options, each) for each in form}


def start_from(path: str | os.PathLike, model: SegmentationModel) -> Transfer:
    """Copies the weights of a trained model into a new one, as far as they fit.

    Args:
      path: as in `options_of`.
      model: the new model, which is changed.

    Returns:
      What was taken.

    Raises:
      UserError: no such model; or the encoders differ, so that the new one would stay untrained.
    """
    old = load_model(path)
    done = transfer_weights(old, model)
    if "encoder" not in done.taken:
        raise UserError(
            f"init={path}: its encoder, {old.options.encoder} with features of "
            f"{old.encoder.channels} channels, does not fit {model.options.encoder} with "
            f"{model.encoder.channels}; choose the same encoder"
        )
    return done
