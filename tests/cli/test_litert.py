"""LiteRT files in the place of models."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from rnnseg import data
from rnnseg.cli import main
from rnnseg.evaluation import metrics
from rnnseg.runtime.segmenter import Segmenter
from tests.support.litert import write_anytime, write_segment
from tests.support.models import make_lively_model
from tests.support.sources import halves, make_source

EXAMPLES = halves(2, 43, 51)
COUNTS = {"encode": 10**9, "prepare": 0, "refine": 10**8, "read": 0}


def run(*arguments, status=0):
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exit_code == status, result.output + repr(result.exception)
    return result.output


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An `anytime.tflite` of one size, and a `segment.tflite` for any size."""
    folder = tmp_path_factory.mktemp("files")
    source = make_source({"val": EXAMPLES})
    model = make_lively_model(num_classes=3)
    named = {"classes": source.class_names, "colors": source.class_colors}
    anytime = write_anytime(model, (41, 57), folder, multiply_adds=COUNTS, **named)
    return anytime, write_segment(model, None, folder, **named)


@pytest.fixture(autouse=True)
def source(monkeypatch):
    monkeypatch.setattr(data, "open_source", lambda name: make_source({"val": EXAMPLES}))


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    for index, (image, _) in enumerate(EXAMPLES):
        Image.fromarray(image).save(tmp_path / "photos" / f"photo_{index}.png")
    return tmp_path / "photos"


def test_from_evaluation_to_a_plan(files, photos, tmp_path):
    anytime, whole = files
    printed = run("evaluate", anytime, "--data", "tiny", "--iterations", "1,4")
    scores = json.loads((anytime.parent / "anytime.scores_val.json").read_text())
    # The scores are those of the runtime on the same images.
    segmenter = Segmenter(anytime)
    for row in scores["results"]:
        expected = sum(
            metrics.confusion_matrix(label, segmenter(image, row["iterations"]).classes, 3)
            for image, label in EXAMPLES
        )
        np.testing.assert_array_equal(row["confusion"], expected)
        assert f"{100 * row['miou']:.2f}" in printed
    assert [row["multiply_adds"] for row in scores["results"]] == [11 * 10**8, 14 * 10**8]
    assert (anytime.parent / "anytime.report_val.html").is_file()

    run("evaluate", whole, "--data", "tiny", "--iterations", "1,4")
    scores = json.loads((whole.parent / "segment.scores_val.json").read_text())
    assert [row["multiply_adds"] for row in scores["results"]] == [None, None]
    assert (whole.parent / "segment.curve_val.png").is_file()

    for file in files:
        printed = run("benchmark", file, "--size", "43x51", "--repeats", 1, "--save")
        assert "LiteRT" in printed and "n = 12" in printed
    assert "1.100" in run("benchmark", anytime, "--size", "43x51", "--repeats", 1)
    printed = run("plan", *files, "--milliseconds", 1e6)
    assert f"{whole}: from its profile" in printed and "43x51" in printed
    assert "anytime.tflite" in run("plan", anytime, "--gmacs", 1.2)
    assert "multiply-adds are not known" in run("plan", *files, "--gmacs", 1.2, status=2)

    segment = ["segment", anytime, photos, "--overwrite", "--out", tmp_path / "out"]
    assert "iterations: 1" in run(*segment, "--gmacs", 1.15)
    assert "iterations: " in run(*segment, "--milliseconds", 1e6)
    printed = run("segment", whole, *segment[2:], "--gmacs", 1.15, status=2)
    assert "are not known; give a number of iterations or milliseconds" in printed


@pytest.mark.parametrize("number", [0, 1])
def test_segment_writes_what_the_runtime_says(files, photos, tmp_path, number):
    out = tmp_path / "out"
    printed = run("segment", files[number], photos, "--iterations", 3, "--every-iteration",
                  "--out", out)  # fmt: skip
    assert printed.count(" ms\n") == 2 and len(list(out.iterdir())) == 6
    if number == 0:
        found = np.asarray(Image.open(out / "photo_1_classes.png"))
        expected = Segmenter(files[0])(EXAMPLES[1][0], iterations=3).classes
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("evaluate", ["--output-stride", "8"]),
        ("evaluate", ["--image-scales", "0.5,1"]),
        ("evaluate", ["--scales", "0.5,1"]),
        ("evaluate", ["--flip"]),
        ("evaluate", ["--tensorboard", "logs"]),
        ("segment", ["--stop-when-settled"]),
        ("segment", ["--tile", "0"]),
        ("segment", ["--max-size", "640"]),
    ],
)
def test_what_a_file_cannot_do_is_refused(files, photos, tmp_path, command, option):
    others = ["--data", "tiny"] if command == "evaluate" else [photos, "--out", tmp_path / "out"]
    (line,) = run(command, files[0], *others, *option, status=2).splitlines()
    assert line.startswith(f"error: {option[0]}: {files[0]} is a LiteRT file")
    assert line.endswith("the run that it was exported from")
    assert not (tmp_path / "out").exists()
