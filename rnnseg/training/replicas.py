"""Training on all GPUs of a machine: every step's images are divided among them."""

import functools

import tensorflow as tf

from rnnseg.errors import UserError


def training_strategy(batch_size: int) -> tf.distribute.Strategy:
    """What divides the images of a step: a replica of the model on every GPU.

    The model must be made, loaded and compiled within its `scope()`. With one GPU or none it is
    TensorFlow's default, which changes nothing. `CUDA_VISIBLE_DEVICES=0,1` in the environment
    leaves TensorFlow the first two GPUs alone.

    What comes out is what one device finds on all of the images (`rnnseg.training.losses` divides
    by the pixels of all replicas, Keras adds up their gradients), but for batch norm where it is
    trained: its statistics are those of one replica's images, and only their moving averages are
    shared.

    Args:
      batch_size: images a step, on all GPUs together.

    Raises:
      UserError: they cannot be divided evenly.
    """
    devices = gpus()
    if len(devices) < 2:
        return tf.distribute.get_strategy()
    if batch_size % len(devices):
        raise UserError(_uneven(batch_size, len(devices)))
    return _mirrored(devices)


def gpus() -> tuple[str, ...]:
    """The names of all GPUs that TensorFlow sees."""
    return tuple(device.name for device in tf.config.list_logical_devices("GPU"))


# Every strategy counts its reductions from the same number, by which the devices know them: with a
# second one in the process (another training) they meet the first one's, of other shapes, and fail.
@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.MirroredStrategy:
    return tf.distribute.MirroredStrategy(devices)


def _uneven(batch_size: int, count: int) -> str:
    below = batch_size - batch_size % count
    batches = " or ".join(str(size) for size in (below, below + count) if size)
    fewer = max(each for each in range(1, count) if batch_size % each == 0)
    visible = ",".join(map(str, range(fewer)))
    return (
        f"batch_size={batch_size}: expected a number that {count} GPUs can share, such as "
        f"{batches}; or use {fewer} of them: CUDA_VISIBLE_DEVICES={visible}"
    )
