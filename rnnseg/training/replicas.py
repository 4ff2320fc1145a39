"""Training on all GPUs of one machine or several: they share the images of each step."""

import functools

import tensorflow as tf

from rnnseg.errors import UserError
from rnnseg.training import workers


def training_strategy(batch_size: int) -> tf.distribute.Strategy:
    """Returns the strategy that trains a replica of the model on every GPU.

    The model must be built, loaded and compiled within its `scope()`. With one GPU or none it is
    the default strategy of TensorFlow, which changes nothing. The environment variable
    `CUDA_VISIBLE_DEVICES=0,1` shows TensorFlow only the first two GPUs. With several workers
    (`rnnseg.training.workers`), it is that of all their GPUs, or one CPU of each.

    The result is the same as on one device with all images: `rnnseg.training.losses` divides by the
    pixels of all replicas, and Keras sums their gradients. Batch norm in training mode is the
    exception: each replica normalizes with the statistics of its own images, and only the moving
    averages are shared.

    Args:
      batch_size: the number of images per step, on all GPUs together.

    Raises:
      UserError: the GPUs cannot share the images evenly; or as `rnnseg.training.workers.connect`.
    """
    cluster = workers.read_cluster()
    if cluster is not None:
        strategy = workers.connect(cluster)
        if batch_size % strategy.num_replicas_in_sync:
            raise UserError(
                f"batch_size={batch_size}: expected a number that {len(cluster.addresses)} workers "
                f"with {strategy.num_replicas_in_sync} GPUs or CPUs in all can share; give "
                "another --batch, or start fewer workers"
            )
        return strategy
    devices = gpus()
    if len(devices) < 2:
        return tf.distribute.get_strategy()
    if batch_size % len(devices):
        raise UserError(_uneven(batch_size, len(devices)))
    return _mirrored(devices)


def gpus() -> tuple[str, ...]:
    """Returns the names of all GPUs that TensorFlow sees."""
    return tuple(device.name for device in tf.config.list_logical_devices("GPU"))


# Devices match their reductions by numbers, which every strategy counts from the same start. A
# second strategy in the process, for another training, would meet the reductions of the first one,
# whose shapes differ, and fail.
@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.MirroredStrategy:
    return tf.distribute.MirroredStrategy(devices)


def _uneven(batch_size: int, count: int) -> str:
    """Returns the message for a batch that a number of GPUs cannot share, with ways out."""
    below = batch_size - batch_size % count
    batches = " or ".join(str(size) for size in (below, below + count) if size)
    fewer = max(each for each in range(1, count) if batch_size % each == 0)
    visible = ",".join(map(str, range(fewer)))
    return (
        f"batch_size={batch_size}: expected a number that {count} GPUs can share, such as "
        f"{batches}; or use {fewer} of them: CUDA_VISIBLE_DEVICES={visible}"
    )
