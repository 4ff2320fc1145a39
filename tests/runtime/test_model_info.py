"""What an exported file says of itself."""

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
    padding=(127, 127, 127),
    iterations=6,
    state={"h_0": 8, "c_0": 8},
    start={"canvas": (0.5, -0.25)},
    multiply_adds={"encode": 12, "prepare": 3, "refine": 4, "read": 0},
    miou={1: 0.5, 6: 0.625},
    scored_on="data/mine val",
)


@pytest.mark.parametrize(
    "info", [INFO, dataclasses.replace(INFO, size=None, multiply_adds=None, miou=None, start={})]
)
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


def test_files_of_others_are_refused(tmp_path):
    for number, content in enumerate((b"", b"TFL3 of another maker", INFO.append_to(b"x")[:-30])):
        path = tmp_path / f"{number}.tflite"
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{number}.tflite does not say .*`rnnseg export`"):
            ModelInfo.load(path)
    with zipfile.ZipFile(tmp_path / "odd.tflite", "w") as archive:
        archive.writestr("rnnseg.json", json.dumps({"kind": "anytime"}))
    with pytest.raises(UserError, match="odd.tflite does not say"):
        ModelInfo.load(tmp_path / "odd.tflite")
    with pytest.raises(UserError, match="none.tflite cannot be read: No such file"):
        ModelInfo.load(tmp_path / "none.tflite")
