"""Python processes in which TensorFlow and Keras cannot be imported."""

import os
import subprocess
import sys

from tests.support.imports import CHECKOUT

_REFUSE = """
import sys

class Refuser:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras"):
            raise ImportError(f"{name} is imported, which needs TensorFlow")

sys.meta_path.insert(0, Refuser())
"""


def run_without_tensorflow(code: str) -> str:
    """Runs code to its end and returns what it prints; an import of TensorFlow raises there."""
    done = subprocess.run(
        [sys.executable, "-c", _REFUSE + code],
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
