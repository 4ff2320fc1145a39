"""How much memory functions take, and a process of their own for them."""

import concurrent.futures
import multiprocessing
import pathlib
from collections.abc import Callable


def in_a_process(function: Callable, *arguments):
    """What a function gives in a new process, where nothing is left of an earlier one."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, spawn) as processes:
        return processes.submit(function, *arguments).result()


def peak_memory(function: Callable) -> int:
    """Bytes of resident memory that a call takes at its peak, beyond what there was before it.

    TensorFlow keeps what it has allocated, so only the first of several calls in a process takes
    anything. Linux alone can tell.
    """
    before = _status("VmRSS")
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # sets the peak to the present value
    function()
    return _status("VmHWM") - before


def process_peak() -> int:
    """Bytes of resident memory that this process has had at its peak, all in all."""
    return _status("VmHWM")


def _status(field: str) -> int:
    """A size in bytes from the kernel's account of this process."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{field}:")]
    return 1024 * int(line.split()[1])
