"""Runs the scripts of this folder; none may fail or warn."""

import pathlib
import runpy
import subprocess
import sys
import warnings

import keras
import pytest

FOLDER = pathlib.Path(__file__).parent
# What divides the processor has to come first in a process.
ALONE = ("mirrored",)
SCRIPTS = sorted({path.stem for path in FOLDER.glob("*.py")} - {"__init__", "test_scripts", *ALONE})


@pytest.fixture(autouse=True)
def policy():
    """The global policy, which a script may set, is put back."""
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("name", SCRIPTS)
def test_script(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")


@pytest.mark.parametrize("name", ALONE)
def test_script_in_a_process_of_its_own(name):
    command = [sys.executable, "-W", "error::UserWarning", str(FOLDER / f"{name}.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parents[1])
    assert done.returncode == 0, done.stderr[-3000:]
