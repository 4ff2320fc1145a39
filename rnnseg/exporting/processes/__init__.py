"""Programs that run in processes of their own and import nothing of rnnseg.

The converter and the quantizer print pages of notes, and a crash in them would end the calling
process, too. A SavedModel is served without rnnseg, so that it proves to need nothing of it.
"""

import os
import pathlib
import subprocess
import sys


class ProcessError(RuntimeError):
    """The failure of a program; the message is its last line, or the signal that ended it."""


def run(program: str, *arguments: str | os.PathLike) -> None:
    """Runs one of the programs in this folder to its end.

    Args:
      program: the name of the program.
      *arguments: the arguments of its command line.

    Raises:
      ProcessError: the program ended with another status than 0.
    """
    script = pathlib.Path(__file__).with_name(f"{program}.py")
    command = [sys.executable, str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode < 0:
        raise ProcessError(f"the process was ended by signal {-done.returncode}")
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise ProcessError(lines[-1] if lines else f"status {done.returncode}")
