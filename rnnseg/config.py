"""What a training run is made of: the defaults, recipe files, and the checks on both."""

import dataclasses
import importlib.util
import pathlib
import runpy
from collections.abc import Mapping
from typing import Any

from rnnseg.errors import UserError


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a training run; `config.json` in the run's folder holds it.

    The defaults follow the DeepLab family, whose recipe the paper used, but for the encoder, which
    is the one that trains on any machine.

    Attributes:
      data: what `rnnseg.data.open_source` takes.
      train_split, val_split: splits to train on and to validate on.
      encoder, encoder_weights, encoder_layer, output_stride, hidden_channels, kernel_size,
        dilation_rate, iterations, iteration_weights, learned_start, train_encoder,
        freeze_batch_norm, l2: as in `RecurrentSegmenter`.
      label_smoothing: as in `rnnseg.losses.SegmentationLoss`.
      precision: Keras dtype policy: float32, mixed_bfloat16 or mixed_float16.
      crop: (height, width) of training pictures, in pixels.
      scale: smallest and largest factor of the random scaling.
      flip: whether half of the training pictures are mirrored.
      batch_size: pictures a step.
      epochs: passes through the training data.
      optimizer: "sgd" (momentum 0.9) or "adamw" (weight decay 1e-4 on top of `l2`).
      learning_rate: at the start; it falls to zero as (1 - step / steps) ** 0.9 ("poly").
      validate_every: epochs between two validations; the last epoch is always validated.
      seed: makes initial weights, order and augmentation the same at every run; None: they differ.
    """

    data: str
    train_split: str = "train"
    val_split: str = "val"
    encoder: str = "mobilenet_v2"
    encoder_weights: str | None = "imagenet"
    encoder_layer: str | None = None
    output_stride: int = 16
    hidden_channels: tuple[int, ...] = (128, 64)
    kernel_size: int = 1
    dilation_rate: int = 1
    iterations: int = 6
    iteration_weights: tuple[float, ...] | None = None
    learned_start: bool = False
    train_encoder: bool = True
    freeze_batch_norm: bool = True
    l2: float = 4e-5
    label_smoothing: float = 0.0
    precision: str = "float32"
    crop: tuple[int, int] = (513, 513)
    scale: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    batch_size: int = 8
    epochs: int = 30
    optimizer: str = "sgd"
    learning_rate: float = 0.007
    validate_every: int = 1
    seed: int | None = None

    def __post_init__(self):
        for option, least in (("epochs", 1), ("batch_size", 1), ("validate_every", 1)):
            if getattr(self, option) < least:
                raise UserError(f"{option}={getattr(self, option)}: expected at least {least}")
        if not self.learning_rate > 0:
            raise UserError(f"learning_rate={self.learning_rate}: expected more than 0")
        if self.l2 < 0:
            raise UserError(f"l2={self.l2}: expected at least 0")
        if not 0 <= self.label_smoothing < 1:
            raise UserError(f"label_smoothing={self.label_smoothing}: expected 0 to 1")
        if self.encoder_weights is None and (self.freeze_batch_norm or not self.train_encoder):
            raise UserError(
                "an encoder with random weights must be trained, batch norm too: give "
                "encoder_weights, "
                "or set train_encoder and unset freeze_batch_norm"
            )
        for option, choices in (
            ("optimizer", ("sgd", "adamw")),
            ("precision", ("float32", "mixed_bfloat16", "mixed_float16")),
        ):
            if getattr(self, option) not in choices:
                raise UserError(
                    f"{option}={getattr(self, option)!r}: expected one of {', '.join(choices)}"
                )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TrainingConfig":
        """The inverse of `dataclasses.asdict` through JSON, which turns tuples into lists."""
        return cls(
            **{
                key: tuple(value) if isinstance(value, list) else value
                for key, value in values.items()
            }
        )


def load_recipe(recipe: str) -> dict[str, Any]:
    """Reads the defaults of a data set from a recipe.

    Args:
      recipe: a Python file that sets `RECIPE`, a dictionary of `TrainingConfig` fields; or the name
        of one that comes with the package, such as "camvid".

    Returns:
      The dictionary.

    Raises:
      UserError: no such recipe, no `RECIPE` in it, or an unknown field.
    """
    path = pathlib.Path(recipe)
    if not path.is_file():
        module = (
            importlib.util.find_spec(f"experiments.{recipe}") if recipe.isidentifier() else None
        )
        if module is None:
            raise UserError(
                f"recipe {recipe!r}: no such file, and no recipe of that name in experiments/"
            )
        path = pathlib.Path(module.origin)
    values = runpy.run_path(str(path)).get("RECIPE")
    if not isinstance(values, Mapping):
        raise UserError(
            f"recipe {path}: expected it to set RECIPE, a dictionary of training options"
        )
    fields = {field.name for field in dataclasses.fields(TrainingConfig)}
    unknown = sorted(set(values) - fields)
    if unknown:
        raise UserError(
            f"recipe {path}: unknown {', '.join(unknown)}; expected some of "
            f"{', '.join(sorted(fields))}"
        )
    return dict(values)
