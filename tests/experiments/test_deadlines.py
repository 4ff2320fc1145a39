import subprocess

import numpy as np
import pytest

from experiments import deadlines
from experiments.deadlines import Call
from rnnseg.runtime.segmenter import Segmenter
from tests.support.commands import run


def test_the_command_reports_every_load(anytime, photos, monkeypatch):
    monkeypatch.setattr(deadlines.time, "sleep", lambda seconds: None)
    printed = run(deadlines.main, anytime, photos, "--load", 0, "--load", 1, "--calls", 5,
                  "--threads", 1)  # fmt: skip
    assert [line for line in printed.splitlines() if not line.startswith(" ")] == [
        "0 busy processes, 1 threads, 5 calls",
        "1 busy processes, 1 threads, 5 calls",
    ]


def test_calls_are_what_the_segmenter_says(anytime):
    image = np.zeros((60, 50, 3), np.uint8)
    calls = deadlines.measure(Segmenter(anytime), [image], 6)
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
