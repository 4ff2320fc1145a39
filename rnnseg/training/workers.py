"""Training on several machines: workers that make every step together.

Each worker is a process with the same command and the same files. The environment variable
`TF_CONFIG` names the addresses of all and the number of this one, as everywhere in TensorFlow:

    {"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}

The first worker, or the one called chief, writes the files.
"""

import contextlib
import dataclasses
import functools
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from rnnseg import schemas
from rnnseg.data.sharing import WHOLE, Share
from rnnseg.errors import UserError, first_line
from rnnseg.training.waiting import own_signals, wait_for_others

VARIABLE = "TF_CONFIG"
_WAY_OUT = (
    'expected {"cluster": {"worker": ["HOST:PORT", …]}, "task": {"type": "worker", "index": 0}}, '
    "or no TF_CONFIG to train alone"
)
# What TensorFlow raises where another worker has ended or cannot be reached.
_LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)


@dataclasses.dataclass(frozen=True)
class _Task:
    type: Literal["chief", "worker"]
    index: schemas.Total


@dataclasses.dataclass(frozen=True)
class _Schema:
    cluster: Mapping[Literal["chief", "worker"], tuple[schemas.Text, ...]]
    task: _Task


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a training.

    Attributes:
      index: the number of this one, from 0.
      addresses: HOST:PORT of each; there are at least two.
    """

    index: int
    addresses: tuple[str, ...]

    def name(self, index: int) -> str:
        """Returns how messages call a worker."""
        return f"worker {index} ({self.addresses[index]})"


def read_cluster() -> Cluster | None:
    """Returns what `TF_CONFIG` says; None if it is not set, or there is one worker.

    Raises:
      UserError: it is no JSON of that form, or the task is none of the cluster.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    held = schemas.check(schemas.parse_json(text, VARIABLE, _WAY_OUT), _Schema, VARIABLE, _WAY_OUT)
    # The order in which TensorFlow numbers them.
    tasks: list[tuple[Any, int]] = [
        (job, at) for job in ("chief", "worker") for at in range(len(held.cluster.get(job, ())))
    ]
    addresses = tuple(held.cluster[job][at] for job, at in tasks)
    task = (held.task.type, held.task.index)
    if task not in tasks:
        raise UserError(
            f"{VARIABLE}: the task is {held.task.type} {held.task.index}, which the cluster does "
            f"not have; {_WAY_OUT}"
        )
    for address in addresses:
        host, _, port = address.rpartition(":")
        is_port = re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 1 << 16
        if not host or not is_port or addresses.count(address) > 1:
            raise UserError(
                f"{VARIABLE}: {address!r}: expected HOST:PORT, with a port of 1 to 65535, another "
                f"one for each worker; {_WAY_OUT}"
            )
    return Cluster(tasks.index(task), addresses) if len(tasks) > 1 else None


def connect(cluster: Cluster) -> tf.distribute.MultiWorkerMirroredStrategy:
    """Connects the workers, and returns their strategy; it waits until all of them are there.

    Args:
      cluster: the workers.

    Raises:
      UserError: TensorFlow has been in use before, and can no longer be connected; or another
        process listens at the own port.
    """
    return _connected(cluster)


# TensorFlow connects once in a process.
@functools.cache
def _connected(cluster: Cluster) -> tf.distribute.MultiWorkerMirroredStrategy:
    print(
        f"{cluster.name(cluster.index)} of {len(cluster.addresses)} waits for all others",
        flush=True,
    )
    wait_for_others(cluster.addresses, cluster.index)
    # The default sends gradients of GPUs by way of the host.
    way = tf.distribute.experimental.CommunicationImplementation
    chosen = way.NCCL if tf.config.list_physical_devices("GPU") else way.RING
    try:
        with own_signals():
            return tf.distribute.MultiWorkerMirroredStrategy(
                communication_options=tf.distribute.experimental.CommunicationOptions(
                    implementation=chosen
                )
            )
    except RuntimeError as error:
        raise UserError(
            f"{VARIABLE} is set, but the workers cannot be connected ({first_line(error)}): in a "
            "program of your own, call rnnseg.training.workers.connect(read_cluster()) before "
            "anything else of TensorFlow"
        ) from error
    except _LOST as error:
        raise _lost(cluster, error) from error


def own_share() -> Share:
    """Returns the share of this process in the work of all workers."""
    cluster = read_cluster()
    if cluster is None:
        return WHOLE
    total = functools.partial(_total, connect(cluster), len(cluster.addresses))
    return Share(cluster.index, len(cluster.addresses), total)


def _total(strategy, workers: int, array: np.ndarray) -> np.ndarray:
    array = np.asarray(array, np.float64)
    replicas = strategy.num_replicas_in_sync // workers

    def value(context):
        is_first = context.replica_id_in_sync_group % replicas == 0
        return tf.constant(array if is_first else np.zeros_like(array))

    values = strategy.experimental_distribute_values_from_function(value)
    with keep_together():
        return strategy.reduce("SUM", values, axis=None).numpy()


@contextlib.contextmanager
def keep_together() -> Iterator[None]:
    """Turns the errors of a lost connection within a block into one that tells the way out.

    Raises:
      UserError: another worker has ended or cannot be reached.
    """
    cluster = read_cluster()
    if cluster is None:
        yield
        return
    try:
        yield
    except _LOST as error:
        raise _lost(cluster, error) from error


def _lost(cluster: Cluster, error: Exception) -> UserError:
    return UserError(
        f"{cluster.name(cluster.index)} has lost another one ({first_line(error)[:60]}): see what "
        "the others print, end all, and start all again with --resume"
    )


@contextlib.contextmanager
def fail_together(share: Share) -> Iterator[None]:
    """Runs a block in every worker; a mistake of the user that one finds ends all.

    Args:
      share: that of this worker.

    Raises:
      UserError: the block raised one, here or in another worker.
    """
    own = None
    try:
        yield
    except UserError as error:
        own = error
    try:
        failed = share.total(_slot(share, own is not None))
    except UserError as error:
        raise own or error from None
    if own is not None:
        raise own
    if failed.any():
        raise UserError(f"worker {failed.argmax()} cannot start: its output has the reason")


def agree(share: Share, **values: str) -> None:
    """Checks that all workers have the same values.

    Args:
      share: that of this worker.
      **values: what has to be the same, by names for the message.

    Raises:
      UserError: a worker has another value than the first one.
    """
    for name, value in values.items():
        # A float64 holds 48 bits exactly.
        number = int.from_bytes(hashlib.sha256(value.encode()).digest()[:6], "big")
        numbers = share.total(_slot(share, number))
        if (numbers != numbers[0]).any():
            other = (numbers != numbers[0]).argmax()
            raise UserError(
                f"worker {other} has other {name.replace('_', ' ')} than worker 0: start all by "
                "the same command, with --out in a folder that all of them share"
            )


def common_seed(share: Share, seed: int | None) -> int | None:
    """Returns a seed that is the same in all workers, drawn by the first one if there is none."""
    if seed is not None or share.count == 1:
        return seed
    drawn = int(np.random.default_rng().integers(2**31))
    return int(share.total(_slot(share, drawn))[0])


def _slot(share: Share, value: float) -> np.ndarray:
    """Returns zeros, one for each worker, with the value in the place of this one."""
    slots = np.zeros(share.count)
    slots[share.index] = value
    return slots
