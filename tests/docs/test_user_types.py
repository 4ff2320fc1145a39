"""What mypy tells somebody who writes code with rnnseg."""

import pathlib
import re
import subprocess
import sys

import pytest

pytest.importorskip("mypy", reason="needs mypy, of the extra dev")

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = """\
import numpy as np
import rnnseg
import rnnseg.runtime

image = np.zeros((40, 50, 3), np.uint8)
predictor = rnnseg.Predictor.load("runs/mine")
reveal_type(predictor(image, rnnseg.Budget(gmacs=2)))
reveal_type(rnnseg.RecurrentSegmenter.from_preset("mobilenet_v2_voc"))
segmenter = rnnseg.runtime.Segmenter("anytime.tflite", threads=2)
reveal_type(segmenter(image, deadline_ms=40).milliseconds)
rnnseg.Budget(gmacs="2")
predictor(image, 3)
segmenter.track(image, keep="0.2")
"""
REVEALED = {7: "numpy.ndarray[", 8: "rnnseg.models.recurrent.RecurrentSegmenter", 10: "float"}
WRONG = {11: "gmacs", 12: "Budget", 13: "keep"}


def test_results_have_types_and_wrong_arguments_are_told(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    # By the checkout's configuration, so that what `make lint` has found out is not found out anew.
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml"]
    result = subprocess.run(
        [*command, str(tmp_path / "script.py")], cwd=ROOT, capture_output=True, text=True
    )
    found = re.findall(r"script\.py:(\d+): (note|error): (.*)", result.stdout)
    told = {int(line): text for line, kind, text in found if kind == "note"}
    wrong = {int(line): text for line, kind, text in found if kind == "error"}
    assert told.keys() == REVEALED.keys(), result.stdout + result.stderr
    for line, kind in REVEALED.items():
        assert f'Revealed type is "{kind}' in told[line]
    assert wrong.keys() == WRONG.keys(), result.stdout
    for line, name in WRONG.items():
        assert name in wrong[line]
