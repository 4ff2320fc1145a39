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

    They have one stride, one stage and no checksum.
    """
    one_stage = dict(early_iterations=(), encoder_outputs=(("prepared",),))
    expected = dataclasses.replace(INFO, canvas_stride=16, **one_stage)
    path = tmp_path / "model.tflite"
    path.write_bytes(expected.append_to(b"TFL3"))
    with zipfile.ZipFile(path) as archive:
        content = json.loads(archive.read("rnnseg.json"))
    assert content["start"] == content.pop("initial_state") == {"canvas": [0.5, -0.25]}
    for name in ("canvas_stride", "early_iterations", "encoder_outputs", "sha256",
                 "early_multiply_adds"):  # fmt: skip
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
    with pytest.raises(UserError, match="none.tflite cannot be read: No such file"):
        ModelInfo.load(tmp_path / "none.tflite")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"recurrent": ...}, "recurrent is missing"),
        ({"kind": "other"}, "kind is \"other\", expected 'anytime' or 'segment'"),
        ({"size": [-5, 49]}, r"size\[0\] is -5, expected at least 1"),
        ({"size": [10**12, 49]}, r"size\[0\] is 1000000000000, expected at most 32768"),
        ({"size": [33]}, r"size\[1\] is missing"),
        ({"output_stride": "16"}, 'output_stride is "16", expected a whole number'),
        ({"output_stride": 0}, "output_stride is 0, expected at least 1"),
        ({"canvas_stride": 32}, "canvas_stride is 32, expected at most output_stride, 16"),
        ({"classes": None}, "classes is null, expected a list"),
        ({"classes": []}, r"classes is \[\], expected 1 or more elements"),
        ({"colors": [[0, 0, 0]]}, "colors has 1 elements, expected 2, one per class"),
        ({"colors": [[0, 0, 0], [0, 0, 256]]}, r"colors\[1\]\[2\] is 256, expected at most 255"),
        ({"encoder_outputs": []}, "encoder_outputs has 0 elements, expected 2, one of at least"),
        ({"iterations": True}, "iterations is true, expected a whole number"),
        ({"state": {"h_0": 10**30}}, "state.h_0 is 10+…0+, expected a number of at most 63 bits"),
        ({"initial_state": {"h_0": [0.5]}}, "initial_state.h_0 has 1 elements, expected 8"),
        ({"initial_state": {"h_9": [0.5]}}, "initial_state has the key 'h_9', expected one of"),
        ({"multiply_adds": {"encode": 12}}, "multiply_adds.prepare is missing"),
        ({"multiply_adds": {"encode": -12}}, "multiply_adds.encode is -12, expected at least 0"),
        ({"miou": {"1": float("nan")}}, "miou.1 is nan, expected a finite number"),
        ({"miou": {"1": 61.2}}, "miou.1 is 61.2, expected at most 1"),
        ({"miou": {"one": 0.5}}, 'miou has the key "one", expected a whole number'),
        ({"scored_on": 5}, "scored_on is 5, expected a text"),
    ],
)
def test_metadata_that_cannot_be_true_are_refused(tmp_path, changes, message):
    content = json.loads(INFO.texts()["rnnseg.json"]) | changes
    content = {key: value for key, value in content.items() if value is not ...}
    path = write_metadata(tmp_path, json.dumps(content))
    with pytest.raises(UserError, match=f"^{path}, rnnseg.json: {message}") as caught:
        ModelInfo.load(path)
    assert str(caught.value).endswith("; export the model again")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "not valid JSON .it is empty"),
        ("[]", "the content is .*, expected an object"),
        ("[" * 100_000, "more than 32 lists and objects in one another"),
        ('{"kind": "anytime", "kind": "segment"}', "not valid JSON .the key 'kind' is there twice"),
        (b'{"kind": "\xff"}', "no UTF-8 text"),
        (" " * (1 << 25), "more than 16777216 bytes"),
    ],
    ids=["empty", "list", "deep", "twice", "bytes", "bomb"],
)
def test_metadata_that_are_none_are_refused(tmp_path, text, message):
    path = write_metadata(tmp_path, text)
    with pytest.raises(UserError, match=f"^{path}, rnnseg.json: {message}"):
        ModelInfo.load(path)


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_that_unpack_to_any_size_are_refused(tmp_path, kind):
    path = tmp_path / "model.tflite"
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("rnnseg.json", INFO.texts()["rnnseg.json"])
    with pytest.raises(UserError, match="model.tflite has no metadata"):
        ModelInfo.load(path)


def test_keys_of_later_versions_are_left_out(tmp_path):
    content = json.loads(INFO.texts()["rnnseg.json"]) | {"of_a_later_version": [1, 2]}
    assert ModelInfo.load(write_metadata(tmp_path, json.dumps(content))) == INFO


def write_metadata(folder, text):
    path = folder / "model.tflite"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rnnseg.json", text)
    return path
