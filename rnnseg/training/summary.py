"""The summary that is printed before a run starts."""

import math

from rnnseg import grid
from rnnseg.budgets.costs import stage_costs
from rnnseg.data.source import Source
from rnnseg.models.base import SegmentationModel
from rnnseg.training.config import TrainingConfig
from rnnseg.training.runs import Run


def describe(
    config: TrainingConfig,
    source: Source,
    model: SegmentationModel,
    first_epoch: int,
    steps: int,
    run: Run,
    gpus: int,
    workers: int = 1,
) -> str:
    """Returns the summary of a run, several lines.

    Args:
      config: the configuration of the run.
      source: the data.
      model: the model.
      first_epoch: the number of epochs that are done.
      steps: the number of steps per epoch.
      run: the folder of the run.
      gpus: the number of replicas of the model.
      workers: the number of processes that train.
    """
    sizes = source.split_sizes
    head = config.model
    if model.stack is not None:
        head = f"ConvLSTM layers {model.stack.widths} at canvas stride {model.canvas_stride}"
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    rows = {
        "data": f"{source.name}: {sizes[config.train_split]} images to train on, "
        f"{sizes[config.val_split]} to validate, {source.num_classes} classes",
        "model": f"{config.encoder} at output stride {config.output_stride}, {head}, "
        f"{trainable / 1e6:.2f} M trainable parameters of {model.count_params() / 1e6:.2f} M",
        "cost": _cost(config, model),
        "training": _training(config, model, first_epoch, steps, gpus, workers),
        "run": run.folder,
    }
    if config.ema is not None:
        rows["average"] = (
            f"weights are averaged over about the last {1 / (1 - config.ema):.0f} of "
            f"{config.epochs * steps} steps; the average is validated and saved"
        )
    if config.kept_views:
        rows["views"] = (
            f"{config.kept_views} of every image, encoded once; {config.sampled_patches} patches "
            "of each are kept"
        )
    elif config.sampled_patches:
        cells = math.prod(
            grid.canvas_size(side, model.output_stride, model.canvas_stride) for side in config.crop
        )
        if 4 * config.sampled_patches > cells:
            rows["note"] = (
                f"{config.sampled_patches} patches have {4 * config.sampled_patches} canvas pixels "
                f"at their corners, a whole crop has {cells}: train on whole images, or on fewer "
                "patches"
            )
    return "\n".join(f"{name:12s}{text}" for name, text in rows.items())


def _cost(config: TrainingConfig, model: SegmentationModel) -> str:
    costs = stage_costs(model, *config.crop)
    cost = f"at {config.crop[0]}x{config.crop[1]}: "
    cost += f"{costs.encode / 1e9:.3g} G multiply-adds to encode, "
    if not model.recurrent:
        return cost + f"{costs.prepare / 1e9:.3g} G for the head"
    cost += f"{costs.prepare / 1e9:.3g} G to prepare, {costs.refine / 1e9:.3g} G per iteration"
    return cost


def _training(
    config: TrainingConfig,
    model: SegmentationModel,
    first_epoch: int,
    steps: int,
    gpus: int,
    workers: int,
) -> str:
    if first_epoch == config.epochs:
        return f"all {config.epochs} epochs are done"
    text = f"epoch {first_epoch + 1} to {config.epochs}, {steps} steps of "
    if config.accumulate > 1:
        text += f"{config.accumulate} batches of "
    text += f"{config.batch_size} images each, "
    if workers > 1:
        text += f"{config.batch_size // workers} of them in each of {workers} workers, "
    elif gpus > 1:
        text += f"{config.batch_size // gpus} of them on each of {gpus} GPUs, "
    if config.kept_views:
        text += f"as many mixed patches as {config.sampled_patches} per image, "
    elif config.sampled_patches:
        text += f"{config.sampled_patches} patches per image, "
    return text + (f"{model.iterations} iterations" if model.recurrent else "feed-forward")
