"""Processes that are killed while they write, without a chance to tidy up."""

import contextlib
import subprocess
import sys


@contextlib.contextmanager
def running(code, folder):
    """Runs Python code in a folder, up to a call of `pause()`, and kills the process at the end.

    Args:
      code: the code.
      folder: the working folder.

    Yields:
      The process, which is at the call.
    """
    pause = "import sys, time\ndef pause(): print('here', flush=True); time.sleep(600)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", pause + code], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "here\n"
        yield process
    finally:
        process.kill()
        process.communicate()
