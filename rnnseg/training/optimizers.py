"""The optimizer of a run."""

import keras

from rnnseg.training.config import TrainingConfig
from rnnseg.training.schedules import learning_rate_schedule


def build_optimizer(config: TrainingConfig, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Builds the optimizer of a run; its state, with averages and counts, is in the saved model.

    Args:
      config: the configuration of the run.
      steps_per_epoch: the number of steps per epoch, for the length of the schedule.
    """
    rate = learning_rate_schedule(config, steps_per_epoch)
    options = {"global_clipnorm": config.clip_norm}
    if config.accumulate > 1:
        options["gradient_accumulation_steps"] = config.accumulate
    if config.ema is not None:
        # Keras updates the average after every batch, and so N times per step of N batches.
        options |= {"use_ema": True, "ema_momentum": config.ema ** (1 / config.accumulate)}
    if config.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=0.9, **options)
    return keras.optimizers.AdamW(rate, weight_decay=1e-4, **options)


def steps_done(model: keras.Model) -> int:
    """Returns the number of steps that the optimizer of a model has made."""
    # `int(variable)` fails on a variable with several replicas.
    return int(model.optimizer.iterations.numpy())
