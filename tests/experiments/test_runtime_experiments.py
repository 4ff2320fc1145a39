import subprocess

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from experiments import deadlines, reading_benchmark
from experiments.deadlines import Call
from rnnseg.runtime.segmenter import Segmenter
from tests.support.litert import write_anytime
from tests.support.models import make_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a file and three images."""
    folder = tmp_path_factory.mktemp("file")
    write_anytime(make_model(iterations=3), (41, 57), folder)
    (folder / "photos").mkdir()
    for index in range(3):
        image = np.random.default_rng(index).integers(0, 256, (60, 50, 3), np.uint8)
        Image.fromarray(image).save(folder / "photos" / f"{index}.png")
    return folder


def run(command, *arguments):
    result = CliRunner().invoke(command, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_deadlines_are_measured(folder):
    lines = run(
        deadlines.main, folder / "anytime.tflite", folder / "photos", "--load", "0", "--calls", "5",
        "--threads", "1",
    )  # fmt: skip
    assert lines[0] == "0 busy processes, 1 threads, 5 calls" and len(lines) == 6


def test_calls_are_what_the_segmenter_says(folder):
    image = np.zeros((60, 50, 3), np.uint8)
    calls = deadlines.measure(Segmenter(folder / "anytime.tflite"), [image], 6)
    assert len({call.deadline for call in calls}) == 6
    for call in calls:
        assert 1 <= call.iterations <= 3
        whole = call.encode + call.iterations * call.refine + call.read
        assert whole == pytest.approx(call.took)


def test_the_report_tells_what_could_not_be_met():
    calls = [
        Call(deadline=20, took=19, encode=10, refine=2, read=1, iterations=4),
        Call(deadline=20, took=22, encode=13, refine=2, read=1, iterations=4),
        Call(deadline=20, took=27, encode=10, refine=2, read=9, iterations=4),
        Call(deadline=20, took=40, encode=37, refine=2, read=1, iterations=1),
    ]
    lines = [line.strip() for line in deadlines.report("title", calls, most=4).splitlines()]
    assert lines == [
        "title, 4 calls",
        "one iteration alone 18.5 ms, each 2.00 ms",
        "within deadline + one iteration 50.0 %",
        "possible 75.0 %, of these 66.7 %",
        "iterations 3.2, would have fit 2.2",
        "ms after the deadline 50 %: 4.5, 90 %: 16.1, 99 %: 19.6, 100 %: 20.0",
    ]


def test_busy_processes_are_ended(monkeypatch):
    started = []
    start = subprocess.Popen
    monkeypatch.setattr(
        deadlines.subprocess, "Popen", lambda *args: started.append(start(*args)) or started[-1]
    )
    monkeypatch.setattr(deadlines.time, "sleep", lambda seconds: None)
    with pytest.raises(KeyError), deadlines.busy(2):
        assert [each.poll() for each in started] == [None, None]
        raise KeyError
    assert None not in [each.poll() for each in started]


def test_reading_is_measured(folder):
    lines = run(
        reading_benchmark.main, folder / "anytime.tflite", folder / "photos", "--repeats", "2",
        "--limit", "2", "--threads", "1",
    )  # fmt: skip
    assert lines[0].startswith("41x57x4, 4 canvases, ")
    assert lines[-1].split() == ["equal", "100.0000", "%"]


def test_borders_are_counted():
    canvas = np.zeros((4, 5, 3), np.float32)
    canvas[:, 2:, 1] = 1
    assert reading_benchmark._border_share(canvas) == 0.25
