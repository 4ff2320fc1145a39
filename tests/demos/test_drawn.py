import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from rnnseg import UserError
from rnnseg.demos import drawn
from rnnseg.training import loop
from tests.support.sources import halves, tiny_source

SMALL = dataclasses.replace(
    drawn.CONFIG,
    hidden_channels=(6, 5),
    crop=(24, 24),
    batch_size=4,
    epochs=1,
    iterations=2,
    iteration_weights=(1.0, 3.0),
)


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    source = tiny_source(train=4, val=4)
    monkeypatch.setattr(drawn, "open_source", lambda data: source)
    monkeypatch.setattr(loop, "open_source", lambda data: source)


def test_demo_leaves_its_images_and_can_be_repeated(tmp_path, capsys):
    out = tmp_path / "demo"
    for _ in range(2):
        if out.exists():
            (out / "notes.txt").write_text("of the user")
            (out / "run" / "stale").touch()
        drawn.run(out, SMALL)
        scores = json.loads((out / "scores.json").read_text())
        assert [row["iterations"] for row in scores["results"]] == [1, 2, 3, 4]
        printed = capsys.readouterr().out
        for name in ("curve.png", "iterations.png"):
            assert Image.open(out / name).width > 500 and str(out / name) in printed
        image, _ = halves(4, 43, 51, seed=1)[3]
        np.testing.assert_array_equal(Image.open(out / "image.png"), image)
        assert list((out / "run" / "logs").rglob("events*"))
    assert (out / "notes.txt").read_text() == "of the user"
    assert not (out / "run" / "stale").exists()


def test_demo_leaves_other_folders_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and holds no earlier demo"):
        drawn.run(tmp_path, SMALL)
    assert (tmp_path / "letter.txt").read_text() == "mine"
