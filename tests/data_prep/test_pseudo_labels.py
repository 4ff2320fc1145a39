import json
import shlex

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from data_prep import pseudo_labels
from data_prep.folder import main as build
from rnnseg.data import open_source
from rnnseg.errors import UserError
from rnnseg.locks import hold_folder


class BrightTeacher:
    """Says 1 to bright pixels and to the first column, and 0 to the others."""

    size = None
    names = colors = None

    def __init__(self, path, input_range=None, threads=None):
        if not path.is_file():
            raise UserError(f"{path}: no such model")
        self.path, self.name, self.checksum = path, path.name, path.read_text()
        self.calls = 0

    def __call__(self, image):
        self.calls += 1
        labels = (image.mean(-1) > 127).astype(np.int32)
        labels[:, 0] = 1
        return labels


@pytest.fixture
def teachers(monkeypatch):
    made = []

    def make(*arguments):
        made.append(BrightTeacher(*arguments))
        return made[-1]

    monkeypatch.setattr(pseudo_labels, "Teacher", make)
    return made


@pytest.fixture
def arguments(tmp_path):
    (tmp_path / "images" / "deep").mkdir(parents=True)
    for index, name in enumerate(("a.jpg", "deep/b.png", "deep/c.png")):
        pixels = np.full((20, 24, 3), 20, np.uint8)
        pixels[:, : 8 * index] = 220
        Image.fromarray(pixels).save(tmp_path / "images" / name)
    (tmp_path / "images" / "._a.jpg").write_bytes(b"hidden")
    (tmp_path / "teacher.tflite").write_text("1")
    (tmp_path / "classes.txt").write_text("dark\nbright\n")
    return [
        *("--teacher", tmp_path / "teacher.tflite", "--images", tmp_path / "images"),
        *("--classes", tmp_path / "classes.txt", "--out", tmp_path / "labels"),
    ]


def run(*arguments, status=0):
    result = CliRunner().invoke(pseudo_labels.main, list(map(str, arguments)))
    assert result.exit_code == status, result.output + repr(result.exception)
    return result.output


def test_the_labels_can_be_built_into_records(tmp_path, arguments, teachers):
    printed = run(*arguments)
    assert "labelled 3 images" in printed and "next: rnnseg prepare folder" in printed
    found = Image.open(tmp_path / "labels" / "deep" / "c.png")
    labels = np.asarray(found)
    assert found.mode == "P" and set(np.unique(labels)) <= {0, 1, 255}
    assert (labels[:, :14] == 1).all() and (labels[:, 18:-2] == 0).all()
    assert teachers[0].calls == 3 * 3 * 2  # images, scales, mirrored
    assert (labels[:, -1] == 255).all()  # mirrored, it is the first column
    command = printed.partition("next: rnnseg prepare folder ")[2].strip()
    command = command.replace("data/NAME", str(tmp_path / "data")).replace("val=0.1", "val=0.4")
    built = CliRunner().invoke(build, [*shlex.split(command), "--processes", "1"])
    assert built.exit_code == 0, built.output
    source = open_source(str(tmp_path / "data"))
    assert source.class_names == ("dark", "bright")


def test_it_goes_on_where_it_was_stopped(tmp_path, arguments, teachers):
    printed = run(*arguments)
    (tmp_path / "labels" / "a.png").unlink()
    before = (tmp_path / "labels" / "deep" / "b.png").stat().st_mtime_ns
    assert run(*arguments) == printed
    assert teachers[1].calls == 6  # of one image
    assert (tmp_path / "labels" / "deep" / "b.png").stat().st_mtime_ns == before


@pytest.mark.parametrize("change", ["teacher", "scales"])
def test_labels_of_two_kinds_are_not_mixed(tmp_path, arguments, teachers, change):
    run(*arguments)
    more = ["--scales", "1"] if change == "scales" else []
    if change == "teacher":
        (tmp_path / "teacher.tflite").write_text("2")
    assert "labels of another teacher" in run(*arguments, *more, status=2)
    settings = json.loads((tmp_path / "labels" / "pseudo_labels.json").read_text())
    assert settings["scales"] == [0.75, 1.0, 1.25] and settings["classes"] == ["dark", "bright"]


def test_one_process_at_a_time_labels_into_a_folder(tmp_path, arguments, teachers):
    with hold_folder(tmp_path / "labels"):
        assert "labels is being written by process" in run(*arguments, status=2)
        assert [path.name for path in (tmp_path / "labels").iterdir()] == [".lock"]
    run(*arguments)
    assert not (tmp_path / "labels" / ".lock").exists()


def test_images_without_labels_are_named_at_the_end(tmp_path, arguments, teachers):
    (tmp_path / "images" / "b.jpg").write_bytes(b"no image")
    printed = run(*arguments, status=2)
    assert "labelled 3 images" in printed and "1 of 4 images have no label" in printed
    assert "b.jpg" in printed


def test_a_class_beyond_the_names_is_an_error(tmp_path, arguments, teachers, monkeypatch):
    monkeypatch.setattr(
        BrightTeacher, "__call__", lambda self, image: np.full(image.shape[:2], 2, np.int32)
    )
    printed = run(*arguments, status=2)
    assert "3 of 3 images" in printed and "class 2, beyond the 2 names" in printed
    assert not list((tmp_path / "labels").rglob("*.png"))


def test_mistakes_are_told_before_the_first_image(tmp_path, arguments, teachers):
    def changed(name, value):
        copy = list(arguments)
        copy[copy.index(name) + 1] = value
        return copy

    assert "names of its classes" in run(*arguments[:4], *arguments[6:], status=2)
    assert "no such folder" in run(*changed("--images", tmp_path / "none"), status=2)
    (tmp_path / "empty").mkdir()
    assert "no image found" in run(*changed("--images", tmp_path / "empty"), status=2)
    assert "no such model" in run(*changed("--teacher", tmp_path / "none"), status=2)
    assert "holds images to label" in run(*changed("--out", tmp_path), status=2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert "not empty" in run(*changed("--out", tmp_path / "mine"), status=2)
    (tmp_path / "images" / "a.png").write_bytes((tmp_path / "images/deep/b.png").read_bytes())
    assert "differ in their endings" in run(*arguments, status=2)
