"""The metadata of exported files."""

import dataclasses
import json
import zipfile

import pytest

from rnnseg.errors import UserError
from rnnseg.runtime.model_info import ModelInfo

INFO = ModelInfo(
    kind="anytime",
    recurrent=True,
    quantization="int8",
    classes=("background", "crème brûlée"),
    colors=((0, 0, 0), (255, 200, 10)),
    size=(33, 49),
    output_stride=16,
    canvas_stride=8,
    early_iterations=(1,),
    encoder_outputs=(("prepared", "block_5_add"), ("prepared",)),
    padding=(127, 127, 127),
    iterations=6,
    state={"h_0": 8, "c_0": 8},
    initial_state={"canvas": (0.5, -0.25)},
    multiply_adds={"encode": 12, "prepare": 3, "refine": 4, "read": 0},
    miou={1: 0.5, 6: 0.625},
    scored_on="data/mine val",
)


# The metadata of `INFO` as version 0.1.0 wrote them.
FIRST_VERSION = {
    "kind": "anytime",
    "recurrent": True,
    "quantization": "int8",
    "classes": ["background", "crème brûlée"],
    "colors": [[0, 0, 0], [255, 200, 10]],
    "size": [33, 49],
    "output_stride": 16,
    "padding": [127, 127, 127],
    "iterations": 6,
    "state": {"h_0": 8, "c_0": 8},
    "start": {"canvas": [0.5, -0.25]},
    "multiply_adds": {"encode": 12, "prepare": 3, "refine": 4, "read": 0},
    "miou": {"1": 0.5, "6": 0.625},
    "scored_on": "data/mine val",
}

SPARSE = dataclasses.replace(INFO, size=None, multiply_adds=None, miou=None, initial_state={})


@pytest.mark.parametrize("info", [INFO, SPARSE])
def test_it_is_read_back_as_it_was_written_and_the_model_stays_in_front(tmp_path, info):
    model = bytes(range(256)) * 40
    path = tmp_path / "model.tflite"
    path.write_bytes(info.append_to(model))
    assert ModelInfo.load(path) == info
    assert path.read_bytes()[: len(model)] == model


def test_any_zip_reader_finds_names_and_numbers(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(INFO.append_to(b"TFL3 model"))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.read("labels.txt").decode().splitlines() == list(INFO.classes)
        assert json.loads(archive.read("rnnseg.json"))["output_stride"] == 16


def test_initial_values_are_those_of_all_tensors():
    zeros = (0.0,) * 8
    assert INFO.initial_values == {"canvas": (0.5, -0.25), "h_0": zeros, "c_0": zeros}
    assert dataclasses.replace(INFO, recurrent=False).initial_values == {}


def test_files_of_the_first_version_are_read(tmp_path):
    """They have the key start, which new files have, too, for apps that were written then.

    They have one stride and one stage.
    """
    one_stage = dict(early_iterations=(), encoder_outputs=(("prepared",),))
    expected = dataclasses.replace(INFO, canvas_stride=16, **one_stage)
    path = tmp_path / "model.tflite"
    path.write_bytes(expected.append_to(b"TFL3"))
    with zipfile.ZipFile(path) as archive:
        content = json.loads(archive.read("rnnseg.json"))
    assert content["start"] == content.pop("initial_state") == {"canvas": [0.5, -0.25]}
    for name in ("canvas_stride", "early_iterations", "encoder_outputs"):
        del content[name]
    assert content.keys() == FIRST_VERSION.keys()
    for each in (content, FIRST_VERSION):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("rnnseg.json", json.dumps(each))
        assert ModelInfo.load(path) == expected
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rnnseg.json", json.dumps(FIRST_VERSION | {"recurrent": False}))
    assert ModelInfo.load(path).encoder_outputs == (("canvas",),)


def test_old_names_work_for_one_more_release():
    with pytest.warns(DeprecationWarning, match="ModelInfo.start is now called initial_state"):
        assert INFO.start == INFO.initial_state
    with pytest.warns(DeprecationWarning, match="ModelInfo.initial is now called initial_values"):
        assert INFO.initial == INFO.initial_values


def test_files_of_others_are_refused(tmp_path):
    for number, content in enumerate((b"", b"TFL3 of another maker", INFO.append_to(b"x")[:-30])):
        path = tmp_path / f"{number}.tflite"
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{number}.tflite has no metadata: .*`rnnseg export`"):
            ModelInfo.load(path)
    with zipfile.ZipFile(tmp_path / "odd.tflite", "w") as archive:
        archive.writestr("rnnseg.json", json.dumps({"kind": "anytime"}))
    with pytest.raises(UserError, match="odd.tflite has no metadata"):
        ModelInfo.load(tmp_path / "odd.tflite")
    with pytest.raises(UserError, match="none.tflite cannot be read: No such file"):
        ModelInfo.load(tmp_path / "none.tflite")
