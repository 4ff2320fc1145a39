import pathlib

import numpy as np
import pytest
from PIL import Image

from rnnseg import data
from rnnseg.models.baselines.deeplabv3 import DeepLabV3
from tests.support.litert import write_anytime
from tests.support.models import make_model
from tests.support.sources import halves, make_source


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> pathlib.Path:
    """A folder with a recurrent model of three classes, and a feed-forward one."""
    folder = tmp_path_factory.mktemp("models")
    make_model(num_classes=3, iterations=2).save(folder / "model.keras")
    DeepLabV3(3, encoder="small_cnn", encoder_weights=None, output_stride=8, head_channels=4).save(
        folder / "feed_forward.keras"
    )
    return folder


@pytest.fixture
def open_as(monkeypatch):
    """Makes every data set that a command opens a given one."""

    def patch(source):
        monkeypatch.setattr(data, "open_source", lambda name: source)
        return source

    return patch


@pytest.fixture
def source(open_as):
    """The data set that commands open: three images of three classes."""
    return open_as(make_source({"val": halves(3, 41, 57)}))


@pytest.fixture(scope="session")
def anytime(tmp_path_factory) -> pathlib.Path:
    """An exported model of four classes and three iterations, for images of 41x57."""
    return write_anytime(make_model(iterations=3), (41, 57), tmp_path_factory.mktemp("anytime"))


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> pathlib.Path:
    """A folder of three images."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(3):
        image = np.random.default_rng(index).integers(0, 256, (60, 50, 3), np.uint8)
        Image.fromarray(image).save(folder / f"{index}.png")
    return folder
