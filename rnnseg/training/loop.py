"""The training loop: validates after each epoch, and continues after any interruption."""

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any

import keras

from rnnseg.budgets.costs import stage_costs
from rnnseg.dashboard.recording import EVALUATIONS, Recorder
from rnnseg.data import absolute_data, open_source
from rnnseg.data.pipeline import Augmentation, training_batches, with_boundary_weights
from rnnseg.data.scan import SplitScan, scan_split
from rnnseg.data.source import Source
from rnnseg.errors import UserError
from rnnseg.evaluation.evaluator import Evaluator, check_classes
from rnnseg.files import atomic_path
from rnnseg.models.base import SegmentationModel
from rnnseg.models.loading import load_model
from rnnseg.models.registry import MODELS
from rnnseg.training.class_weights import AUTO, balanced_weights, read_class_weights
from rnnseg.training.config import TrainingConfig
from rnnseg.training.losses import DiceLoss, SegmentationLoss, SumOfLosses
from rnnseg.training.replicas import training_strategy
from rnnseg.training.runs import Run
from rnnseg.training.sampling import SampledSegmenter, sampled_batches
from rnnseg.training.start import start_from


def build_model(config: TrainingConfig, source: Source) -> SegmentationModel:
    """Builds the untrained model of a run.

    Args:
      config: the configuration of the run.
      source: the data, whose classes the model gets.
    """
    kind = MODELS[config.model] if config.sampled_patches is None else SampledSegmenter
    return kind(
        source.num_classes,
        **config.model_options,
        class_names=source.class_names,
        class_colors=source.class_colors,
        dtype=config.precision,
    )


def compile_model(
    model: SegmentationModel,
    config: TrainingConfig,
    steps_per_epoch: int,
    class_weights: Sequence[float] | None = None,
) -> None:
    """Compiles the model of a run with its optimizer and its loss.

    Args:
      model: from `build_model`.
      config: the configuration of the run.
      steps_per_epoch: the number of steps per epoch, for the length of the schedule.
      class_weights: one weight per class in the loss; None: all are one.
    """
    rate = poly_schedule(config.learning_rate, config.epochs * steps_per_epoch)
    if config.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(rate, momentum=0.9)
    else:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=1e-4)
    model.compile(optimizer=optimizer, loss=training_loss(config, class_weights))


def training_loss(
    config: TrainingConfig, class_weights: Sequence[float] | None = None
) -> keras.losses.Loss:
    """Returns the loss of a run.

    Args:
      config: the configuration of the run.
      class_weights: one weight per class; None: all are one.
    """
    dice = DiceLoss(class_weights)
    if config.loss == "dice":
        return dice
    pixels = SegmentationLoss(
        config.label_smoothing,
        class_weights,
        focal_gamma=2.0 if config.loss == "focal" else 0.0,
        hard_pixels=config.hard_pixels,
    )
    return SumOfLosses([pixels, dice]) if config.loss == "cross_entropy_dice" else pixels


def poly_schedule(learning_rate: float, steps: int) -> keras.optimizers.schedules.PolynomialDecay:
    """Returns the schedule `learning_rate * (1 - step / steps) ** 0.9` of DeepLab and the paper."""
    return keras.optimizers.schedules.PolynomialDecay(
        learning_rate, steps, end_learning_rate=0.0, power=0.9
    )


class _RunFiles(keras.callbacks.Callback):
    """Validates the model and writes the files of the run at the end of every epoch.

    Args:
      run: the folder of the run.
      source: the data.
      config: the configuration of the run.
      rows: the history so far, to which a row per epoch is added.
    """

    def __init__(
        self, run: Run, source: Source, config: TrainingConfig, rows: list[dict[str, Any]]
    ):
        super().__init__()
        self._run, self._source, self._config = run, source, config
        self._rows = rows
        self._best = max(
            (float(row["val_miou"]) for row in self._rows if row["val_miou"]), default=-1
        )
        self._evaluate = None

    def on_train_begin(self, logs=None):
        evaluator = Evaluator(self.model, range(1, self.model.iterations + 1))
        folder = self._run.logs / EVALUATIONS
        self._evaluate = Recorder(evaluator, self._source, self._config.val_split, folder)

    def on_epoch_end(self, epoch, logs=None):
        if not math.isfinite(logs["loss"]):
            raise UserError(
                f"the loss became {logs['loss']} in epoch {epoch + 1}: try a lower --learning-rate "
                "with another --out"
            )
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        scores = {"val_miou_1_iteration": "", "val_miou": ""}
        last = epoch + 1 == self._config.epochs
        if last or (epoch + 1) % self._config.validate_every == 0:
            miou = self._evaluate(epoch, progress=False).miou
            scores = {"val_miou_1_iteration": float(miou[0]), "val_miou": float(miou[-1])}
            logs |= scores
            if scores["val_miou"] > self._best:
                self._best = scores["val_miou"]
                self._save(self._run.best)
        self._rows.append(
            {
                "epoch": epoch + 1,
                "step": _steps_done(self.model),
                "loss": logs["loss"],
                "learning_rate": logs["learning_rate"],
            }
            | scores
        )
        self._run.write_history(self._rows)
        # The last file to be written: if the run is killed before, it repeats the whole epoch.
        self._save(self._run.last)

    def _save(self, path):
        with atomic_path(path) as temporary:
            self.model.save(temporary)


def check_data(source: Source, *splits: str, output_stride: int) -> dict[str, SplitScan]:
    """Checks every image and label, so that bad data ends a run before it starts.

    Args:
      source: the data.
      *splits: the splits to check.
      output_stride: the output stride of the model, the smallest side of an image.

    Returns:
      The statistics of each split.

    Raises:
      UserError: a split is missing or empty, a label is outside the classes or differs from its
        image in size, or an image is unreadable or too small.
    """
    scans = {split: scan_split(source, split, output_stride) for split in dict.fromkeys(splits)}
    for scan in scans.values():
        scan.raise_if_bad(source)
    return scans


def train(config: TrainingConfig, out: str | os.PathLike, resume: bool = False) -> Run:
    """Trains a model on all GPUs that TensorFlow sees.

    A summary of the run is printed before it starts. A run may continue on another number of GPUs
    than it began on.

    Args:
      config: the configuration of the run.
      out: the folder of the run, which must be new or empty.
      resume: True to continue the run in `out` from its last complete epoch, with the same
        configuration; an empty folder starts a new run.

    Returns:
      The folder of the run.

    Raises:
      UserError: the configuration, the data or the folder cannot be used. Nothing has been
        overwritten then.
    """
    run, config = Run(out), _with_absolute_paths(config)
    run.check(config, resume)
    strategy = training_strategy(config.batch_size)
    source = open_source(config.data)
    source.require_split(config.val_split)
    augmentation = Augmentation(config.crop, config.scale, config.flip)
    if config.seed is not None:
        keras.utils.set_random_seed(config.seed)
    model, rows = None, []
    if resume and run.last.is_file():
        with strategy.scope():
            model = _load_last(run, config)
        check_classes(model, source)
        rows = run.history_until(_steps_done(model))
    batches, steps = training_batches(
        source,
        config.train_split,
        config.batch_size,
        augmentation,
        config.epochs,
        len(rows),
        config.seed,
    )
    weights, is_new = None, model is None
    if is_new:  # a loaded model brings its loss
        if config.class_weights not in (None, AUTO):
            weights = read_class_weights(config.class_weights, source.class_names)
        with strategy.scope():
            model = build_model(config, source)
        if config.init is not None:
            print(f"{'init':12s}{config.init}: {start_from(config.init, model)}", flush=True)
    if config.boundary_weight != 1:
        batches = with_boundary_weights(batches, config.boundary_weight)
    if config.sampled_patches is not None:
        batches = sampled_batches(
            batches, config.sampled_patches, model.canvas_stride, len(rows) * steps, config.seed
        )
    scans = check_data(
        source, config.train_split, config.val_split, output_stride=config.output_stride
    )
    if is_new:
        if config.class_weights == AUTO:
            pixels = scans[config.train_split].label_pixels
            weights = balanced_weights(pixels[: source.num_classes])
        with strategy.scope():
            compile_model(model, config, steps, weights)
    _describe(config, source, model, len(rows), steps, run, strategy.num_replicas_in_sync)
    run.begin(config)
    if len(rows) < config.epochs:
        model.fit(
            batches,
            epochs=config.epochs,
            initial_epoch=len(rows),
            steps_per_epoch=steps,
            callbacks=[
                _RunFiles(run, source, config, rows),
                keras.callbacks.TensorBoard(run.logs, write_graph=False),
            ],
            shuffle=False,  # the batches are shuffled already
            verbose=1 if os.isatty(1) else 2,
        )
    return run


def _load_last(run: Run, config: TrainingConfig) -> SegmentationModel:
    """Loads the model and the optimizer of the last complete epoch."""
    classes = {}
    if config.sampled_patches is not None:
        # Earlier versions saved a SampledSegmenter as a RecurrentSegmenter.
        classes["rnnseg>RecurrentSegmenter"] = SampledSegmenter
    with keras.saving.custom_object_scope(classes):
        return load_model(run.last, compile=True)


def _with_absolute_paths(config: TrainingConfig) -> TrainingConfig:
    """Makes paths absolute, so that the run continues from any working folder."""
    words = {"encoder_weights": "imagenet", "class_weights": AUTO, "init": None}
    paths = {name: getattr(config, name) for name in words}
    for name, value in paths.items():
        if value not in (None, words[name]):
            paths[name] = os.path.abspath(value)
    return dataclasses.replace(config, data=absolute_data(config.data), **paths)


def _steps_done(model: SegmentationModel) -> int:
    # `int(variable)` fails on a variable with several replicas.
    return int(model.optimizer.iterations.numpy())


def _describe(
    config: TrainingConfig,
    source: Source,
    model: SegmentationModel,
    first_epoch: int,
    steps: int,
    run: Run,
    gpus: int,
) -> None:
    """Prints a summary of the run."""
    sizes = source.split_sizes
    head = config.model
    if model.recurrent:
        head = f"ConvLSTM layers {model.stack.widths} at canvas stride {model.canvas_stride}"
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    costs = stage_costs(model, *config.crop)
    cost = f"at {config.crop[0]}x{config.crop[1]}: "
    cost += f"{costs.encode / 1e9:.3g} G multiply-adds to encode, "
    if model.recurrent:
        cost += f"{costs.prepare / 1e9:.3g} G to prepare, {costs.refine / 1e9:.3g} G per iteration"
    else:
        cost += f"{costs.prepare / 1e9:.3g} G for the head"
    if first_epoch == config.epochs:
        training = f"all {config.epochs} epochs are done"
    else:
        training = f"epoch {first_epoch + 1} to {config.epochs}, {steps} steps of "
        training += f"{config.batch_size} images each, "
        if gpus > 1:
            training += f"{config.batch_size // gpus} of them on each of {gpus} GPUs, "
        if config.sampled_patches:
            training += f"{config.sampled_patches} patches per image, "
        training += f"{model.iterations} iterations"
    rows = {
        "data": f"{source.name}: {sizes[config.train_split]} images to train on, "
        f"{sizes[config.val_split]} to validate, {source.num_classes} classes",
        "model": f"{config.encoder} at output stride {config.output_stride}, {head}, "
        f"{trainable / 1e6:.2f} M trainable parameters of {model.count_params() / 1e6:.2f} M",
        "cost": cost,
        "training": training,
        "run": run.folder,
    }
    print("\n".join(f"{name:12s}{text}" for name, text in rows.items()), flush=True)
