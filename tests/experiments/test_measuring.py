import mmap
import os
import sys

import numpy as np
import pytest

from experiments import measuring


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells")
def test_the_peak_of_memory_is_found():
    def take(size):
        # Pages of its own, where malloc may have some left of earlier tests.
        with mmap.mmap(-1, size) as memory:
            np.frombuffer(memory, np.uint8)[:: mmap.PAGESIZE] = 1

    assert 29e6 < measuring.peak_memory(lambda: take(30_000_000)) < 40e6
    take(60_000_000)  # an earlier peak does not count
    assert 29e6 < measuring.peak_memory(lambda: take(30_000_000)) < 40e6


def test_a_process_is_a_new_one():
    found = {measuring.in_a_process(os.getpid) for _ in range(2)}
    assert len(found) == 2 and os.getpid() not in found


def test_borders_are_counted():
    canvas = np.zeros((4, 5, 3), np.float32)
    canvas[:, 2:, 1] = 1
    assert measuring.border_share(canvas) == 0.25
