"""What the Android guide calls is what an exported file has.

The guide's Python runs as it stands and is compared with the model. Its Kotlin is read: the
expressions that make buffers and hand them to signatures are so plain that they are nearly Python.
"""

import json
import pathlib
import re
import types
import zipfile
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

import rnnseg
from rnnseg import grid
from rnnseg.exporting.signatures import seeded_canvas
from rnnseg.runtime.letterbox import scale_and_pad
from rnnseg.runtime.model_info import ModelInfo
from rnnseg.runtime.pacing import most_iterations
from tests.support.litert import make_info, make_staged_model
from tests.support.models import make_lively_model

GUIDE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "android.md"
SIZE = (41, 57)


class Tensor(NamedTuple):
    """The type and shape of one; `"name" @ tensor` stands for Kotlin's `"name" to tensor`."""

    dtype: str
    shape: tuple

    def __rmatmul__(self, name):
        return name, self


class Map(dict):
    """What the guide does with Kotlin's maps."""

    def __add__(self, other):
        return Map(self | other)

    def mapValues(self, function):  # noqa: N802
        return Map({name: function(name, value) for name, value in self.items()})

    def getValue(self, name):  # noqa: N802
        return self[name]


def code_blocks(language):
    """The guide's blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


def kotlin_file(name):
    """The block that begins with that name."""
    (block,) = (each for each in code_blocks("kotlin") if each.startswith(f"// {name}\n"))
    return block


@pytest.fixture(scope="module", params=[make_lively_model, make_staged_model])
def model(request):
    """One whose encoder has a single stage, and one whose encoder has three."""
    return request.param()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """A folder with `anytime.tflite` and the images that the guide names."""
    folder = tmp_path_factory.mktemp("android") / "exported"
    rng = np.random.default_rng(4)
    images = tmp_path_factory.mktemp("images")
    for name, height, width in (("photo", 90, 100), ("frame_1", *SIZE), ("frame_2", *SIZE)):
        blocks = np.kron(rng.integers(0, 256, (15, 15, 3)), np.ones((6, 7, 1)))[:height, :width]
        Image.fromarray(blocks.astype(np.uint8)).save(images / f"{name}.png")
    rnnseg.export_model(model, folder, SIZE, images=[str(images / "photo.png")])
    for image in images.iterdir():
        image.rename(folder / image.name)
    return folder


@pytest.fixture(scope="module")
def guide(exported):
    """What the guide's Python leaves behind."""
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(exported)
        for block in code_blocks("python"):
            exec(compile(block, str(GUIDE), "exec"), names)
    return types.SimpleNamespace(**names)


@pytest.fixture(scope="module")
def signatures(guide):
    """The file's own: inputs and outputs by the signatures' names."""

    def tensors(details):
        return {
            name: Tensor(each["dtype"].__name__, tuple(each["shape"].tolist()))
            for name, each in details.items()
        }

    runners = {
        name: guide.interpreter.get_signature_runner(name)
        for name in guide.interpreter.get_signature_list()
    }
    return {
        name: (tensors(each.get_input_details()), tensors(each.get_output_details()))
        for name, each in runners.items()
    }


@pytest.fixture(scope="module")
def info(exported):
    return ModelInfo.load(exported / "anytime.tflite")


def predict(model, image, iterations, canvas=None):
    """The model's canvas and class map, `(H, W)`."""
    canvas = model.compiled_stages.canvas_of(image, iterations, canvas)
    return canvas, model.read(canvas, SIZE).numpy()[0]


def assert_same_classes(found, expected):
    # Rounding may decide where two classes are as good as equal.
    assert found.shape == expected.shape
    assert len(np.unique(expected)) > 2
    assert np.mean(found == expected) > 0.999


def test_the_guides_images_are_fitted_like_the_runtimes(guide, exported):
    """But for half a pixel: what Android draws keeps the image's borders, not its pixels."""
    photo = np.asarray(Image.open(exported / "photo.png"))
    expected, shown = scale_and_pad(photo, SIZE, guide.info["padding"])
    assert np.abs(np.subtract(guide.shown, shown)).max() <= 1 and guide.image.shape[1:3] == SIZE
    inner = tuple(slice(1, side - 2) for side in shown)

    def likeness(*shift):
        moved = np.roll(guide.image[0], shift, (0, 1))
        return np.corrcoef(moved[inner].ravel(), expected[inner].ravel())[0, 1]

    assert likeness(0, 0) > max(likeness(*each) for each in ((0, 1), (1, 0), (0, -1), (-1, 0)))
    assert likeness(0, 0) > 0.9
    assert (guide.image[0, :, guide.shown[1] :] == guide.info["padding"]).all()


def test_the_guides_deadline_gives_the_models_class_maps(guide, model):
    _, expected = predict(model, guide.image, guide.iterations)
    assert_same_classes(guide.class_map, expected[: guide.shown[0], : guide.shown[1]])
    for deadline, iterations in ((0, 1), (1e6, model.iterations)):
        found, number = guide.segment(guide.image, deadline)
        assert number == iterations
        assert_same_classes(found, predict(model, guide.image, iterations)[1])


def test_the_guides_video_goes_on_from_a_part_of_the_last_frames_canvas(guide, model, exported):
    frames = [guide.load(exported / f"frame_{number}.png")[0] for number in (1, 2)]
    canvas, expected = predict(model, frames[0], model.iterations)
    assert_same_classes(guide.first, expected)
    blank = model.stack.initial_values["canvas"]
    _, expected = predict(model, frames[1], 2, blank + 0.2 * (canvas - blank))
    assert_same_classes(guide.second, expected)
    assert np.mean(guide.second == predict(model, frames[1], 2)[1]) < 0.9


def test_the_guides_video_goes_on_from_a_class_map(guide, model, exported):
    frame, _ = guide.load(exported / "frame_2.png")
    canvas = seeded_canvas(guide.first[np.newaxis], model)
    canvas, expected = predict(model, frame, 2, canvas)
    np.testing.assert_allclose(guide.canvas, canvas, atol=1e-3)
    assert_same_classes(guide.third, expected)
    assert_same_classes(guide.sparsely_read, expected)
    assert np.mean(guide.third == guide.second) < 0.99


def test_the_guides_compiled_model_gives_the_models_class_map(guide, model):
    assert_same_classes(guide.compiled_map, predict(model, guide.image, 6)[1])


def test_the_guides_table_lists_the_files_tensors(signatures, info):
    sizes = dict(zip("HWhw", (*info.size, *canvas_sides(info)), strict=True))
    sizes |= {"C": len(info.classes), "P": 4 * info.state["h_0"], "1": 1, "3": 3}

    def tensors(cell):
        found = {}
        for names, dtype, shape in re.findall(r"((?:`\w+`,? |… )+)(\w+) \((.*?)\)", cell):
            listed = re.findall(r"\w+", names)
            for name in info.state if "…" in names else listed:
                channels = sizes | {"…": info.state.get(name)}
                found[name] = Tensor(dtype, tuple(channels[each] for each in shape.split(", ")))
            assert found.keys() >= set(listed)
        return found

    table = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", GUIDE.read_text(), re.MULTILINE)
    listed = {name: (tensors(takes), tensors(gives)) for name, takes, gives in table}
    if info.early_iterations:  # described in words, since the names are those of layers
        listed["encode"][1].update(signatures["encode"][1])
        listed |= {name: signatures[name] for name in ("encode_1", "encode_2")}
    assert listed == signatures


def canvas_sides(info):
    """The `(h, w)` of the canvas."""
    return [grid.canvas_size(side, info.output_stride, info.canvas_stride) for side in info.size]


@pytest.mark.parametrize(
    "file, expected",
    [
        ("AnytimeSegmenter.kt", {"encode", "refine", "read", "seed"}),
        ("GpuSegmenter.kt", {"encode", "refine"}),
    ],
)
def test_the_guides_kotlin_gives_and_takes_the_files_tensors(file, expected, signatures, info):
    code = kotlin_file(file)
    calls = kotlin_calls(code, kotlin_file("InputImage.kt"), signatures, info)
    further = {f"encode_{stage}" for stage in range(1, 1 + len(info.early_iterations))}
    assert {name for name, _, _ in calls} == expected | further
    for name, inputs, outputs in calls:
        assert (inputs, outputs) == signatures[name]


def kotlin_calls(code, other, signatures, info):
    """What the code hands to signatures: their names with inputs and outputs.

    Args:
      code: a Kotlin file.
      other: another one, for the names that are not defined in it.
      signatures: those of the file, for buffers that are made by their names.
      info: of the file.
    """
    definitions = kotlin_definitions(other) | kotlin_definitions(code)
    rows, columns = canvas_sides(info)
    encoders = [name for name in sorted(signatures) if "encode" in name]
    known = {
        # The code makes them by the names and the shapes that the file tells.
        "encoded": [Map(signatures[name][1]) for name in encoders],
        "mapOf": lambda *pairs: Map(pairs),
        "info": types.SimpleNamespace(
            height=info.size[0],
            width=info.size[1],
            rows=rows,
            columns=columns,
            classes=types.SimpleNamespace(size=len(info.classes)),
            state=Map(info.state),
        ),
        "model": types.SimpleNamespace(
            createInputBuffer=lambda name, signature: signatures[signature][0][name],
            createOutputBuffer=lambda name, signature: signatures[signature][1][name],
        ),
    }
    for dtype in ("uint8", "int32", "float32"):
        known[dtype] = lambda *shape, dtype=dtype: Tensor(dtype, shape)

    class Definitions(dict):
        def __missing__(self, name):
            return known[name] if name in known else evaluate(definitions[name])

    def evaluate(expression):
        expression = re.sub(r'("\w+") to ', r"\1 @ ", expression)
        expression = re.sub(r"if \((.+?)\) (.+) else (.+)", r"(\2) if \1 else (\3)", expression)
        expression = re.sub(r" \{ \((\w+), (\w+)\) -> (.+?) \}", r"(lambda \1, \2: \3)", expression)
        return eval(expression, dict(known), Definitions())

    calls = [
        (name, *evaluate(f"({arguments})"))
        for arguments, name in re.findall(r'\brun\((mapOf\(.+?), "(\w+)"\)', code)
    ]
    assert "run(inputs, encoded[stage], info.encoders[stage])" in code
    for stage, name in enumerate(encoders):
        known["stage"] = stage
        calls.append((name, evaluate(definitions["inputs"]), evaluate("encoded[stage]")))
    return calls


def test_the_guides_stages_of_the_encoder_are_those_of_the_file(guide, signatures, info, model):
    assert guide.encoders == [name for name in sorted(signatures) if "encode" in name]
    assert [set(names) for names in guide.encoder_outputs] == [
        signatures[name][1].keys() for name in guide.encoders
    ]
    assert guide.first_iterations == list(model.first_iterations)
    assert (guide.rows, guide.columns) == model.canvas_size(*SIZE)


def kotlin_definitions(code):
    """The expressions behind the names of a Kotlin file's values and of its short functions."""
    values = re.findall(r"\bva[lr] (\w+)(?:: \w+)? =\s+(.+)", code)
    functions = re.findall(r"\bfun (\w+)\(\) =\s+(.+?)\n[\n}]", code, re.DOTALL)
    return dict(values) | {
        name: "lambda: " + " ".join(expression.split()) for name, expression in functions
    }


def test_the_guides_kotlin_reads_keys_that_the_metadata_have(exported):
    keys = re.findall(r'json\.\w+\("(\w+)"', kotlin_file("ModelInfo.kt"))
    with zipfile.ZipFile(exported / "anytime.tflite") as archive:
        metadata = json.loads(archive.read("rnnseg.json"))
    assert len(keys) > 5
    for key in keys:
        assert key in metadata


@pytest.mark.parametrize("miou", [None, {2: 0.6, 9: 0.7, 10: 0.7, 12: 0.5}])
def test_the_guides_deadlines_are_spent_on_the_number_that_scored_best(tmp_path, monkeypatch, miou):
    (tmp_path / "anytime.tflite").write_bytes(make_info(miou=miou).append_to(b"nothing"))
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code_blocks("python")[0], names)
    assert names["most"] == most_iterations(names["info"]["iterations"], miou)
