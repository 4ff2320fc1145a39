"""Several workers of one task: as processes on this machine, or as threads of this process."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import threading

import numpy as np

from rnnseg.data.sharing import Share

_ROOT = pathlib.Path(__file__).parents[2]


def free_addresses(count):
    """Returns HOST:PORT of free ports of this machine."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    finally:
        for each in sockets:
            each.close()


def tf_config(addresses, index):
    """Returns the TF_CONFIG of a worker."""
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": addresses}, "task": task})


def run_workers(count, command, cwd=_ROOT, **environment):
    """Runs a command in several processes that are workers of one another, up to their end.

    Returns:
      The exit status and the output of each, with that for errors.
    """
    addresses = free_addresses(count)
    processes = [
        subprocess.Popen(
            command,
            env=os.environ | environment | {"TF_CONFIG": tf_config(addresses, index)},
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(count)
    ]
    outputs = [None] * count

    def wait(index):
        outputs[index] = processes[index].communicate()[0]

    threads = [threading.Thread(target=wait, args=(index,)) for index in range(count)]
    try:
        for each in threads:
            each.start()
        for each in threads:
            each.join(timeout=900)
    finally:
        for each in processes:
            each.kill()
    return [(each.wait(), output) for each, output in zip(processes, outputs, strict=True)]


def run_python(count, code, **environment):
    """Runs Python code in several processes; see `run_workers`."""
    return run_workers(count, [sys.executable, "-c", code], **environment)


def in_threads(count, work):
    """Calls `work(share)` in a thread for each share, and returns the results in their order.

    The first exception is raised again.
    """
    barrier = threading.Barrier(count, timeout=60)
    given, results = [None] * count, [None] * count

    def run(index):
        def total(array):
            given[index] = np.asarray(array, np.float64)
            barrier.wait()
            summed = sum(given)
            barrier.wait()  # nobody gives the next array before all have read this one
            return summed

        try:
            results[index] = work(Share(index, count, total))
        except Exception as error:
            results[index] = error
            barrier.abort()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    failed = [each for each in results if isinstance(each, Exception)]
    for each in failed:
        if not isinstance(each, threading.BrokenBarrierError):
            raise each
    return results
