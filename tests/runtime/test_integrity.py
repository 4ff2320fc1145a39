"""Damaged files, and files whose metadata do not fit, in the runtime."""

import dataclasses
import hashlib
import json
import zipfile

import numpy as np
import pytest

from rnnseg import UserError
from rnnseg.runtime.file_model import FileModel
from rnnseg.runtime.integrity import check_file, checksum
from rnnseg.runtime.model_info import ModelInfo
from rnnseg.runtime.segmenter import Segmenter
from tests.support.litert import make_info

IMAGE = np.full((41, 57, 3), 90, np.uint8)


@pytest.fixture
def parts(fixed_file):
    """The flat buffer of a file and its metadata."""
    with zipfile.ZipFile(fixed_file) as archive:
        end = min(each.header_offset for each in archive.infolist())
        content = json.loads(archive.read("rnnseg.json"))
    return fixed_file.read_bytes()[:end], content


def write_earlier(path, model: bytes, content):
    """Writes a file as earlier versions did, without a checksum."""
    path.write_bytes(model)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(
            "rnnseg.json", json.dumps({k: v for k, v in content.items() if k != "sha256"})
        )
    return path


def test_the_checksum_is_that_of_the_flat_buffer(fixed_file, parts):
    model, content = parts
    assert content["sha256"] == hashlib.sha256(model).hexdigest() == checksum(model)
    assert ModelInfo.load(fixed_file).sha256 == content["sha256"]
    check_file(fixed_file, content["sha256"])


@pytest.mark.parametrize("opened", [Segmenter, FileModel])
def test_every_flipped_bit_is_found_before_litert_sees_it(fixed_file, parts, tmp_path, opened):
    data, path = fixed_file.read_bytes(), tmp_path / "flipped.tflite"
    for position in np.linspace(0, len(parts[0]) - 1, 20).astype(int):
        flipped = bytearray(data)
        flipped[position] ^= 4
        path.write_bytes(flipped)
        with pytest.raises(UserError, match=f"^{path} is damaged: .*checksum.*export the model"):
            opened(path)


def test_a_damaged_segment_file_is_found(tmp_path):
    path = tmp_path / "segment.tflite"
    path.write_bytes(b"x" + make_info(kind="segment").append_to(b"TFL3 model")[1:])
    with pytest.raises(UserError, match=f"^{path} is damaged: "):
        FileModel(path)


def test_a_file_of_an_earlier_version_goes_on_working(fixed_file, parts, tmp_path):
    path = write_earlier(tmp_path / "earlier.tflite", *parts)
    assert ModelInfo.load(path).sha256 is None
    found = Segmenter(path)(IMAGE).classes
    np.testing.assert_array_equal(found, Segmenter(fixed_file)(IMAGE).classes)


def test_a_damaged_file_of_an_earlier_version_is_found(parts, tmp_path):
    model, content = parts
    path = write_earlier(tmp_path / "earlier.tflite", model[:20] + model[40:], content)
    with pytest.raises(UserError, match=f"^{path} is damaged: .*export the model again"):
        Segmenter(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"size": (30000, 30000)},
        {"classes": tuple("abcde"), "colors": ((0, 0, 0),) * 5},
        {"state": {"h_0": 6, "c_0": 6}},
        {"early_iterations": (1,), "encoder_outputs": (("prepared",), ("prepared",))},
        {"encoder_outputs": (("features",),)},
        {"recurrent": False, "encoder_outputs": (("canvas",),)},
    ],
)
def test_metadata_that_do_not_fit_the_model(fixed_file, parts, tmp_path, changes):
    path = tmp_path / "other.tflite"
    info = dataclasses.replace(ModelInfo.load(fixed_file), **changes)
    path.write_bytes(info.append_to(parts[0]))
    with pytest.raises(UserError, match=f"^{path}.*: export the model again|; export the model"):
        Segmenter(path)


def test_a_canvas_stride_that_does_not_fit_the_model(fixed_file, parts, tmp_path):
    path = tmp_path / "other.tflite"
    info = dataclasses.replace(ModelInfo.load(fixed_file), canvas_stride=1)
    path.write_bytes(info.append_to(parts[0]))
    with pytest.raises(UserError, match="strides in the metadata"):
        Segmenter(path)(IMAGE)
