"""Programs of their own for what may fail noisily, die, or must not know rnnseg.

The converter and the quantizer write pages of notes, and a crash in them would take everything
along; a SavedModel is served where there is no rnnseg. The programs import none of it.
"""

import pathlib
import subprocess
import sys


class ProcessError(RuntimeError):
    """A program failed; the message is the last line it wrote, or the signal that ended it."""


def run(program: str, *arguments) -> None:
    """Runs one of the programs in this folder to its end.

    Args:
      program: its name.
      *arguments: of its command line.

    Raises:
      ProcessError: it ended with another status than 0.
    """
    script = pathlib.Path(__file__).with_name(f"{program}.py")
    command = [sys.executable, str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode < 0:
        raise ProcessError(f"the process was ended by signal {-done.returncode}")
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise ProcessError(lines[-1] if lines else f"status {done.returncode}")
