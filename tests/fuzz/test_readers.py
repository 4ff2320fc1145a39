"""Damaged files of every kind, some hundred for each reader, always the same ones.

However a file is damaged, reading ends as commands promise: with a result, or with one line and
status 2, within 20 seconds, and with no half-written output.
"""

import json
import pathlib
import queue
import subprocess
import sys
import threading

import pytest

from tests.fuzz.readers import READERS

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
SECONDS = 20
# The whole input comes first, and waits for the imports.
SECONDS_AT_FIRST = 300
SHOWN = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The whole files."""
    from tests.fuzz import material  # it loads TensorFlow

    made = tmp_path_factory.mktemp("material")
    material.write(made)
    return made


@pytest.mark.parametrize("name", READERS)
def test_damaged_input(folder, tmp_path, name):
    reader, results, first = READERS[name], {}, -1
    while first < reader.inputs:
        begun = read_from(name, folder, tmp_path / "work", first, results)
        assert begun is None or begun >= 0, f"the whole input is not read: {results}"
        first = reader.inputs if begun is None else begun + 1
    assert results[-1]["ok"] and not results[-1]["fault"], results[-1]
    assert len(results) == reader.inputs + 1
    faults = {number: each["fault"] for number, each in results.items() if each["fault"]}
    listed = "\n".join(f"{number}: {faults[number]}" for number in list(faults)[:SHOWN])
    assert not faults, f"{len(faults)} of {reader.inputs} inputs, {list(faults)}:\n{listed}"
    refused = sum(not each["ok"] for each in results.values())
    assert refused > reader.inputs // 10, f"only {refused} inputs are damaged so that it shows"


def read_from(name, folder, work, first, results) -> int | None:
    """Reads inputs in a process of their own, until all are read, or it crashes or hangs.

    Returns:
      The number of the input at which it ended; None after the last one.
    """
    command = [sys.executable, "-m", "tests.fuzz.child", name, folder, work, str(first)]
    errors = work.with_name(f"errors{first}.txt")
    with open(errors, "w") as file:
        process = subprocess.Popen(
            command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=file, text=True
        )
    lines = queue.Queue()

    def forward():
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=forward, daemon=True).start()
    begun, seconds = first, SECONDS_AT_FIRST
    try:
        while True:
            line = lines.get(timeout=seconds)
            if line is None:
                break
            if line.startswith("{"):
                results[begun] = json.loads(line)
                begun, seconds = begun + 1, SECONDS
            else:
                assert int(line) == begun
        if process.wait() == 0:
            return None
        fault = f"the process ended with {process.returncode}: {errors.read_text()[-1000:]}"
    except queue.Empty:
        fault = f"more than {seconds} seconds"
    finally:
        process.kill()
        process.wait()
    results[begun] = {"ok": False, "fault": fault}
    return begun
