"""Whole exports, whose files are used by their signatures and metadata alone.

The programs of the export run in the present process; in the test of the command they run in
processes of their own.
"""

import collections
import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from click.testing import CliRunner
from PIL import Image

import rnnseg
from rnnseg import UserError
from rnnseg.budgets import costs
from rnnseg.budgets.profiles import Machine
from rnnseg.cli import main
from rnnseg.exporting import export, processes, quantization, signatures
from rnnseg.exporting.processes import quantize
from rnnseg.models.registry import MODELS
from rnnseg.runtime.file_model import FileCosts
from rnnseg.runtime.model_info import ModelInfo
from tests.support.litert import run_here
from tests.support.models import make_model
from tests.support.sources import halves, tiny_source

SIZE = (41, 57)
# The quantizations of each export; int8 calibrates, and is dynamic outside the encoder.
KINDS = {
    "fixed": ("float32", "float16", "dynamic", "int8"),
    "any_size": ("float32", "int8"),
    "staged": ("float32", "float16", "dynamic", "int8"),
    "staged_any_size": ("float32", "int8"),
    "feed_forward": ("float32", "int8"),
}
# The largest differences of logits, relative to the largest logit.
TOLERANCES = {"float32": 1e-4, "float16": 1e-2, "dynamic": 0.1, "int8": 0.2}


def liven(model, factor):
    """Scales the kernels of a random model; its logits then differ as a trained model's do."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Conv2D):
            layer.kernel.assign(factor * layer.kernel)
    return model


class Run:
    """A model, the folder of its export, and the report."""

    def __init__(self, model, folder, size, kinds, with_onnx=False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(export, "open_source", lambda data: tiny_source())
            patch.setattr(processes, "run", run_here)
            self.model, self.folder, self.size, self.kinds = model, folder, size, kinds
            self.more = ["segment.onnx"] if with_onnx else []
            # The folder of a run has size and data.
            options = {} if model.loaded_from else {"size": size or "any", "data": "tiny"}
            options["with_onnx"] = with_onnx
            self.parity = export.export_model(model, folder, quantize=kinds[1:], **options)

    def path(self, name, kind):
        return self.folder / (f"{name}.tflite" if kind == "float32" else f"{name}_{kind}.tflite")

    def runners(self, name, kind):
        interpreter = Interpreter(str(self.path(name, kind)))
        return {
            each: interpreter.get_signature_runner(each)
            for each in interpreter.get_signature_list()
        }

    def image(self, height, width):
        height, width = self.size or (height, width)
        return np.random.default_rng(7).integers(0, 256, (1, height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    """The export of a run with crop and scores; a fine canvas, two depths, one stage."""
    folder = tmp_path_factory.mktemp("run")
    source = tiny_source()
    model = liven(
        make_model(
            num_classes=3,
            class_names=source.class_names,
            class_colors=source.class_colors,
            canvas_stride=4,
            skip_layers=("stride4_conv1_relu",),
            early_iterations=(),
        ),
        2.4,
    )
    model.save(folder / "best.keras")
    config = {"crop": SIZE, "data": "tiny", "train_split": "train", "val_split": "val"}
    (folder / "config.json").write_text(json.dumps(config))
    rows = [
        {"iterations": n, "miou": miou, "multiply_adds": 1, "milliseconds": 1.0}
        for n, miou in ((1, 0.5), (6, 0.625))
    ]
    scores = {"data": "tiny", "split": "val", "images": 3, "image_size": [43, 51]}
    scores |= {"scales": [1.0], "flip": False, "machine": vars(Machine("chip", 4)), "results": rows}
    (folder / "scores_val.json").write_text(json.dumps(scores))
    out = tmp_path_factory.mktemp("out") / "it"
    return Run(rnnseg.load_model(folder), out, SIZE, KINDS["fixed"])


@pytest.fixture(scope="module")
def any_size(tmp_path_factory):
    """The export for any size; larger kernels, context, a learned start and mixed precision."""
    model = liven(
        make_model(
            num_classes=3,
            kernel_size=3,
            context_channels=4,
            learned_start=True,
            dtype="mixed_bfloat16",
        ),
        2.5,
    )
    for index, value in enumerate(model.stack.initial_values.values()):
        value.assign(tf.random.uniform(value.shape, -0.5, 0.5, seed=index))
    return Run(model, tmp_path_factory.mktemp("out") / "it", None, KINDS["any_size"])


@pytest.fixture(scope="module")
def staged_model():
    """A model with three stages of the encoder, and a canvas finer than the deepest features."""
    return liven(
        make_model(
            num_classes=3,
            canvas_stride=4,
            skip_layers=("stride4_conv1_relu", "stride8_conv1_relu"),
            early_iterations=(1, 2),
        ),
        2.5,
    )


@pytest.fixture(scope="module")
def staged(staged_model, tmp_path_factory):
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("out") / "it"
    return Run(staged_model, folder, SIZE, KINDS["staged"], with_onnx=True)


@pytest.fixture(scope="module")
def staged_any_size(staged_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "it"
    return Run(staged_model, folder, None, KINDS["staged_any_size"])


@pytest.fixture(scope="module")
def feed_forward(tmp_path_factory):
    keras.utils.set_random_seed(5)
    options = dict(encoder="small_cnn", encoder_weights=None, output_stride=8, head_channels=16)
    model = liven(MODELS["deeplabv3"](3, **options), 1.5)
    return Run(model, tmp_path_factory.mktemp("out") / "it", SIZE, KINDS["feed_forward"])


@pytest.fixture(params=KINDS)
def run(request):
    return request.getfixturevalue(request.param)


def shapes(details):
    return {
        name: (tuple(each["shape_signature"].tolist()), each["dtype"])
        for name, each in details.items()
    }


def iterate(run, runners, image, number):
    """Returns the canvas after some iterations, `(h, w, classes)`; the loop is here."""
    info = ModelInfo.load(run.path("anytime", "float32"))
    encoded = runners["encode"](image=image)
    if not info.recurrent:
        return encoded["canvas"][0]
    place = encoded["prepared"].shape[:3]
    channels = {"canvas": len(info.classes)} | info.state
    initial = {name: info.initial_state.get(name, [0.0] * channels[name]) for name in channels}
    state = {
        name: np.broadcast_to(np.float32(values), (*place, channels[name]))
        for name, values in initial.items()
    }
    for done in range(number):
        if done and done in np.cumsum(info.early_iterations):
            stage = 1 + list(np.cumsum(info.early_iterations)).index(done)
            encoded = runners[f"encode_{stage}"](**encoded)
        state = runners["refine"](prepared=encoded["prepared"], **state)
    return state["canvas"][0]


def expected(run, image, number):
    """Returns the canvas and the class map of the Keras model, in float32."""
    model = signatures.in_float32(run.model)
    canvas = model.unroll(tf.constant(image), number)[-1]
    return canvas[0].numpy(), model.read(canvas, image.shape[1:3])[0].numpy()


def test_all_files_are_there_and_nothing_beside_them(run):
    names = {run.path(name, kind).name for name in ("anytime", "segment") for kind in run.kinds}
    names |= {*run.more, "saved_model", "parity.json"}
    assert {path.name for path in run.folder.iterdir()} == names
    assert [path.name for path in run.folder.parent.iterdir()] == ["it"]
    assert export._check_out(run.folder, overwrite=True) == run.folder


@pytest.mark.parametrize(
    ("run", "kind"), [(run, kind) for run in KINDS for kind in KINDS[run]], indirect=["run"]
)
def test_every_file_gives_what_the_model_gives(run, kind):
    anytime, whole = run.runners("anytime", kind), run.runners("segment", kind)["segment"]
    image = run.image(30, 44)
    size = {} if run.size else {"size": np.int32(image.shape[1:3])}
    for number in (1, 4) if run.model.recurrent else (1,):
        canvas, classes = expected(run, image, number)
        assert canvas.std() > 0.02  # else there would be nothing to see
        stepped = iterate(run, anytime, image, number)
        tolerance = TOLERANCES[kind] * abs(canvas).max()
        np.testing.assert_allclose(stepped, canvas, atol=tolerance)
        iterations = {"iterations": np.int32(number)} if run.model.recurrent else {}
        result = whole(image=image, **iterations)
        np.testing.assert_allclose(result["canvas"][0], canvas, atol=tolerance)
        read = anytime["read"](canvas=stepped[None], **size)["classes"]
        assert read.dtype == result["classes"].dtype == np.int32
        at_least = {"float32": 0.999, "float16": 0.99}.get(kind, 0.9)
        assert (read[0] == classes).mean() >= at_least
        assert (result["classes"][0] == classes).mean() >= at_least


@pytest.mark.parametrize("kind", KINDS["fixed"])
def test_signatures_have_names_shapes_and_types(fixed, kind):
    """Canvas and cell state are float32 in every kind."""
    pixels, cells = (1, 41, 57), (1, 11, 15)
    state = {
        f"{part}_{layer}": ((*cells, width), np.float32)
        for layer, width in enumerate((6, 5, 3))
        for part in "hc"
    }
    canvas = {"canvas": ((*cells, 3), np.float32)}
    prepared = {"prepared": ((*cells, 24), np.float32)}
    classes = {"classes": (pixels, np.int32)}
    image = {"image": ((*pixels, 3), np.uint8)}
    whole = image | {"iterations": ((), np.int32)}
    wanted = {
        "encode": (image, prepared),
        "refine": (prepared | canvas | state, canvas | state),
        "read": (canvas, classes),
        "seed": (classes, canvas),
        "segment": (whole, classes | canvas),
    }
    found = fixed.runners("anytime", kind) | fixed.runners("segment", kind)
    assert found.keys() == wanted.keys()
    for name, (inputs, outputs) in wanted.items():
        assert shapes(found[name].get_input_details()) == inputs
        assert shapes(found[name].get_output_details()) == outputs


def test_stages_of_the_encoder_hand_on_tensors_by_the_names_of_their_layers(staged):
    runners = staged.runners("anytime", "int8")
    prepared = {"prepared": ((1, 11, 15, 24), np.float32)}
    first = prepared | {"stride4_conv1_relu": ((1, 11, 15, 64), np.float32)}
    second = prepared | {"stride8_conv1_relu": ((1, 6, 8, 128), np.float32)}
    image = {"image": ((1, 41, 57, 3), np.uint8)}
    wanted = {"encode": (image, first), "encode_1": (first, second), "encode_2": (second, prepared)}
    assert runners.keys() == {*wanted, "refine", "read", "seed"}
    for name, (inputs, outputs) in wanted.items():
        assert shapes(runners[name].get_input_details()) == inputs
        assert shapes(runners[name].get_output_details()) == outputs


def test_a_feed_forward_model_has_no_iterations(feed_forward):
    runners = feed_forward.runners("anytime", "int8")
    assert runners.keys() == {"encode", "read"}
    assert list(runners["encode"].get_output_details()) == ["canvas"]
    segment = feed_forward.runners("segment", "int8")["segment"]
    assert list(segment.get_input_details()) == ["image"]


@pytest.mark.parametrize("name", ["any_size", "staged_any_size"])
def test_any_size_is_taken(name, request):
    any_size = request.getfixturevalue(name)
    runners = any_size.runners("anytime", "float32")
    for size in ((9, 70), (33, 49), (64, 8)):
        image = any_size.image(*size)
        canvas, classes = expected(any_size, image, 4)
        found = iterate(any_size, runners, image, 4)
        np.testing.assert_allclose(found, canvas, atol=1e-5 * max(1, abs(canvas).max()))
        read = runners["read"](canvas=found[None], size=np.int32(size))["classes"][0]
        assert read.shape == size and (read == classes).mean() > 0.999


def test_only_the_one_file_has_a_loop_and_weights_are_there_once(fixed):
    for name, loops in (("anytime", 0), ("segment", 1)):
        file = fixed.path(name, "float32").read_bytes()
        kinds = collections.Counter(
            quantize._KINDS[code.builtinCode]
            for code in quantize.schema.ModelT.InitFromPackedBuf(file, 0).operatorCodes
        )
        assert kinds["WHILE"] == loops and not kinds["CUSTOM"]
        parameters = 4 * fixed.model.count_params()
        assert parameters < len(file) < parameters + 100_000


def test_int8_computes_in_int8_between_the_ends_of_the_encoder(fixed):
    """The first convolution and those that add up to `prepared` stay float32."""
    for name, graph in (("anytime", "encode"), ("segment", "main")):
        found = convolutions(fixed, name, graph)
        assert found[0] == "real" and sorted(found) == ["real"] * 3 + ["whole"] * 5


def test_int8_is_the_same_with_stages_of_the_encoder(staged):
    """What a stage returns is float32."""
    parts = [
        sorted(convolutions(staged, "anytime", name)) for name in ("encode", "encode_1", "encode_2")
    ]
    # The first one, the last one that is handed on, and the gates; the last one that is handed on,
    # and the gates; the gates.
    assert parts == [
        ["real"] * 3 + ["whole"],
        ["real"] * 2 + ["whole"],
        ["real"] + ["whole"],
    ]
    assert sorted(convolutions(staged, "segment", "main")) == sorted(sum(parts, []))


def convolutions(run, name, graph):
    """Returns the types of the convolutions in a graph of an int8 file, in their order."""
    model = quantize.schema.ModelT.InitFromPackedBuf(run.path(name, "int8").read_bytes(), 0)
    (graph,) = (each for each in model.subgraphs if each.name.decode() == graph)
    kinds = quantize.schema.TensorType
    return [
        {kinds.FLOAT32: "real", kinds.INT8: "whole"}[graph.tensors[each.outputs[0]].type]
        for each in graph.operators
        if quantize._KINDS[model.operatorCodes[each.opcodeIndex].builtinCode] == "CONV_2D"
    ]


def test_ranges_are_carried_over_only_where_the_same_is_computed(fixed, feed_forward):
    files = {
        "anytime": fixed.path("anytime", "float32").read_bytes(),
        "segment": feed_forward.path("segment", "float32").read_bytes(),
    }
    with pytest.raises(UserError, match="segment computes features by other operators"):
        quantization.quantize(files, "int8", [])


def test_quantized_files_are_smaller(fixed):
    size = {kind: fixed.path("anytime", kind).stat().st_size for kind in fixed.kinds}
    weights = 4 * fixed.model.count_params()
    assert size["float16"] < size["float32"] - 0.45 * weights
    assert size["dynamic"] < size["float32"] - 0.6 * weights
    assert size["int8"] < size["float32"] - 0.6 * weights


def test_the_files_say_what_is_in_them(fixed, any_size, staged, feed_forward):
    info = ModelInfo.load(fixed.path("segment", "int8"))
    source = tiny_source()
    assert (info.kind, info.quantization, info.recurrent) == ("segment", "int8", True)
    assert (info.classes, info.colors) == (source.class_names, source.class_colors)
    assert (info.size, info.output_stride, info.iterations) == (SIZE, 8, 6)
    assert info.state == {"h_0": 6, "c_0": 6, "h_1": 5, "c_1": 5, "h_2": 3, "c_2": 3}
    assert info.initial_state == {}
    assert info.miou == {1: 0.5, 6: 0.625} and info.scored_on == "tiny, val"
    counted = costs.stage_costs(fixed.model, *SIZE)
    stages = ("encode", "prepare", "refine", "read")
    assert info.multiply_adds == {name: getattr(counted, name) for name in stages}
    assert (info.canvas_stride, info.early_iterations) == (4, ())
    with zipfile.ZipFile(fixed.path("anytime", "float16")) as archive:
        assert archive.read("labels.txt").decode().split() == list(source.class_names)
    info = ModelInfo.load(any_size.path("anytime", "int8"))
    assert (info.kind, info.quantization, info.size) == ("anytime", "int8", None)
    learned = any_size.model.stack.initial_values["canvas"]
    assert info.initial_state["canvas"] == tuple(learned.numpy())
    assert info.initial_state.keys() == {"canvas", *info.state}
    assert info.multiply_adds is None and info.miou is None
    info = ModelInfo.load(staged.path("anytime", "int8"))
    assert (info.output_stride, info.canvas_stride, info.early_iterations) == (8, 4, (1, 2))
    counted = costs.stage_costs(staged.model, *info.size)
    totals = [FileCosts(info).total(number) for number in range(1, 6)]
    assert totals == [counted.total(number) for number in range(1, 6)]
    handed_on = "stride4_conv1_relu", "stride8_conv1_relu"
    assert info.encoder_outputs == (*(("prepared", name) for name in handed_on), ("prepared",))
    info = ModelInfo.load(feed_forward.path("anytime", "float32"))
    assert not info.recurrent and info.state == {} and info.iterations == 1
    assert info.encoder_outputs == (("canvas",),)


def test_the_onnx_file_says_the_same_as_that_for_litert(staged):
    """Except for what is true of one size of images alone."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(staged.folder / "segment.onnx")
    found = session.get_modelmeta().custom_metadata_map
    with zipfile.ZipFile(staged.path("segment", "float32")) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert found.keys() == texts.keys() and found["labels.txt"] == texts["labels.txt"]
    none = "size", "multiply_adds", "early_multiply_adds", "sha256"
    expected = json.loads(texts["rnnseg.json"]) | dict.fromkeys(none)
    assert json.loads(found["rnnseg.json"]) == expected
    image = np.random.default_rng(4).integers(0, 256, (2, 50, 70, 3), np.uint8)
    classes, canvas = session.run(["classes", "canvas"], {"image": image})
    assert classes.shape == (2, 50, 70) and classes.dtype == np.int32
    expected = staged.model.unroll(image, staged.model.iterations)[-1]
    np.testing.assert_allclose(canvas, expected, atol=1e-4 * np.abs(expected).max())


def test_the_report_is_of_all_files(run):
    content = json.loads((run.folder / "parity.json").read_text())
    assert content == json.loads(json.dumps(run.parity.to_json()))
    names = [each["file"] for each in content["files"]]
    kept = {"saved_model", "parity.json"}
    assert {name for name in names if not name.startswith("saved_model")} == {
        path.name for path in run.folder.iterdir() if path.name not in kept
    }
    assert sum(name.startswith("saved_model") for name in names) == 2
    assert content["images"] == 3
    for file in run.parity.files:
        numbers = (1, 2, 6, 12) if run.model.recurrent else (1,)
        assert tuple(each.iterations for each in file.agreements) == numbers
        if file.quantization == "float32":
            assert min(each.equal for each in file.agreements) > 0.999
        assert all(each.model_miou is not None for each in file.agreements)


def test_the_saved_model_takes_batches_of_any_size(run):
    """Every export checks that it works without rnnseg."""
    served = tf.saved_model.load(run.folder / "saved_model").signatures
    images = np.random.default_rng(3).integers(0, 256, (2, 30, 44, 3), np.uint8)
    iterations = {"iterations": tf.constant(3)} if run.model.recurrent else {}
    result = served["segment"](image=tf.constant(images), **iterations)
    model = signatures.in_float32(run.model)
    logits = model(images, iterations=3 if run.model.recurrent else 1).numpy()
    assert (result["classes"].numpy() == logits.argmax(-1)).mean() > 0.999
    likely = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(result["confidence"], likely.max(-1), atol=1e-5)
    default = served["serving_default"](image=tf.constant(images), **iterations)
    assert default.keys() == result.keys()


def write_images(folder):
    folder.mkdir()
    for index, (image, _) in enumerate(halves(2)):
        Image.fromarray(image).save(folder / f"{index}.png")
    return str(folder)


def test_the_command_takes_images_and_replaces_an_earlier_export(tmp_path):
    images, out = write_images(tmp_path / "photos"), tmp_path / "out"
    make_model().save(tmp_path / "m.keras")
    out.mkdir()
    (out / "parity.json").write_text("{}")
    (out / "anytime_dynamic.tflite").write_text("of an earlier export")
    (out / "anytime_dynamic.scores_val.json").write_text("of its evaluation")
    (out / "anytime_dynamic.report_val").mkdir()
    (out / "anytime_dynamic.report_val" / "best.png").write_text("likewise")
    arguments = ["export", str(tmp_path / "m.keras"), "--out", str(out), "--size", "33x41"]
    arguments += ["--images", images, "--limit", "1", "--quantize", "int8"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2 and "out already exists: choose" in result.output
    result = CliRunner().invoke(main, [*arguments, "--overwrite"])
    assert result.exit_code == 0, result.output
    assert f"{images}: 1 images" in result.stdout and f"wrote {out}" in result.stdout
    lines = result.stdout.splitlines()
    row, size = (line.split() for line in lines if line.startswith("anytime.tflite"))
    assert row[1:4] == ["1", "100.0000", "99.99"] and row[-2:] == ["-", "-"]
    megabytes = (out / "anytime.tflite").stat().st_size / 1e6
    assert size[1] == f"{megabytes:.1f}" and float(size[2]) > 0
    # Each file is told when it is written, and what takes long when it is begun.
    begun = ["writing saved_model", "converting to LiteRT", "quantizing to int8",
             "comparing 5 files on 1 images"]  # fmt: skip
    assert [line for line in lines if line in begun] == begun
    assert f"  anytime.tflite: {megabytes:.1f} MB" in lines
    files = {f"{name}{kind}.tflite" for name in ("anytime", "segment") for kind in ("", "_int8")}
    assert {path.name for path in out.iterdir()} == {*files, "parity.json", "saved_model"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.keras", "out", "photos"]


@keras.saving.register_keras_serializable("tests")
class Odd(keras.layers.Layer):
    """A layer that LiteRT has no operator for."""

    def call(self, inputs):
        return tf.math.erfinv(tf.tanh(inputs))


def test_an_operator_that_not_every_device_has_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "run", run_here)
    image = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(4, 3, 8, padding="same")(image / 255.0)
    encoder = keras.Model(image, Odd()(features))
    model = make_model(encoder=encoder)
    images = write_images(tmp_path / "photos")
    with pytest.raises(UserError, match="cannot be converted for LiteRT: .* operator for Erfinv"):
        export.export_model(model, tmp_path / "out", (40, 48), images=[images])
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
