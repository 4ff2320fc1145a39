"""The configuration of a training run: defaults, recipe files, and the checks on both."""

import dataclasses
import pathlib
import runpy
import traceback
from collections.abc import Mapping
from typing import Any

from rnnseg._renamed import present_names, renamed_arguments
from rnnseg.errors import UserError, first_line
from rnnseg.models.options import (
    MODEL_OPTIONS,
    CRFOptions,
    LowLevelOptions,
    ModelOptions,
    RecurrentOptions,
    SDNOptions,
    of_saved,
)
from rnnseg.options import option

DATA_HELP = (
    "Folder that rnnseg prepare built, or of Model Garden's or DeepLab's records; tfds:NAME; a "
    '.json file that describes one of them; or "shapes".'
)
_MOST_EPOCHS = 10**6
LOSSES = ("cross_entropy", "focal", "dice", "cross_entropy_dice")
# The names of the last release, in its `config.json`s and recipes.
RENAMED: Mapping[str, str] = {"sampled_cells": "sampled_patches"}


@renamed_arguments(**RENAMED)
@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(LowLevelOptions, SDNOptions, CRFOptions, RecurrentOptions):
    """Everything that decides a training run; `config.json` in the run's folder holds it.

    The defaults follow the DeepLab family, whose recipe the paper used, except for the encoder. The
    options of the models are those of `rnnseg.models.options`: `RecurrentOptions` for the
    recurrence, `LowLevelOptions` for feed-forward models. A model ignores those that it does not
    have, so that one recipe trains all models.

    Attributes:
      data: the data set, as `rnnseg.data.open_source` takes it.
      train_split: the split to train on.
      val_split: the split to validate on.
      init: a run, a `.keras` file or a preset whose weights the training starts from, as far as
        they fit (`rnnseg.models.transfer`), in place of `encoder_weights`; None: only the encoder
        has weights.
      model: "recurrent", or another model to compare with: "fcn", "crf_rnn", "deeplab",
        "deeplabv3", "deeplabv3_plus", "lr_aspp", "pspnet" or "sdn".
      sampled_patches: the number of patches of every image to train on (squares of one canvas
        stride per side), chosen at random at every step, those with a label first; None: the whole
        image. It takes less memory and time, with 1x1 kernels on a frozen encoder.
      kept_views: the number of random views (crops, scaled and mirrored) of every image that are
        encoded once, before the first epoch; every step then mixes patches of all of them
        (`rnnseg.training.kept_views`). Of each view, `sampled_patches` are kept, squares of one
        output stride per side. None: crops are drawn and encoded anew at every step.
      teacher: a segmentation model of the same classes, as `rnnseg.inference.teachers.Teacher`
        takes it, whose scores of the kept views are learned beside the labels (distillation); None:
        there is none.
      teacher_range: the values for black and white that a teacher of another maker expects if it
        takes floats.
      teacher_share: the share of its scores in the loss; that of the labels is what is left of 1.
      temperature: what logits are divided by to compare them with the teacher's
        (`rnnseg.training.losses.DistillationLoss`).
      loss: the training loss (`rnnseg.training.losses`): "cross_entropy"; "focal", with a gamma of
        2; "dice"; or "cross_entropy_dice", the sum of the two.
      label_smoothing: the share of the target that is spread over all classes, as in
        `rnnseg.training.losses.SegmentationLoss`.
      class_weights: "auto" for weights that grow as a class gets rare in the training split; or a
        file with the weights of some classes (`rnnseg.training.class_weights`); None: all are one.
      boundary_weight: the weight in the loss of pixels with another class within two pixels
        (`rnnseg.data.pipeline.near_boundary`); all others have 1.
      hard_pixels: the share of an image's pixels that the cross-entropy is taken over, those with
        the largest loss.
      precision: Keras dtype policy: float32, mixed_bfloat16 or mixed_float16.
      crop: (height, width) of training images, in pixels.
      scale: smallest and largest factor of the random scaling.
      flip: True if half of the training images are mirrored.
      augment: further random changes to training images (`rnnseg.data.augmentation`): "standard" to
        their colours, "strong" to their angle and sharpness, too; or "none".
      balanced_crops: True if a crop shows a pixel of a class that is drawn evenly among those of
        the image, which counts where the image is larger than what the crop shows.
      batch_size: the number of images per batch, which is one step unless several accumulate.
      accumulate: the number of batches whose gradients are added up to one step
        (`rnnseg.training.accumulation`).
      epochs: the number of passes through the training data.
      optimizer: "sgd" (momentum 0.9) or "adamw" (weight decay 1e-4 on top of `l2`).
      learning_rate: the learning rate at the start, or after the warm-up; it falls to zero.
      schedule: how the learning rate falls (`rnnseg.training.schedules`): "poly" or "cosine".
      warmup_epochs: the number of epochs in which the learning rate rises at first.
      clip_norm: the largest norm of all gradients together, to which larger ones are scaled; None:
        any.
      ema: the decay per step of the moving average of the trained weights, which is validated and
        saved in their place (`rnnseg.training.averaging`); None: no average.
      validate_every: the number of epochs between two validations; the last epoch is always
        validated.
      patience: the number of validations without a better mIoU after which training stops; None:
        it never stops early.
      seed: the seed of initial weights, order and augmentation, with which every run is the same;
        None: runs differ.

    Raises:
      UserError: a value of another type, out of its range, or at odds with another one.
    """

    data: str = option(dataclasses.MISSING, DATA_HELP)
    train_split: str = option("train", "Split to train on.")
    val_split: str = option("val", "Split to validate on.")
    init: str | None = option(
        None,
        "Run, model or preset to start from: its weights, and its options where no others are "
        "given.",
        also=("--from",),
    )
    model: str = option(
        "recurrent",
        "Model: recurrent, or another one to compare with.",
        choices=tuple(MODEL_OPTIONS),
    )
    sampled_patches: int | None = option(
        None,
        "Train on this number of patches of every image, not all of it.",
        least=1,
        most=2**30,
        name="--sample-patches",
    )
    kept_views: int | None = option(
        None,
        "Encode this number of views per image once, and train on mixed patches of all.",
        least=1,
        most=1000,
        name="--keep-views",
    )
    teacher: str | None = option(
        None, "Segmentation model whose scores of kept views are learned, too: distillation."
    )
    teacher_range: tuple[float, float] | None = option(
        None,
        "Values for black and white of a teacher of another maker that takes floats.",
        least=-65535,
        most=65535,
        form="BLACK,WHITE",
    )
    teacher_share: float = option(
        0.5,
        "Share of the teacher's scores in the loss; the rest is of the labels.",
        above=0,
        most=1,
    )
    temperature: float = option(
        3.0, "Divisor of the logits that are compared with the teacher's.", least=1, most=100
    )
    loss: str = option("cross_entropy", "Training loss; focal has a gamma of 2.", choices=LOSSES)
    class_weights: str | None = option(
        None,
        'Weights of classes in the loss: "auto" for more to rare ones, a file of them, or "none".',
    )
    boundary_weight: float = option(
        1.0,
        "Weight in the loss of pixels within two pixels of another class.",
        above=0,
        most=1000,
    )
    hard_pixels: float = option(
        1.0,
        "Share of an image's pixels that count in the cross-entropy, the worst ones.",
        above=0,
        most=1,
    )
    label_smoothing: float = option(
        0.0, "Share of the target that is spread over all classes.", least=0, below=1
    )
    precision: str = option(
        "float32",
        "Precision of the computations.",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )
    crop: tuple[int, int] = option(
        (513, 513),
        "Size of training images.",
        least=1,
        most=2**15,
        form="HEIGHTxWIDTH",
        separator="x",
    )
    scale: tuple[float, float] = option(
        (0.5, 2.0),
        "Range of the random scaling.",
        above=0,
        most=100,
        form="LEAST-MOST",
        separator="-",
    )
    flip: bool = option(True, "Mirror half of the training images.", flag=("--flip", "--no-flip"))
    augment: str = option(
        "none",
        "Further random changes: standard of colours, strong of angle and sharpness, too.",
        choices=("none", "standard", "strong"),
    )
    balanced_crops: bool = option(
        False,
        "Crop so that every class of an image is shown equally often.",
        flag=("--balanced-crops", "--random-crops"),
    )
    batch_size: int = option(8, "Images per batch.", least=1, most=2**16, name="--batch")
    accumulate: int = option(
        1, "Batches whose gradients are added up to one step.", least=1, most=2**16
    )
    epochs: int = option(30, "Passes through the training data.", least=1, most=_MOST_EPOCHS)
    optimizer: str = option("sgd", "Optimizer.", choices=("sgd", "adamw"))
    learning_rate: float = option(
        0.007, "Learning rate at the start; falls to zero.", above=0, most=1000
    )
    schedule: str = option("poly", "How the learning rate falls.", choices=("poly", "cosine"))
    warmup_epochs: int = option(
        0, "Epochs in which the learning rate rises at first.", least=0, most=_MOST_EPOCHS
    )
    clip_norm: float | None = option(
        None, "Largest norm of the gradient; a larger one is scaled.", above=0, most=10**9
    )
    ema: float | None = option(
        None,
        "Decay per step of a moving average of the weights, such as 0.998.",
        above=0,
        below=1,
    )
    validate_every: int = option(1, "Epochs between two validations.", least=1, most=_MOST_EPOCHS)
    patience: int | None = option(
        None,
        "Stop after this number of validations without a better mIoU.",
        least=1,
        most=_MOST_EPOCHS,
    )
    seed: int | None = option(
        None, "Random seed that makes runs repeatable.", least=0, most=2**31 - 1
    )

    @property  # a constant of other classes
    def usual_iterations(self) -> int:  # type: ignore[override]
        """The number of iterations of `model` unless another is asked for."""
        options = MODEL_OPTIONS[self.model]
        return getattr(options, "usual_iterations", RecurrentOptions.usual_iterations)

    @property
    def usual_canvas_stride(self) -> int:  # type: ignore[override]
        """The canvas stride of `model` unless another is asked for."""
        options = MODEL_OPTIONS[self.model]
        return getattr(options, "usual_canvas_stride", RecurrentOptions.usual_canvas_stride)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.encoder, str):  # a config.json holds names alone
            raise UserError(f"encoder={self.encoder!r}: expected a text")
        for name, value in self.defaults().items():
            object.__setattr__(self, name, value)
        if min(self.crop) < self.output_stride:
            raise UserError(
                f"crop={self.crop[0]}x{self.crop[1]}: expected at least {self.output_stride} (one "
                "output stride) per side"
            )
        if self.warmup_epochs >= self.epochs:
            raise UserError(
                f"warmup_epochs={self.warmup_epochs}: expected less than epochs={self.epochs}"
            )
        if self.accumulate > 1 and self.loss == "cross_entropy_dice":
            raise UserError(
                f"accumulate={self.accumulate}: the loss cross_entropy_dice has two means over "
                "different numbers, of pixels and of images; take another --loss, or a larger batch"
            )
        if self.sampled_patches is not None:
            self._check_sampling()
        if self.kept_views is not None:
            self._check_kept_views()
        if self.teacher is None:
            self._check_no_teacher()
        elif self.kept_views is None:
            raise UserError(
                f"teacher={self.teacher!r}: it scores views that are kept; give their number "
                "(--keep-views 2)"
            )
        if self.teacher_range is not None and self.teacher_range[0] == self.teacher_range[1]:
            raise UserError(
                f"teacher_range={self.teacher_range}: expected two numbers that differ, such as -1 "
                "for black and 1 for white"
            )
        if self.loss == "dice":
            for name, none in (("label_smoothing", 0), ("hard_pixels", 1)):
                if getattr(self, name) != none:
                    raise UserError(
                        f"{name}={getattr(self, name)}: the loss dice has none; set it to {none}, "
                        "or take cross_entropy_dice"
                    )
        if self.init is not None:
            if self.encoder_weights not in (None, "imagenet"):
                raise UserError(
                    f"init={self.init!r} and encoder_weights={self.encoder_weights!r}: the weights "
                    "of the encoder come from the one or from the other; give one of them"
                )
            object.__setattr__(self, "encoder_weights", None)
        elif self.encoder_weights is None and (self.freeze_batch_norm or not self.train_encoder):
            raise UserError(
                "an encoder with random weights gives no features unless it is trained, batch norm "
                "too: give encoder weights (--weights), or --train-encoder --train-batch-norm"
            )

    def _check_sampling(self):
        for wrong, reason in (
            (self.model != "recurrent", f"{self.model} sees whole images; omit this option"),
            (
                self.kernel_size > 1,
                f"kernels of {self.kernel_size} see a pixel's neighbours, which would be missing; "
                "train on whole images, or with --kernel-size 1",
            ),
            (
                self.boundary_weight != 1,
                f"boundary_weight={self.boundary_weight:g} needs whole images; omit one of them",
            ),
            (
                self.train_encoder,
                "an encoder in training needs the whole image; train on whole images, or with "
                "--freeze-encoder",
            ),
        ):
            if wrong:
                raise UserError(f"sampled_patches={self.sampled_patches}: {reason}")

    def _check_no_teacher(self):
        for field in dataclasses.fields(self):
            if field.name in ("teacher_range", "teacher_share", "temperature"):
                value = getattr(self, field.name)
                if value != field.default:
                    raise UserError(
                        f"{field.name}={value}: it is of a teacher, and there is none (--teacher "
                        "MODEL)"
                    )

    def _check_kept_views(self):
        for wrong, reason in (
            (
                self.sampled_patches is None,
                "patches of every view are kept; give their number (--sample-patches 64)",
            ),
            (
                self.context_channels and self.context_rates,
                f"context at rates {list(self.context_rates)} sees more than a patch; leave it out "
                "(--context-rates none)",
            ),
            (
                self.loss in ("dice", "cross_entropy_dice"),
                f"the loss {self.loss} sees whole images",
            ),
            (self.hard_pixels != 1, f"hard_pixels={self.hard_pixels:g} are those of whole images"),
            (self.accumulate > 1, f"accumulate={self.accumulate} is for whole images"),
            (
                self.teacher is not None and self.loss != "cross_entropy",
                f"with a teacher the loss is cross_entropy, not {self.loss}",
            ),
        ):
            if wrong:
                raise UserError(f"kept_views={self.kept_views}: {reason}")

    @property
    def model_options(self) -> dict[str, Any]:
        """The options of the constructor of `model`, as far as a run decides them."""
        fields = dataclasses.fields(MODEL_OPTIONS[self.model])
        return {each.name: getattr(self, each.name) for each in fields if hasattr(self, each.name)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TrainingConfig":
        """Returns the configuration whose `dataclasses.asdict` a JSON file holds.

        Args:
          values: the content of the file; tuples may be lists, and fields may have the names of
            the last release.

        Raises:
          UserError: a key is no option, `data` is missing, or a value is none of its option.
        """
        known = {field.name for field in dataclasses.fields(cls)} | RENAMED.keys()
        unknown = sorted(set(values) - known)
        if unknown:
            raise UserError(f"{unknown[0]} is no option of this version")
        if "data" not in values:
            raise UserError("data is missing")
        return cls(**of_saved(values))


def _own_recipes() -> dict[str, pathlib.Path]:
    """Returns the files of the recipes that come with the package, by their names."""
    folder = pathlib.Path(__file__).parent / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.py")) if path.stem != "__init__"}


def _why_it_ended(path: pathlib.Path, error: BaseException) -> str:
    """Returns the message for a recipe that ended with an exception."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines, reason = [error.lineno], error.msg
    elif isinstance(error, SystemExit):
        reason = f"it exits ({error}); expected it to set RECIPE and to end"
    else:
        reason = first_line(error)
    line = f", line {lines[-1]}" if lines and lines[-1] else ""
    return f"recipe {path}{line} cannot be run: {type(error).__name__}: {reason}"


def load_recipe(recipe: str) -> dict[str, Any]:
    """Reads a recipe, the settings for a data set.

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
        own = _own_recipes()
        if recipe not in own:
            raise UserError(
                f"recipe {recipe!r}: no such file, and no recipe of this name comes with rnnseg; "
                f"expected a Python file or one of {', '.join(own)}"
            )
        path = own[recipe]
    try:
        values = runpy.run_path(str(path)).get("RECIPE")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever somebody's file does, also if it exits
        raise UserError(_why_it_ended(path, error)) from error
    if not isinstance(values, Mapping):
        raise UserError(
            f"recipe {path}: expected it to set RECIPE, a dictionary of training options"
        )
    values = present_names(values, RENAMED, f"recipe {path}: ")
    fields = {field.name for field in dataclasses.fields(TrainingConfig)}
    unknown = sorted(set(values) - fields)
    if unknown:
        raise UserError(
            f"recipe {path}: unknown {', '.join(unknown)}; expected some of "
            f"{', '.join(sorted(fields))}"
        )
    return values


def settings_for(recipe: Mapping[str, Any], model: str | None) -> dict[str, Any]:
    """Returns the settings of a recipe as they hold for a model.

    What a recipe says of the form of its own model, such as the canvas stride and the number of
    iterations, is no advice for another model, which has its own defaults. Options that all models
    have, and those of the training, are for all.

    Args:
      recipe: from `load_recipe`.
      model: the model to train, as in `TrainingConfig`; None for that of the recipe.
    """
    own = recipe.get("model", TrainingConfig.model)
    # A recipe may name no model at all, which TrainingConfig tells; a list has no hash.
    if model in (None, own) or own not in list(MODEL_OPTIONS):
        return dict(recipe)
    shared = {field.name for field in dataclasses.fields(ModelOptions)}
    form = {field.name for field in dataclasses.fields(MODEL_OPTIONS[own])} - shared
    return {name: value for name, value in recipe.items() if name not in form} | {"model": model}
