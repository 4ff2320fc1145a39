import pytest

from rnnseg.cli.models import names_model, split_model
from rnnseg.pretrained.names import DEFAULT


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The present folder, with a run, a SavedModel, a file of a model, and images."""
    for name in ("run/best.keras", "begun/config.json", "saved/saved_model.pb", "m.tflite"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photo").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "first",
    ["run", "begun", "saved", "m.tflite", "gone.keras", "hf://me/mine", "mobilnet", "no/r"],
)
def test_a_model_comes_first(folder, first, capsys):
    assert split_model([first, "photo", "b.jpg"]) == (first, ("photo", "b.jpg"))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("first", ["photos", "photo", "gone.JPG", "*.jpg", "photos/[ab].png"])
def test_images_alone_are_for_the_default_preset(folder, first, capsys):
    assert split_model([first, "b.jpg"]) == (DEFAULT, (first, "b.jpg"))
    assert f"the preset {DEFAULT}, since none is named" in capsys.readouterr().out


def test_a_single_name_of_nothing_is_an_image_that_is_missing(folder):
    assert split_model(["nothing"]) == (DEFAULT, ("nothing",))
    assert split_model(["run"]) == ("run", ())
    assert not names_model("photos")
