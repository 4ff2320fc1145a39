import inspect
import json
import types

import numpy as np
import pytest

import rnnseg
from rnnseg.errors import UserError
from rnnseg.models.baselines.pspnet import PSPNet
from rnnseg.pretrained import hub, names, preset
from tests.support.models import make_model

SIZE = (32, 40)


@pytest.fixture(scope="module")
def model():
    made = make_model(num_classes=3, class_names=("sky", "road", "car"))
    made.loaded_from = None
    return made


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets") / "tiny"
    model.save_to_preset(folder, description="Tiny.", data="Drawn.", license="Apache-2.0")
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    """A preset that a test may damage."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in saved.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def image():
    return np.random.default_rng(1).integers(0, 256, (1, *SIZE, 3), np.uint8)


def change(folder, **changes):
    path = folder / preset.METADATA
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("load", [rnnseg.load_model, rnnseg.RecurrentSegmenter.from_preset])
def test_it_gives_the_model_with_weights_of_half_the_precision(model, saved, load):
    found = load(saved)
    assert found.names == model.names and found.colors == model.colors
    assert found.loaded_from == str(saved)
    for ours, theirs in zip(found.weights, model.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2**-10, atol=2**-24)
    np.testing.assert_allclose(found(image()), model(image()), atol=0.02)


def test_a_folder_has_the_files_of_kerashub_and_a_card(saved):
    expected = {"config.json", "model.weights.h5", "metadata.json", "README.md"}
    assert {each.name for each in saved.iterdir()} == expected
    card = (saved / "README.md").read_text()
    for text in ("# tiny", "license: apache-2.0", "Drawn.", "sky, road, car"):
        assert text in card
    found = names.open_preset(saved)
    assert found.metadata.classes == ("sky", "road", "car") and names.is_preset(saved)
    assert not found.has(preset.LITERT)


def test_scores_of_the_run_come_along(tmp_path, model):
    row = {"iterations": 2, "miou": 0.5, "multiply_adds": 2e9, "milliseconds": 1.0, "scale": 0.5}
    row["class_iou"] = {"sky": 0.9, "road": 0.1, "car": None}
    scores = dict(data="mine", split="val", images=7, image_size=[32, 40], results=[row])
    scores |= dict(scales=[1.0], flip=False)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "scores_val.json").write_text(json.dumps(scores))
    model.loaded_from = str(tmp_path / "run")
    model.save_to_preset(tmp_path / "scored")
    model.loaded_from = None
    assert json.loads((tmp_path / "scored" / preset.SCORES).read_text()) == scores
    card = (tmp_path / "scored" / preset.CARD).read_text()
    assert "| 2 | 0.5 | 50.0 | 2.000 |" in card and "sky 90, road 10." in card


def test_other_classes_keep_the_weights_of_the_same_names(model, saved):
    new = rnnseg.RecurrentSegmenter.from_preset(saved, class_names=("road", "tree", "sky"))
    assert new.names == ("road", "tree", "sky") and new.transfer.same_classes == ("road", "sky")
    more = rnnseg.RecurrentSegmenter.from_preset(saved, num_classes=5, iterations=2)
    assert more.num_classes == 5 and more.iterations == 2 and "encoder" in more.transfer.taken
    head = PSPNet.from_preset(saved, num_classes=2)
    assert isinstance(head, PSPNet) and "encoder" in head.transfer.taken
    with pytest.raises(UserError, match="is a RecurrentSegmenter"):
        PSPNet.from_preset(saved)


def test_names_stand_for_what_comes_with_the_package(saved, monkeypatch):
    monkeypatch.setattr(names, "_BUNDLED", saved.parent)
    assert list(rnnseg.presets()) == ["tiny"] and rnnseg.presets()["tiny"].data == "Drawn."
    assert rnnseg.load_model("tiny").loaded_from == "tiny"
    with pytest.raises(UserError, match=r"no preset 'tny': expected a preset \(tiny\),.*mean tiny"):
        names.open_preset("tny")


@pytest.mark.parametrize("name", [preset.CONFIG, preset.WEIGHTS])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_damaged_files_are_named(copy, name, damage):
    path = copy / name
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        path.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
    else:
        path.unlink()
    with pytest.raises(UserError, match=name.replace(".", r"\.")) as caught:
        rnnseg.RecurrentSegmenter.from_preset(copy)
    assert "damaged, or only a part" in str(caught.value) or "cannot be read" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2, "rnnseg_version": "9.1"}, "format 2, made by rnnseg 9.1.*update rnnseg"),
        ({"classes": []}, "classes"),
        ({"files": {"../../secret": "0"}}, "files are ../../secret, expected"),
        ({"parameters": "many"}, 'parameters is "many"'),
    ],
)
def test_wrong_metadata_are_named(copy, changes, message):
    change(copy, **changes)
    with pytest.raises(UserError, match=message):
        names.open_preset(copy)


def test_other_objects_than_models_are_refused(copy):
    layer = {"module": "keras.layers", "class_name": "ReLU", "config": {}, "registered_name": None}
    (copy / preset.CONFIG).write_text(json.dumps(layer))
    files = {name: preset.checksum(copy / name) for name in (preset.CONFIG, preset.WEIGHTS)}
    change(copy, files=files)
    with pytest.raises(UserError, match="holds a ReLU; expected a model of rnnseg"):
        rnnseg.load_model(copy)


def test_wrong_calls(tmp_path, saved, model):
    with pytest.raises(UserError, match="exists already"):
        model.save_to_preset(saved)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no metadata.json; expected a folder"):
        names.open_preset(tmp_path / "empty")
    with pytest.raises(UserError, match="no preset"):
        rnnseg.RecurrentSegmenter.from_preset(tmp_path / "none")
    with pytest.raises(UserError, match="has no anytime_int8.tflite"):
        rnnseg.runtime.Segmenter(saved)


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    broken = make_model()
    broken.weights[-1].assign(np.nan * broken.weights[-1])
    broken.save_to_preset(tmp_path / "broken")
    with pytest.raises(UserError, match="model.weights.h5: .*not finite numbers"):
        rnnseg.RecurrentSegmenter.from_preset(tmp_path / "broken")


# --- the hub ---


class StubbedHub(types.SimpleNamespace):
    """The three functions of `huggingface_hub` that are used, on a folder."""

    def __init__(self, folder):
        super().__init__(folder=folder, calls=[])

    def snapshot_download(self, repo, revision, allow_patterns):
        self.calls.append((repo, revision))
        if self.folder is None:
            raise ConnectionError("no route to host\nsecond line")
        assert {each.name for each in self.folder.iterdir()} <= set(allow_patterns)
        return str(self.folder)

    def create_repo(self, repo, private, exist_ok):
        self.calls.append((repo, private, exist_ok))

    def upload_folder(self, repo_id, folder_path, revision, allow_patterns):
        self.calls.append((repo_id, sorted(allow_patterns)))
        return f"the address of {repo_id}"


def test_presets_come_from_the_hub(saved, monkeypatch, model):
    stub = StubbedHub(saved)
    monkeypatch.setattr(hub, "_library", lambda: stub)
    found = rnnseg.RecurrentSegmenter.from_preset("hf://me/tiny@v1")
    assert stub.calls == [("me/tiny", "v1")] and found.names == model.names
    stub.folder = None
    with pytest.raises(UserError, match="no route to host.*check the name and the network") as no:
        rnnseg.load_model("hf://me/tiny")
    assert "\n" not in str(no.value)
    with pytest.raises(UserError, match="expected hf://USER/REPO"):
        rnnseg.load_model("hf://tiny")


def test_a_preset_is_published(saved, copy, monkeypatch):
    stub = StubbedHub(None)
    monkeypatch.setattr(hub, "_library", lambda: stub)
    assert hub.upload_to_hub(saved, "hf://me/tiny", private=True) == "the address of me/tiny"
    files = sorted([preset.CARD, preset.CONFIG, preset.METADATA, preset.WEIGHTS, preset.SCORES])
    assert stub.calls == [("me/tiny", True, True), ("me/tiny", files)]
    (copy / preset.WEIGHTS).write_bytes(b"part")
    with pytest.raises(UserError, match="only a part"):
        hub.upload_to_hub(copy, "hf://me/tiny")


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'rnnseg\[hub\]'"):
        rnnseg.load_model("hf://me/tiny")


def test_the_stub_is_called_as_the_library_is():
    library = pytest.importorskip("huggingface_hub")
    for name, positional, named in (
        ("snapshot_download", ("me/tiny",), dict(revision=None, allow_patterns=[])),
        ("create_repo", ("me/tiny",), dict(private=False, exist_ok=True)),
        ("upload_folder", (), dict(repo_id="", folder_path="", revision="", allow_patterns=[])),
    ):
        inspect.signature(getattr(library, name)).bind(*positional, **named)
