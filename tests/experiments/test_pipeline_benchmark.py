import importlib.util
import json
import sys

import numpy as np
import pytest

from experiments import pipeline_benchmark
from tests.support.commands import fail, run
from tests.support.sources import tiny_source

needs_model_garden = pytest.mark.skipif(
    not importlib.util.find_spec("official"), reason="needs tf-models-official"
)


@needs_model_garden
def test_the_numbers_that_are_written_are_printed(open_as, tmp_path, monkeypatch):
    case = pipeline_benchmark.Case(
        33, images=12, batch=2, steps=2, model_garden={"output_size": [33] * 2}
    )
    monkeypatch.setattr(pipeline_benchmark, "CASES", {"voc": case})
    open_as(tiny_source())
    stdout = run(
        pipeline_benchmark.main,
        "--voc",
        "tiny",
        "--repeats",
        3,
        "--json",
        tmp_path / "numbers.json",
    )
    written = json.loads((tmp_path / "numbers.json").read_text())["results"]["voc"]
    speeds = written["images_per_second"]
    assert {len(values) for values in speeds.values()} == {3}
    printed = {line[2:26].strip(): line[26:].split() for line in stdout.splitlines()}
    for name, values in speeds.items():
        assert float(printed[name][0]) == pytest.approx(np.median(values), abs=0.06)
    for other in ("Model Garden", "decoding alone"):
        ratio = np.median(np.divide(speeds["ours"], speeds[other]))
        assert float(printed[f"ours / {other}"][0]) == pytest.approx(ratio, abs=0.006)
    wait, compute = (np.array(written["training"][key]) for key in ("wait", "compute"))
    assert wait.shape == compute.shape == (2,)
    share = 100 * wait.sum() / (wait + compute).sum()
    assert float(printed["training waits"][0]) == pytest.approx(share, abs=0.006)


@needs_model_garden
def test_all_candidates_read_the_same_examples():
    case = pipeline_benchmark.Case(
        48, images=12, batch=4, steps=1, model_garden={"output_size": [40, 48]}
    )
    source = tiny_source()
    examples = list(source.read("train").as_numpy_iterator())
    decoded = list(pipeline_benchmark._decoded(examples, case))
    ours = list(pipeline_benchmark._ours(source, examples, case, epochs=1))
    model_garden = list(pipeline_benchmark._model_garden(examples, case))
    assert [image.shape for image, _ in decoded] == [(40, 48, 3)] * 12
    assert [image.shape for image, _ in ours] == [(4, 48, 48, 3)] * 3
    assert [image.shape for image, _ in model_garden] == [(4, 40, 48, 3)] * 3
    values = set(np.unique([labels["masks"] for _, labels in model_garden]))
    assert {0, 1} <= values <= {0, 1, 2, 255}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "give --voc DIR"), (["--voc", "x"], "pip install rnnseg[model-garden]")],
)
def test_what_is_missing_is_said(arguments, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "official.vision.dataloaders", None)
    assert message in fail(pipeline_benchmark.main, *arguments)
