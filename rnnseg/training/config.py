"""What a training run is made of: the defaults, recipe files, and the checks on both."""

import dataclasses
import importlib.util
import math
import pathlib
import runpy
import types
import typing
from collections.abc import Mapping
from typing import Any

from rnnseg.errors import UserError

_KINDS = {
    int: "a whole number",
    float: "a finite number",
    str: "a text",
    bool: "True or False",
}


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a training run; `config.json` in the run's folder holds it.

    The defaults follow the DeepLab family, whose recipe the paper used, but for the encoder, which
    is the one that trains on any machine. What is not told below is as in `RecurrentSegmenter`.

    Attributes:
      data: what `rnnseg.data.open_source` takes.
      train_split: split to train on.
      val_split: split to validate on.
      model: "recurrent", or a feed-forward one to compare with, "deeplabv3" or "pspnet", which has
        no use for what only concerns the recurrence.
      sampled_cells: train on this many cells of every image (squares of one output stride a
        side), chosen at random at every step, those with a label first; None: on the whole image.
        It takes less memory and time, with 1x1 kernels on a frozen encoder.
      label_smoothing: as in `rnnseg.training.losses.SegmentationLoss`.
      precision: Keras dtype policy: float32, mixed_bfloat16 or mixed_float16.
      crop: (height, width) of training images, in pixels.
      scale: smallest and largest factor of the random scaling.
      flip: whether half of the training images are mirrored.
      batch_size: images a step.
      epochs: passes through the training data.
      optimizer: "sgd" (momentum 0.9) or "adamw" (weight decay 1e-4 on top of `l2`).
      learning_rate: at the start; it falls to zero as (1 - step / steps) ** 0.9 ("poly").
      validate_every: epochs between two validations; the last epoch is always validated.
      seed: makes initial weights, order and augmentation the same at every run; None: they differ.
    """

    data: str
    train_split: str = "train"
    val_split: str = "val"
    model: str = "recurrent"
    encoder: str = "mobilenet_v2"
    encoder_weights: str | None = "imagenet"
    encoder_layer: str | None = None
    output_stride: int = 16
    hidden_channels: tuple[int, ...] = (128, 64)
    kernel_size: int = 1
    dilation_rate: int = 1
    context_channels: int = 0
    iterations: int = 6
    iteration_weights: tuple[float, ...] | None = None
    learned_start: bool = False
    train_encoder: bool = True
    freeze_batch_norm: bool = True
    l2: float = 4e-5
    recompute: bool = False
    sampled_cells: int | None = None
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
        for field in dataclasses.fields(self):
            _check_type(field.name, getattr(self, field.name), field.type)
        for option in ("epochs", "batch_size", "validate_every"):
            if getattr(self, option) < 1:
                raise UserError(f"{option}={getattr(self, option)}: expected at least 1")
        if not self.learning_rate > 0:
            raise UserError(f"learning_rate={self.learning_rate}: expected more than 0")
        if self.l2 < 0:
            raise UserError(f"l2={self.l2}: expected at least 0")
        if not 0 <= self.label_smoothing < 1:
            raise UserError(f"label_smoothing={self.label_smoothing}: expected 0 to 1")
        if self.seed is not None and not 0 <= self.seed < 2**31:
            raise UserError(f"seed={self.seed}: expected 0 to {2**31 - 1}")
        if min(self.crop) < self.output_stride:
            raise UserError(
                f"crop={self.crop[0]}x{self.crop[1]}: expected at least {self.output_stride} (one "
                "output stride) a side"
            )
        if self.sampled_cells is not None:
            self._check_sampling()
        if self.encoder_weights is None and (self.freeze_batch_norm or not self.train_encoder):
            raise UserError(
                "an encoder with random weights gives no features unless it is trained, batch norm "
                "too: give encoder weights (--weights), or --train-encoder --train-batch-norm"
            )
        for option, choices in (
            ("model", ("recurrent", "deeplabv3", "pspnet")),
            ("optimizer", ("sgd", "adamw")),
            ("precision", ("float32", "mixed_bfloat16", "mixed_float16")),
        ):
            if getattr(self, option) not in choices:
                raise UserError(
                    f"{option}={getattr(self, option)!r}: expected one of {', '.join(choices)}"
                )

    def _check_sampling(self):
        for wrong, reason in (
            (self.sampled_cells < 1, "expected at least 1"),
            (self.model != "recurrent", f"{self.model} sees whole images; leave it away"),
            (
                self.kernel_size > 1,
                f"kernels of {self.kernel_size} see a pixel's neighbours, which would be missing; "
                "train on whole images, or with --kernel-size 1",
            ),
            (
                self.train_encoder,
                "an encoder in training needs all of the image; train on whole images, or with "
                "--freeze-encoder",
            ),
        ):
            if wrong:
                raise UserError(f"sampled_cells={self.sampled_cells}: {reason}")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TrainingConfig":
        """The inverse of `dataclasses.asdict` through JSON, which turns tuples into lists."""
        return cls(
            **{
                key: tuple(value) if isinstance(value, list) else value
                for key, value in values.items()
            }
        )


def _check_type(option: str, value, kind) -> None:
    """Raises a UserError unless `value` is of the type that a field's annotation names."""
    if value is None and type(None) in typing.get_args(kind):
        return
    kinds = [each for each in typing.get_args(kind) or [kind] if each is not type(None)]
    kind = kinds[0] if isinstance(kind, types.UnionType) else kind
    values, element = (value,), kind
    if typing.get_origin(kind) is tuple:
        elements = typing.get_args(kind)
        element = elements[0]
        length = None if elements[-1] is Ellipsis else len(elements)
        if not isinstance(value, (tuple, list)) or length not in (None, len(value)):
            how_many = "some" if length is None else length
            raise UserError(f"{option}={value!r}: expected {how_many} numbers in a tuple")
        values = value
    accepted = (int, float) if element is float else element
    for each in values:
        right = isinstance(each, accepted) and (element is bool or not isinstance(each, bool))
        if not right or (element is float and not math.isfinite(each)):
            raise UserError(f"{option}={value!r}: expected {_KINDS[element]}")


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
        module = None
        if recipe.isidentifier():
            module = importlib.util.find_spec(f"rnnseg.training.recipes.{recipe}")
        if module is None:
            raise UserError(
                f"recipe {recipe!r}: no such file, and no recipe of that name comes with rnnseg"
            )
        path = pathlib.Path(module.origin)
    try:
        values = runpy.run_path(str(path)).get("RECIPE")
    except Exception as error:  # whatever somebody's file does
        raise UserError(f"recipe {path} cannot be run: {type(error).__name__}: {error}") from error
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
