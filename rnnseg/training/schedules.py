"""Schedules of the learning rate, by the number of the step."""

from collections.abc import Mapping
from typing import Any

import keras

from rnnseg.training.config import TrainingConfig


def learning_rate_schedule(
    config: TrainingConfig, steps_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns the schedule of a run.

    Args:
      config: the configuration of the run.
      steps_per_epoch: the number of steps per epoch; a step that accumulates several batches is
        one.
    """
    warmup = config.warmup_epochs * steps_per_epoch
    falling = config.epochs * steps_per_epoch - warmup
    if config.schedule == "cosine":
        schedule = keras.optimizers.schedules.CosineDecay(config.learning_rate, falling)
    else:
        schedule = poly_schedule(config.learning_rate, falling)
    if warmup:
        schedule = Warmup(schedule, warmup)
    if config.accumulate > 1:
        schedule = PerStep(schedule, config.accumulate)
    return schedule


def poly_schedule(learning_rate: float, steps: int) -> keras.optimizers.schedules.PolynomialDecay:
    """Returns the schedule `learning_rate * (1 - step / steps) ** 0.9` of DeepLab and the paper."""
    return keras.optimizers.schedules.PolynomialDecay(
        learning_rate, steps, end_learning_rate=0.0, power=0.9
    )


@keras.saving.register_keras_serializable("rnnseg")
class Warmup(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that begins after a linear rise to its first learning rate.

    The learning rate of step s, from 0, is `(s + 1) / (steps + 1)` of the first one. (The rise of
    `keras.optimizers.schedules.CosineDecay` begins with a step that changes nothing, and
    `PolynomialDecay` has none.)

    Args:
      schedule: the schedule that follows.
      steps: the number of steps before it.
    """

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, steps: int):
        super().__init__()
        self.schedule, self.steps = schedule, steps

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate of a step."""
        step = keras.ops.cast(step, "float32")
        share = keras.ops.minimum((step + 1) / (self.steps + 1), 1.0)
        return share * self.schedule(keras.ops.maximum(step - self.steps, 0.0))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments for `from_config`."""
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "steps": self.steps}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Warmup":
        """Builds the schedule from what `get_config` gave."""
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["steps"])


@keras.saving.register_keras_serializable("rnnseg")
class PerStep(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule over steps, where an optimizer that accumulates gradients counts batches.

    Args:
      schedule: the schedule by the number of the step.
      batches: the number of batches per step.
    """

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, batches: int):
        super().__init__()
        self.schedule, self.batches = schedule, batches

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate of the step that a batch belongs to."""
        return self.schedule(keras.ops.floor_divide(step, self.batches))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments for `from_config`."""
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "batches": self.batches}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "PerStep":
        """Builds the schedule from what `get_config` gave."""
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["batches"])
