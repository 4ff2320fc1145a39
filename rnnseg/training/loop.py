"""Training runs: what a run is made of, and a folder that can go on after any interruption."""

import csv
import dataclasses
import json
import math
import os
import pathlib
from typing import Any

import keras

from rnnseg._renamed import present_names
from rnnseg.budgets.costs import stage_costs
from rnnseg.dashboard.recording import EVALUATIONS, Recorder
from rnnseg.data import absolute_data, open_source
from rnnseg.data.pipeline import Augmentation, training_batches
from rnnseg.data.scan import scan_split
from rnnseg.data.source import Source
from rnnseg.errors import UserError
from rnnseg.evaluation.evaluator import Evaluator, check_classes
from rnnseg.files import atomic_path
from rnnseg.models.base import SegmentationModel
from rnnseg.models.loading import load_model
from rnnseg.models.registry import MODELS
from rnnseg.training.config import RENAMED, TrainingConfig
from rnnseg.training.losses import SegmentationLoss
from rnnseg.training.replicas import training_strategy
from rnnseg.training.sampling import SampledSegmenter, sampled_batches


def build_model(config: TrainingConfig, source: Source, steps_per_epoch: int) -> SegmentationModel:
    """The compiled, untrained model of a run.

    Args:
      config: of the run.
      source: whose classes the model gets.
      steps_per_epoch: from which the schedule's length follows.
    """
    kind = MODELS[config.model] if config.sampled_patches is None else SampledSegmenter
    model = kind(
        source.num_classes,
        **config.model_options,
        class_names=source.class_names,
        class_colors=source.class_colors,
        dtype=config.precision,
    )
    rate = poly_schedule(config.learning_rate, config.epochs * steps_per_epoch)
    if config.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(rate, momentum=0.9)
    else:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=1e-4)
    model.compile(optimizer=optimizer, loss=SegmentationLoss(config.label_smoothing))
    return model


def poly_schedule(learning_rate: float, steps: int) -> keras.optimizers.schedules.PolynomialDecay:
    """`learning_rate * (1 - step / steps) ** 0.9`, as in DeepLab and the paper."""
    return keras.optimizers.schedules.PolynomialDecay(
        learning_rate, steps, end_learning_rate=0.0, power=0.9
    )


class Run:
    """The folder of one training run.

    `config.json` is what was asked for; `last.keras` the model after the last whole epoch with its
    optimizer; `best.keras` the one with the best validation mIoU; `history.csv` one line an epoch;
    `logs/` is for TensorBoard.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = pathlib.Path(folder)
        self.config = self.folder / "config.json"
        self.last = self.folder / "last.keras"
        self.best = self.folder / "best.keras"
        self.history = self.folder / "history.csv"
        self.logs = self.folder / "logs"

    def check(self, config: TrainingConfig, resume: bool) -> None:
        """Makes sure that the folder is free for a run, or holds this one and `resume` is wanted.

        Raises:
          UserError: the folder holds something else, or another run.
        """
        if not self.config.is_file():
            if self.folder.exists() and (not self.folder.is_dir() or self._visible_files()):
                raise UserError(
                    f"{self.folder} is not empty and holds no run: choose another --out"
                )
            return
        if not resume:
            raise UserError(
                f"{self.folder} holds a run already: choose another --out, or go on with it by "
                "--resume"
            )
        try:
            held = present_names(json.loads(self.config.read_text()), RENAMED)
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{self.config} is damaged: choose another --out") from error
        # A run of an earlier version says nothing of options that came later.
        held = _as_json(TrainingConfig(data="")) | held
        asked = _as_json(config)
        different = [key for key in asked | held if asked.get(key) != held.get(key)]
        if different:
            raise UserError(
                f"{self.folder} holds another run: "
                + ", ".join(
                    f"{key} is {held.get(key)!r} there, not {asked.get(key)!r}" for key in different
                )
            )

    def begin(self, config: TrainingConfig) -> None:
        """Writes `config.json`, and removes what a kill in the middle of writing left."""
        if self.folder.is_dir():
            for file in (self.config, self.last, self.best, self.history):
                for path in self.folder.glob(f".{file.stem}.*"):
                    path.unlink()
        if not self.config.is_file():
            with atomic_path(self.config) as path:
                path.write_text(json.dumps(_as_json(config), indent=2) + "\n")

    def read_history(self) -> list[dict[str, str]]:
        """The lines of `history.csv`, one an epoch, from the first."""
        if not self.history.is_file():
            return []
        with open(self.history, newline="") as file:
            return list(csv.DictReader(file))

    def _visible_files(self) -> bool:
        return any(not path.name.startswith(".") for path in self.folder.iterdir())


def _as_json(config: TrainingConfig) -> dict[str, Any]:
    """The fields as JSON gives them back: tuples as lists."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


class _RunFiles(keras.callbacks.Callback):
    """Validates, and keeps the run's files, at the end of every epoch."""

    def __init__(self, run: Run, source: Source, config: TrainingConfig, rows):
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
        with atomic_path(self._run.history) as path, open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, self._rows[0].keys())
            writer.writeheader()
            writer.writerows(self._rows)
        # Last, so that a run killed before it does this epoch again and writes all of it anew.
        self._save(self._run.last)

    def _save(self, path):
        with atomic_path(path) as temporary:
            self.model.save(temporary)


def check_data(source: Source, *splits: str, output_stride: int) -> None:
    """Looks at every image and label, so that bad data ends a run before it starts.

    Raises:
      UserError: no such split or an empty one, a label outside the classes, a label of another size
        than its image, an unreadable or too small image.
    """
    for split in dict.fromkeys(splits):
        scan_split(source, split, smallest_side=output_stride).raise_if_bad(source)


def train(config: TrainingConfig, out: str | os.PathLike, resume: bool = False) -> Run:
    """Trains a segmenter on all GPUs that TensorFlow sees, and prints first what it will do.

    A run may go on with another number of GPUs than it began with.

    Args:
      config: what to train.
      out: the run's folder; it must be new or empty.
      resume: go on with the run that `out` holds, from its last whole epoch; the configuration must
        be the same. With nothing there yet it starts.

    Returns:
      The run's folder.

    Raises:
      UserError: anything about configuration, data or folder that cannot be used. Nothing is
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
        rows = _rows_until(run, _steps_done(model))
    batches, steps = training_batches(
        source,
        config.train_split,
        config.batch_size,
        augmentation,
        config.epochs,
        len(rows),
        config.seed,
    )
    if config.sampled_patches is not None:
        batches = sampled_batches(
            batches, config.sampled_patches, config.output_stride, len(rows) * steps, config.seed
        )
    if model is None:
        with strategy.scope():
            model = build_model(config, source, steps)
    check_data(source, config.train_split, config.val_split, output_stride=config.output_stride)
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
            shuffle=False,  # the data set shuffles
            verbose=1 if os.isatty(1) else 2,
        )
    return run


def _load_last(run: Run, config: TrainingConfig) -> SegmentationModel:
    """Loads the model of the last whole epoch, with its optimizer."""
    classes = {}
    if config.sampled_patches is not None:
        # Earlier versions saved what they trained on patches as a plain RecurrentSegmenter.
        classes["rnnseg>RecurrentSegmenter"] = SampledSegmenter
    with keras.saving.custom_object_scope(classes):
        return load_model(run.last, compile=True)


def _with_absolute_paths(config: TrainingConfig) -> TrainingConfig:
    """So that a run goes on from any working folder."""
    weights = config.encoder_weights
    if weights not in (None, "imagenet"):
        weights = os.path.abspath(weights)
    return dataclasses.replace(config, data=absolute_data(config.data), encoder_weights=weights)


def _steps_done(model: SegmentationModel) -> int:
    # Where there are several replicas of the number, `int` of the variable fails.
    return int(model.optimizer.iterations.numpy())


def _rows_until(run: Run, step: int) -> list[dict[str, str]]:
    """The history up to the epoch that `last.keras` holds.

    Not the optimizer's step over the steps of an epoch: with float16 it skips some.
    """
    rows = run.read_history()
    ends = [index for index, row in enumerate(rows, start=1) if row.get("step") == str(step)]
    if not ends:
        raise UserError(
            f"{run.history} has no line for step {step}, where {run.last} stands: it is damaged; "
            "choose another --out"
        )
    return rows[: ends[-1]]


def _describe(config, source, model, first_epoch, steps, run, gpus):
    costs = stage_costs(model, *config.crop)
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    head = f"ConvLSTM layers {model.stack.widths}" if model.recurrent else config.model
    sizes, crop = source.split_sizes, f"{config.crop[0]}x{config.crop[1]}"
    rows = {
        "data": f"{source.name}: {sizes[config.train_split]} images to train on, "
        f"{sizes[config.val_split]} to validate, {source.num_classes} classes",
        "model": f"{config.encoder} at output stride {config.output_stride}, {head}, "
        f"{trainable / 1e6:.2f} M trainable parameters of {model.count_params() / 1e6:.2f} M",
        "cost": f"at {crop}: {costs.encode / 1e9:.3g} G multiply-adds to encode, "
        f"{costs.prepare / 1e9:.3g} G to prepare, {costs.refine / 1e9:.3g} G an iteration"
        if model.recurrent
        else f"at {crop}: {costs.encode / 1e9:.3g} G multiply-adds to encode, "
        f"{costs.prepare / 1e9:.3g} G for the head",
        "training": f"epoch {first_epoch + 1} to {config.epochs}, {steps} steps of "
        f"{config.batch_size} images each, "
        + (f"{config.batch_size // gpus} of them on each of {gpus} GPUs, " if gpus > 1 else "")
        + (f"{config.sampled_patches} patches of each, " if config.sampled_patches else "")
        + f"{model.iterations} iterations"
        if first_epoch < config.epochs
        else f"all {config.epochs} epochs are done",
        "run": run.folder,
    }
    print("\n".join(f"{name:12s}{text}" for name, text in rows.items()), flush=True)
