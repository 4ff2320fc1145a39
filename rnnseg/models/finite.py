"""A check for weights that are not finite numbers, whose class maps mean nothing."""

import keras
from keras import ops

from rnnseg.errors import UserError


def check_weights(model: keras.Model, where: str) -> None:
    """Raises a UserError if weights of a model are infinite or no numbers.

    Layers such as ReLU6 can turn NaN into numbers, so that class maps do not show it.

    Args:
      model: the model.
      where: the file, or another name of the model, for the message.

    Raises:
      UserError: such weights; the message names the first layer.
    """
    wrong = [each.path for each in model.weights if not _is_finite(each)]
    if wrong:
        count = f"and in {len(wrong) - 1} more weights, " if len(wrong) > 1 else ""
        raise UserError(
            f"{where}: {wrong[0]} has values that are not finite numbers (NaN or infinite), {count}"
            "so its class maps would mean nothing: the training has diverged, or the file is "
            "damaged; take another model, or train with a lower learning rate"
        )


def _is_finite(weight) -> bool:
    if not keras.backend.is_float_dtype(weight.dtype):
        return True
    return bool(ops.all(ops.isfinite(weight)))
