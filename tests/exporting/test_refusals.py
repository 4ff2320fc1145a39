"""Errors before anything is converted, and failures during the export."""

import errno
import json
import os

import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from rnnseg import UserError
from rnnseg.exporting import export, litert, processes, quantization, saved_model
from rnnseg.files import atomic_folder
from tests.support.models import make_model
from tests.support.sources import tiny_source


@pytest.fixture(scope="module")
def model():
    return make_model(num_classes=3)


def refused(model, out, message, **options):
    with pytest.raises(UserError, match=message):
        export.export_model(model, out, **options)
    assert not (out.exists() and list(out.glob("*.tflite")))


def test_wrong_arguments(model, tmp_path):
    out = tmp_path / "out"
    refused(model, out, "quantize int4: expected some of float16, dynamic", quantize=("int4",))
    refused(model, out, "limit 0: expected at least 1", limit=0)
    refused(model, out, "smaller than one output stride", size=(7, 40))
    refused(model, out, "no images to compare the files on: give .* --data, or .* --images")
    refused(model, out, "--data and --images: give one", data="x", images=["y"])
    refused(model, out, "nowhere: no image found", images=["nowhere"])


def test_data_of_other_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "open_source", lambda data: tiny_source())
    refused(make_model(), tmp_path / "out", "the model has 4 classes but tiny has 3", data="tiny")


def test_data_that_has_gone(tmp_path):
    model = make_model()
    (tmp_path / "config.json").write_text(json.dumps({"crop": [40, 48], "data": "gone"}))
    model.loaded_from = str(tmp_path)
    refused(
        model, tmp_path / "out", f"data that {tmp_path} was trained on cannot be opened.*--data"
    )


def test_what_is_there_is_not_touched(model, tmp_path):
    for path in (tmp_path, tmp_path / "file"):
        (tmp_path / "file").write_text("mine")
        for overwrite in (False, True):
            refused(model, path, "is not an export: choose another --out", overwrite=overwrite)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["notes.txt", "anytime_old.tflite", "saved_model/notes.txt", "mine/anytime.tflite"]
)
def test_an_export_with_something_else_in_it_is_not_replaced(model, tmp_path, name):
    out = tmp_path / "out"
    (out / "saved_model" / "variables").mkdir(parents=True)
    for each in ("parity.json", "anytime_int8.tflite", "saved_model/variables/variables.index"):
        (out / each).touch()
    assert export._check_out(out, overwrite=True) == out
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("mine")
    with pytest.raises(UserError, match=f"{name} is not part of an export and would be lost"):
        export.export_model(model, out, overwrite=True)
    assert (out / name).read_text() == "mine" and (out / "parity.json").exists()


def test_a_folder_that_cannot_be_replaced(model, tmp_path, monkeypatch):
    """The error comes before anything is converted."""
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(export, "open_source", lambda data: tiny_source())
    monkeypatch.setattr(export, "_write", lambda *args: pytest.fail("the work began"))

    def busy(path, other):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)

    monkeypatch.setattr(os, "replace", busy)
    refused(model, tmp_path / "out", "out cannot be replaced as a whole .*such as", data="tiny")


def test_a_saved_model_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    class Archive:
        def write_out(self, folder, verbose):
            message = f"{{{{node}}}} {folder}/variables; File too large [Op:SaveV2]"
            raise tf.errors.ResourceExhaustedError(None, None, message)

    monkeypatch.setattr(saved_model.keras.export, "ExportArchive", Archive)
    with pytest.raises(OSError) as told, atomic_folder(tmp_path / "out") as folder:
        saved_model.write({}, folder / "saved_model")
    assert told.value.filename == str(tmp_path / "out")
    assert told.value.strerror == "File too large"


def test_custom_operators_are_found():
    file = schema.ModelT()
    file.operatorCodes = [schema.OperatorCodeT()]
    file.operatorCodes[0].builtinCode = schema.BuiltinOperator.CUSTOM
    file.operatorCodes[0].customCode = "FlexErfinv"
    builder = schema.flatbuffers.Builder()
    builder.Finish(file.Pack(builder), b"TFL3")
    with pytest.raises(UserError, match="needs FlexErfinv"):
        litert.check_builtin(bytes(builder.Output()))


def test_a_failing_quantizer_says_why():
    with pytest.raises(UserError, match="cannot be quantized as dynamic: .*; export it without"):
        quantization.quantize({"anytime": b"no file", "segment": b"no file"}, "dynamic", [])


def test_a_program_that_dies_is_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "__file__", str(tmp_path / "__init__.py"))
    (tmp_path / "dies.py").write_text("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(processes.ProcessError, match="ended by signal 9"):
        processes.run("dies")
    (tmp_path / "gives_up.py").write_text("import sys; print('x'); sys.exit(sys.argv[1])")
    with pytest.raises(processes.ProcessError, match="^because$"):
        processes.run("gives_up", "because")
