"""Peak memory of functions, and calls in a new process."""

import concurrent.futures
import multiprocessing
import pathlib
from collections.abc import Callable

import numpy as np


def in_a_process(function: Callable, *arguments):
    """Calls a function in a new process, without memory left by earlier calls.

    Returns:
      The result of the function.
    """
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, spawn) as processes:
        return processes.submit(function, *arguments).result()


def peak_memory(function: Callable) -> int:
    """Returns the peak of resident memory during a call, in bytes, beyond that before the call.

    TensorFlow keeps the memory that it has allocated, so only the first of several calls in a
    process shows its memory. Works on Linux only.
    """
    before = _status("VmRSS")
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # resets the peak to the current value
    function()
    return _status("VmHWM") - before


def process_peak() -> int:
    """Returns the peak of the resident memory of this process, in bytes."""
    return _status("VmHWM")


def _status(field: str) -> int:
    """Reads a size from the kernel's status of this process, in bytes."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{field}:")]
    return 1024 * int(line.split()[1])


def border_share(canvas: np.ndarray) -> float:
    """Returns the share of the squares between four canvas pixels on a border between classes.

    Args:
      canvas: logits, `(h, w, classes)`.

    Returns:
      The share of the squares whose four corners have not all the same best class, 0-1.
    """
    best = canvas.argmax(-1)
    corners = np.stack([best[:-1, :-1], best[:-1, 1:], best[1:, :-1], best[1:, 1:]])
    return float(np.mean(corners.min(0) != corners.max(0)))
