import re

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from rnnseg import Budget, Predictor, load_model
from rnnseg.cli import main
from tests.support.models import blocky_image, make_lively_model
from tests.video import clips


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    make_lively_model().save(path)
    return path


def run(*arguments, status=0):
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exit_code == status, result.output + repr(result.exception)
    return result.output


def test_options_of_segment_are_those_of_the_predictor(tmp_path, model_file):
    image = blocky_image(200)[0]
    Image.fromarray(image).save(tmp_path / "a.png")
    arguments = "segment", model_file, tmp_path / "a.png", "--overwrite", "--iterations", 2
    predictor = Predictor(load_model(model_file), tile=64, max_size=120)
    expected = predictor(image, Budget(iterations=2))
    for more in ((), ("--every-iteration",)):
        run(*arguments, "--out", tmp_path / "out", "--tile", 64, "--max-size", 120, *more)
        found = np.asarray(Image.open(tmp_path / "out" / "a_classes.png"))
        np.testing.assert_array_equal(found, expected)


def test_mistakes_are_one_line(tmp_path, model_file):
    Image.fromarray(blocky_image(200)[0]).save(tmp_path / "a.png")
    clip = clips.write(tmp_path / "in.mp4", clips.scene(2))
    (tmp_path / "model.tflite").touch()
    out = tmp_path / "out"
    segment = "segment", model_file, tmp_path / "a.png", "--out", out
    for arguments, message in (
        ((*segment, "--tile", 40), "tile=40: expected 0 for no tiles, or at least 64 pixels"),
        ((*segment, "--max-size", 3), "max_size=3: expected at least one output stride"),
        ((*segment, "--max-size", 99, "--milliseconds", 9), "latencies are measured on whole"),
        (
            ("video", tmp_path / "model.tflite", clip, out, "--tile", 256),
            "--tile 256: .*model.tflite is a LiteRT file",
        ),
    ):
        (line,) = run(*arguments, status=2).strip().splitlines()
        assert line.startswith("error: ")
        assert re.search(message, line), line
        assert not out.exists()


def test_videos_of_smaller_frames_and_tiles(tmp_path, model_file):
    clip = clips.write(tmp_path / "in.mp4", clips.scene(2, size=(96, 160)))
    for number, options in enumerate((("--max-size", 80), ("--tile", 80))):
        out = tmp_path / str(number)
        run("video", model_file, clip, out, *options)
        assert Image.open(out / "000001.png").size == (160, 96)
