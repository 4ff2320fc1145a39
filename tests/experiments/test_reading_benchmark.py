from experiments import reading_benchmark
from tests.support.commands import run


def test_both_ways_to_read_agree(anytime, photos):
    lines = run(
        reading_benchmark.main, anytime, photos, "--repeats", 2, "--limit", 2, "--threads", 1
    ).splitlines()
    assert lines[0].startswith("41x57x4, 4 canvases, ")  # after one and after three iterations
    assert lines[0].endswith("% of the patches on borders")
    assert lines[-1].split() == ["equal", "100.0000", "%"]
