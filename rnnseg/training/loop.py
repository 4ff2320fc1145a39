"""The training loop: validates after each epoch, and continues after any interruption."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnnseg.budgets.memory import check_memory
from rnnseg.data import absolute_data, open_source
from rnnseg.data.augmentation import DISTORTIONS
from rnnseg.data.pipeline import Augmentation, training_batches, with_boundary_weights
from rnnseg.data.reading import DamagedDataError, named_damage
from rnnseg.data.scan import SplitScan, scan_split
from rnnseg.data.sharing import Share
from rnnseg.data.source import Source
from rnnseg.errors import UserError
from rnnseg.evaluation.evaluator import check_classes
from rnnseg.inference.teachers import Teacher
from rnnseg.locks import hold_folder
from rnnseg.models.base import SegmentationModel
from rnnseg.models.loading import load_model
from rnnseg.models.registry import MODELS
from rnnseg.pretrained.names import is_preset
from rnnseg.training.accumulation import check_accumulation, divided_batches
from rnnseg.training.averaging import swap_averages
from rnnseg.training.callbacks import RunFiles
from rnnseg.training.class_weights import AUTO, balanced_weights, read_class_weights
from rnnseg.training.config import TrainingConfig
from rnnseg.training.kept_views import keep_patches, mixed_batches
from rnnseg.training.losses import DiceLoss, DistillationLoss, SegmentationLoss, SumOfLosses
from rnnseg.training.optimizers import build_optimizer, steps_done
from rnnseg.training.replicas import training_strategy
from rnnseg.training.runs import Run
from rnnseg.training.sampling import SampledSegmenter, sampled_batches
from rnnseg.training.start import start_from
from rnnseg.training.stopping import early_stop
from rnnseg.training.summary import describe
from rnnseg.training.workers import agree, common_seed, fail_together, keep_together, own_share


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
    optimizer = build_optimizer(config, steps_per_epoch)
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
    if config.teacher is not None:
        return DistillationLoss(
            config.teacher_share,
            config.temperature,
            label_smoothing=config.label_smoothing,
            class_weights=class_weights,
        )
    pixels = SegmentationLoss(
        config.label_smoothing,
        class_weights,
        focal_gamma=2.0 if config.loss == "focal" else 0.0,
        hard_pixels=config.hard_pixels,
    )
    return SumOfLosses([pixels, dice]) if config.loss == "cross_entropy_dice" else pixels


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


def train(
    config: TrainingConfig,
    out: str | os.PathLike,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Run:
    """Trains a model on all GPUs that TensorFlow sees.

    A summary of the run is printed before it starts. A run may continue on another number of GPUs
    than it began on. With several workers (`rnnseg.training.workers`), each calls this function
    with the same arguments, and all return together. The first one writes the folder, which all
    have to see.

    Args:
      config: the configuration of the run.
      out: the folder of the run, which must be new or empty.
      resume: True to continue the run in `out` from its last complete epoch, with the same
        configuration; an empty folder starts a new run.
      callbacks: further callbacks, such as loggers. At the end of an epoch they find its logs, with
        the scores, and the files of the run. They begin anew in a resumed run. Each of several
        workers calls its own.

    Returns:
      The folder of the run.

    Raises:
      UserError: the configuration, the data or the folder cannot be used, or another process
        trains in the folder. Nothing has been overwritten then.
    """
    _check_callbacks(callbacks)
    config, run = _with_absolute_paths(config), Run(out)
    share = own_share()
    with contextlib.ExitStack() as stack:
        with fail_together(share):
            if share.is_first:
                stack.enter_context(hold_folder(run.folder))
                run.check(config, resume)
            strategy = training_strategy(config.batch_size)
            source = open_source(config.data)
            source.require_split(config.val_split)
            images = source.require_split(config.train_split)
            check_accumulation(config, images, strategy.num_replicas_in_sync)
        with keep_together():
            _train(config, run, resume, callbacks, strategy, source, share)
        share.total(np.zeros(1))  # none ends before the others
    return run


def _train(
    config: TrainingConfig,
    run: Run,
    resume: bool,
    callbacks: Sequence[keras.callbacks.Callback],
    strategy: tf.distribute.Strategy,
    source: Source,
    share: Share,
) -> None:
    """Trains in the folder of a run that no other process writes to."""
    has_begun = resume and run.last.is_file()
    agree(
        share,
        options=repr(config),
        data=repr((source.class_names, sorted(source.split_sizes.items()))),
        files=repr(run.last.stat().st_size if has_begun else None),
    )
    seed = common_seed(share, config.seed)
    if config.seed is not None:
        keras.utils.set_random_seed(config.seed)
    rows: list[dict[str, Any]] = []
    class_weights = None
    if has_begun:
        with strategy.scope():
            model = _load_last(run, config)
        check_classes(model, source)
        rows = run.history_until(steps_done(model))
    if config.kept_views is not None and share.count * strategy.num_replicas_in_sync > 1:
        raise UserError(
            f"kept_views={config.kept_views}: expected one worker and at most one GPU; use one of "
            "them (CUDA_VISIBLE_DEVICES=0), or omit this option"
        )
    teacher = None
    if config.teacher is not None:
        teacher = Teacher(pathlib.Path(config.teacher), config.teacher_range, with_scores=True)
    is_new = not has_begun
    if is_new:  # a loaded model brings its loss
        class_weights = _class_weights_of_file(config, source)
        with strategy.scope():
            model = build_model(config, source)
        if config.init is not None:
            taken = start_from(config.init, model)
            if share.is_first:
                print(f"{'init':12s}{config.init}: {taken}", flush=True)
    if not tf.config.list_physical_devices("GPU"):
        # A step needs more than a prediction, so that what is refused would not fit anyhow.
        check_memory(
            model,
            config.crop,
            "train on a smaller --crop, or with a smaller --batch",
            config.batch_size // (strategy.num_replicas_in_sync * share.count),
        )
    if teacher is not None:
        _check_teacher(teacher, source, config.crop)
    crops, steps = _training_crops(config, source, len(rows), seed, share)
    if config.kept_views is None:
        batches = _prepared_batches(crops, config, model, len(rows) * steps, seed, share)
    if share.count > 1:  # otherwise Keras divides them
        each = config.batch_size // strategy.num_replicas_in_sync
        divided = batches.rebatch(each)
        batches = strategy.distribute_datasets_from_function(lambda context: divided)
    with fail_together(share):
        scans = check_data(
            source, config.train_split, config.val_split, output_stride=config.output_stride
        )
    if is_new:
        if config.class_weights == AUTO:
            pixels = scans[config.train_split].label_pixels
            class_weights = balanced_weights(pixels[: source.num_classes])
        with strategy.scope():
            compile_model(model, config, steps, class_weights)
    if share.is_first:
        gpus = strategy.num_replicas_in_sync
        summary = describe(config, source, model, len(rows), steps, run, gpus, share.count)
        print(summary, flush=True)
        run.begin(config)
    logs = [keras.callbacks.TensorBoard(run.logs, write_graph=False)] if share.is_first else []
    if len(rows) < config.epochs and not early_stop(config, rows):
        try:
            # Validation names what is damaged by itself.
            with named_damage(source, config.train_split), keep_together():
                if config.kept_views is not None:
                    batches = _mixed_batches(
                        config, source, model, run, steps, len(rows), seed, teacher
                    )
                model.fit(
                    batches,
                    epochs=config.epochs,
                    initial_epoch=len(rows),
                    steps_per_epoch=steps * config.accumulate,
                    callbacks=[RunFiles(run, source, config, rows, share), *logs, *callbacks],
                    shuffle=False,  # the batches are shuffled already
                    verbose=0 if not share.is_first else 1 if os.isatty(1) else 2,
                )
        except DamagedDataError as error:
            raise UserError(
                f"{error}, then continue the run by --resume; complete epochs that are kept: "
                f"{len(run.read_history())}"
            ) from error
    if stopped := early_stop(config, rows):
        print(stopped, flush=True)


def _check_callbacks(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    for each in callbacks:
        if not isinstance(each, keras.callbacks.Callback):
            raise UserError(f"callbacks: {each!r}: expected instances of keras.callbacks.Callback")


def _check_teacher(teacher: Teacher, source: Source, crop: tuple[int, int]) -> None:
    """Raises a UserError if a teacher has other classes than the data."""
    if teacher.names is None:
        # A model of another maker does not tell its classes, so that they are counted.
        count = teacher.scores(np.zeros((*crop, 3), np.uint8)).shape[2]
        if count != source.num_classes:
            raise UserError(
                f"teacher {teacher.path} scores {count} classes; expected the "
                f"{source.num_classes} of {source.name}"
            )
    elif tuple(teacher.names) != tuple(source.class_names):
        raise UserError(
            f"teacher {teacher.path} has the classes {', '.join(teacher.names)}; expected those of "
            f"{source.name}, in their order: {', '.join(source.class_names)}"
        )


def _training_crops(
    config: TrainingConfig, source: Source, epochs_done: int, seed: int | None, share: Share
) -> tuple[tf.data.Dataset, int]:
    """Returns the images and labels of every step, and the number of steps per epoch."""
    return training_batches(
        source,
        config.train_split,
        config.batch_size * config.accumulate,
        _augmentation(config),
        config.epochs,
        epochs_done,
        seed,
        share,
    )


def _augmentation(config: TrainingConfig) -> Augmentation:
    return Augmentation(
        config.crop, config.scale, config.flip, DISTORTIONS[config.augment], config.balanced_crops
    )


def _mixed_batches(
    config: TrainingConfig,
    source: Source,
    model: SampledSegmenter,
    run: Run,
    steps: int,
    epochs_done: int,
    seed: int | None,
    teacher: Teacher | None,
) -> tf.data.Dataset:
    """Encodes the views of a run, and returns the batches of `fit` for the steps not done."""
    assert config.kept_views is not None and config.sampled_patches is not None  # by its checks
    kept = keep_patches(
        model,
        source,
        config.train_split,
        _augmentation(config),
        config.kept_views,
        config.sampled_patches,
        run.folder,
        seed,
        None if teacher is None else teacher.scores,
    )
    size = config.batch_size * config.sampled_patches
    return mixed_batches(kept, size, config.epochs * steps, epochs_done * steps, seed)


def _prepared_batches(
    crops: tf.data.Dataset,
    config: TrainingConfig,
    model: SegmentationModel,
    done: int,
    seed: int | None,
    share: Share,
) -> tf.data.Dataset:
    """Returns the batches of `fit` from the images and labels of the steps after those done."""
    if config.boundary_weight != 1:
        crops = with_boundary_weights(crops, config.boundary_weight)
    if config.sampled_patches is not None:
        crops = sampled_batches(
            crops, config.sampled_patches, model.canvas_stride, done, seed, share
        )
    return divided_batches(crops, config) if config.accumulate > 1 else crops


def _class_weights_of_file(config: TrainingConfig, source: Source) -> Sequence[float] | None:
    if config.class_weights in (None, AUTO):
        return None
    return read_class_weights(config.class_weights, source.class_names)


def _load_last(run: Run, config: TrainingConfig) -> SegmentationModel:
    """Loads the model and the optimizer of the last complete epoch."""
    classes = {}
    if config.sampled_patches is not None:
        # Earlier versions saved a SampledSegmenter as a RecurrentSegmenter.
        classes["rnnseg>RecurrentSegmenter"] = SampledSegmenter
    with keras.saving.custom_object_scope(classes):
        model = load_model(run.last, compile=True)
    swap_averages(model)  # the file has them in the place of the weights
    return model


def _with_absolute_paths(config: TrainingConfig) -> TrainingConfig:
    """Makes paths absolute, so that the run continues from any working folder."""
    words = {"encoder_weights": "imagenet", "class_weights": AUTO, "init": None, "teacher": None}
    paths = {name: getattr(config, name) for name in words}
    for name, value in paths.items():
        if value not in (None, words[name]) and (os.path.exists(value) or not is_preset(value)):
            paths[name] = os.path.abspath(value)
    return dataclasses.replace(config, data=absolute_data(config.data), **paths)
