"""The preset that comes with the package, on the photographs that come with it."""

import pathlib

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import rnnseg
from rnnseg import demos
from rnnseg.cli import main
from rnnseg.data.tables import PASCAL_VOC
from rnnseg.pretrained import names, preset
from rnnseg.runtime import Segmenter

MEDIA = pathlib.Path(demos.__file__).parent / "media"
# What a photograph shows, and the least share of its pixels.
SHOWN = {"cat.jpg": ("cat", 0.3), "dogs.jpg": ("dog", 0.03), "astronaut.jpg": ("person", 0.2)}


def share(classes, name):
    return (classes == PASCAL_VOC.names.index(name)).mean()


def image(name):
    return np.asarray(Image.open(MEDIA / name).convert("RGB"))


def test_it_is_listed_with_its_scores_and_is_undamaged():
    info = rnnseg.presets()[names.DEFAULT]
    assert info.classes == PASCAL_VOC.names and info.license == "Apache-2.0"
    assert info.best.miou == max(row.miou for row in info.scores) > 0.4
    costs = [row.multiply_adds for row in info.scores]
    assert costs == sorted(costs) and costs[-1] > 3 * costs[0]
    found = names.open_preset(names.DEFAULT)
    for name in (preset.CONFIG, preset.WEIGHTS, preset.LITERT):
        assert found.file(name).stat().st_size < 10e6
    result = CliRunner().invoke(main, ["presets"])
    assert result.exit_code == 0 and "mobilenet_v2_voc (the default)" in result.stdout
    card = CliRunner().invoke(main, ["presets", names.DEFAULT]).stdout
    for title in ("Training data", "What it is bad at", "Licence of the weights", "Scores"):
        assert f"\n## {title}\n" in card


@pytest.mark.parametrize("name", SHOWN)
def test_the_file_for_devices_finds_what_a_photograph_shows(name):
    shown, least = SHOWN[name]
    segmenter = Segmenter(names.DEFAULT, threads=2)
    assert share(segmenter(image(name)).classes, shown) > least


def test_a_photograph_is_segmented_without_naming_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["segment", str(MEDIA / "cat.jpg")])
    assert result.exit_code == 0, result.output
    assert "model: the preset mobilenet_v2_voc, since none is named" in result.stdout
    classes = np.asarray(Image.open(tmp_path / "segmented" / "cat_classes.png"))
    assert share(classes, "cat") > SHOWN["cat.jpg"][1] and "cat " in result.stdout
    # The int8 file, letterboxed to its size, agrees with the float model but for the borders.
    other = Segmenter(names.DEFAULT)(image("cat.jpg")).classes
    assert (classes == other).mean() > 0.9
