import dataclasses
import json
import re
import shlex
import sys

import numpy as np
import pytest
from PIL import Image

import rnnseg
from rnnseg import UserError, visualize
from rnnseg.budgets.budget import OperatingPoint
from rnnseg.budgets.profiles import Machine
from rnnseg.budgets.scaling import scaled_costs
from rnnseg.cli import main
from rnnseg.demos import photographs
from tests.support.models import make_lively_model
from tests.support.sources import halves
from tests.video import clips

MEDIA = photographs._MEDIA
# The best point is not the last of the file, and the third is beaten by the second.
SCORES = ((0.5, 1, 0.36), (0.5, 2, 0.4), (0.5, 3, 0.3), (1.0, 2, 0.7), (1.0, 3, 0.6))
BEST = 2
SIZE = (50, 66)


@pytest.fixture(scope="module")
def model():
    return make_lively_model(iterations=3)


@pytest.fixture(scope="module")
def preset(model, tmp_path_factory):
    """A preset with the scores that `rnnseg evaluate` writes."""
    folder = tmp_path_factory.mktemp("presets") / "tiny"
    model.save_to_preset(folder)
    rows = [
        {
            "iterations": iterations,
            "miou": miou,
            "multiply_adds": scaled_costs(model, 40, 50, scale).total(iterations),
            "milliseconds": 10.0 * iterations,
            "scale": scale,
        }
        for scale, iterations, miou in SCORES
    ]
    content = {"data": "drawn", "split": "val", "images": 7, "image_size": [40, 50]}
    content |= {"scales": [1.0], "flip": False, "results": rows}
    content["machine"] = dataclasses.asdict(Machine.this())
    (folder / "scores_val.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(autouse=True)
def small_media(monkeypatch, tmp_path):
    """Small images and a small clip in place of those of the package."""
    folder = tmp_path / "media"
    folder.mkdir()
    for index, name in enumerate(photographs._PHOTOGRAPHS):
        image = halves(1, *SIZE, seed=index)[0][0]
        Image.fromarray(image).save(folder / name)
    clips.write(folder / photographs._CLIP, clips.scene(3))
    (folder / "CREDITS.md").write_text("credits")
    monkeypatch.setattr(photographs, "_MEDIA", folder)
    return folder


def tables(printed):
    """The rows of numbers that were printed."""
    lines = re.findall(r"^ +(\d.*)$", printed, re.MULTILINE)
    return [tuple(map(float, line.split())) for line in lines]


def test_the_demo_shows_the_best_points_and_replaces_others(tmp_path, capsys, preset, small_media):
    pytest.importorskip("cv2")
    out = tmp_path / "demo"
    (out / "run").mkdir(parents=True)
    for name in ("demo.json", "run/stale", "scores.json", "curve.png", "notes.txt"):
        (out / name).write_text("{}")
    photographs.run(out, preset)
    kinds = [f"{stem}_{kind}.png" for stem in ("astronaut", "cat", "dogs")
             for kind in ("overlay", "points")]  # fmt: skip
    written = {*kinds, "CREDITS.md", "clip_overlay.mp4", "curve.png"}
    found = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert found == {*written, "demo.json", "notes.txt"}
    assert Image.open(out / "curve.png").width > 500

    # The overlay is that of a model that is read from the preset and given the best number.
    loaded = rnnseg.load_model(preset)
    for name in photographs._PHOTOGRAPHS:
        image = np.asarray(Image.open(small_media / name).convert("RGB"))
        labels = loaded.predict_classes(image, rnnseg.Budget(iterations=BEST))
        drawn = np.asarray(Image.open(out / name.replace(".jpg", "_overlay.png")))
        expected = visualize.overlay(image, np.asarray(labels), loaded.colors)
        np.testing.assert_array_equal(drawn[: SIZE[0], : SIZE[1]], expected)
        # A row of the image and three points, each of two inches.
        strip = Image.open(out / name.replace(".jpg", "_points.png"))
        assert strip.width == 8 * visualize.DOTS_PER_INCH

    printed = capsys.readouterr().out
    rows = tables(printed)
    assert len(rows) == 9 and rows[0][:2] == (1, 0.5)
    for iterations, scale, gmacs, milliseconds, miou in rows:
        assert (scale, iterations, miou / 100) in SCORES and miou != 30 and miou != 60
        count = scaled_costs(loaded, *SIZE, scale).total(int(iterations))
        assert gmacs == pytest.approx(count / 1e9, abs=5e-4) and milliseconds > 0
    assert "clip_overlay.mp4: 3 frames" in printed
    assert frames_of(out / "clip_overlay.mp4") == 3


def frames_of(path):
    import av

    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_the_commands_to_type_next_are_commands(tmp_path, capsys, preset, model):
    photographs.run(tmp_path / "demo", preset)
    lines = re.findall(r"^ +rnnseg (.+)$", capsys.readouterr().out, re.MULTILINE)
    assert len(lines) == 6
    for line in lines:
        name, *words = shlex.split(line)
        with main.commands[name].make_context(name, words) as context:
            assert str(preset) in line or name == "prepare"
            if gmacs := context.params.get("gmacs"):
                # It pays for the second of three points, and not for the third.
                assert gmacs >= scaled_costs(model, *SIZE, 0.5).total(2) / 1e9
                assert gmacs < scaled_costs(model, *SIZE).total(2) / 1e9


def test_without_the_video_libraries_the_clip_is_left_out(tmp_path, capsys, preset, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("rnnseg.video.")]:
        if name != "rnnseg.video.segmenter":
            monkeypatch.delitem(sys.modules, name)
    for name in ("outputs", "segmenting", "sources"):
        monkeypatch.delattr(f"rnnseg.video.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "av", None)
    photographs.run(tmp_path / "demo", preset)
    printed = capsys.readouterr().out
    assert "clip.mp4 was left out: video needs the package av" in printed
    assert "pip install 'rnnseg[video]'" in printed and "next, with" in printed
    assert (tmp_path / "demo" / "curve.png").exists()
    assert not (tmp_path / "demo" / "clip_overlay.mp4").exists()


def test_a_wrong_preset_leaves_an_earlier_demo_alone(tmp_path, preset):
    out = tmp_path / "demo"
    out.mkdir()
    for name in ("demo.json", "curve.png"):
        (out / name).write_text("{}")
    with pytest.raises(UserError, match="no preset 'nothing'"):
        photographs.run(out, "nothing")
    assert (out / "curve.png").read_text() == "{}"


def point(cost, miou):
    return OperatingPoint("a", 1, miou, cost, 1.0)


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ([1, 2, 4, 8, 16, 32, 64, 128, 256], [1, 4, 16, 64, 256]),
        ([1, 98, 99, 100], [1, 98, 99, 100]),
        ([1, 96, 97, 98, 99, 100], [1, 96, 97, 98, 100]),
        ([1, 1.01, 1.02, 1.03, 1.04, 1.05, 100], [1, 1.03, 1.04, 1.05, 100]),
        ([5], [5]),
    ],
)
def test_points_are_spread_over_the_costs(costs, expected):
    points = [point(cost, 0.6 + index / 100) for index, cost in enumerate(costs)]
    beaten = [point(cost + 0.001, each.miou) for each, cost in zip(points, costs, strict=True)]
    useless = point(0.5, 0.29)
    found = photographs.spread([*beaten, *points[::-1], useless], 5)
    assert [each.gmacs for each in found] == expected


def test_the_media_of_the_package_are_credited():
    text = (MEDIA / "CREDITS.md").read_text()
    names = {path.name for path in MEDIA.iterdir()} - {"CREDITS.md"}
    assert names == {*photographs._PHOTOGRAPHS, photographs._CLIP}
    for name in names:
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        assert re.search(r"\[CC|public domain", row)
    for name in photographs._PHOTOGRAPHS:
        assert max(Image.open(MEDIA / name).size) <= photographs._SIDE
