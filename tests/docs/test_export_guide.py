"""What the export guide says of the SavedModel: how to serve it without rnnseg, and its tensors."""

import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from rnnseg.exporting import saved_model
from tests.support.models import make_lively_model, make_model

GUIDE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "export.md"
SIZE = (41, 57)


# A name that stands for no module is how Python is told that one cannot be imported.
_WITHOUT_RNNSEG = "import sys\nsys.modules['rnnseg'] = None\n"
_KEEP = "np.savez('served.npz', whole=class_map, sure=confidence, steps=class_map_so_far)\n"


def serving_blocks():
    """The guide's Python of serving, in its order."""
    section = GUIDE.read_text().split("\n## Serving the SavedModel\n")[1].split("\n## ")[0]
    return re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def model():
    """One that starts from zero, as the guide's do, and tells all its classes."""
    lively, model = make_lively_model(), make_model()
    for weight in model.stack.weights:
        (same,) = (each for each in lively.stack.weights if each.path == weight.path)
        weight.assign(same)
    return model


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """Where the guide's commands were called, with a SavedModel and a photo."""
    folder = tmp_path_factory.mktemp("served")
    saved_model.export(model, folder / "exported" / "mine" / "saved_model")
    blocks = np.random.default_rng(4).integers(0, 256, (7, 9, 3)).repeat(6, 0).repeat(7, 1)
    image = Image.fromarray(blocks.astype(np.uint8)[: SIZE[0], : SIZE[1]])
    image.save(folder / "photo.jpg")
    return folder


def test_the_guides_server_gives_the_models_answer_without_rnnseg(folder, model):
    blocks = serving_blocks()
    assert len(blocks) == 2 and "rnnseg" not in "".join(blocks)
    script = _WITHOUT_RNNSEG + "\n".join(blocks) + _KEEP
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True, timeout=120)
    image = np.asarray(Image.open(folder / "photo.jpg").convert("RGB"))
    logits = model(image[np.newaxis], iterations=6).numpy()[0]
    expected = logits.argmax(-1)
    assert len(np.unique(expected)) > 2
    with np.load(folder / "served.npz") as served:
        # Rounding may decide where two classes are as good as equal.
        assert np.mean(served["whole"] == expected) > 0.999
        assert np.mean(served["steps"] == expected) > 0.999
        likely = np.exp(logits - logits.max(-1, keepdims=True))
        likely /= likely.sum(-1, keepdims=True)
        np.testing.assert_allclose(served["sure"], likely.max(-1), atol=1e-4)


def test_the_guides_table_lists_the_saved_models_tensors(folder, model):
    loaded = tf.saved_model.load(folder / "exported" / "mine" / "saved_model").signatures
    state = model.state_channels
    sizes = {"C": model.num_classes, "P": 4 * state["h_0"], "3": 3, "2": 2}

    def tensors(cell):
        found = {}
        for names, dtype, shape in re.findall(r"((?:`\w+`,? |… )+)(\w+) \((.*?)\)", cell):
            for name in state if "…" in names else re.findall(r"\w+", names):
                known = sizes | {"…": state.get(name)}
                sides = shape.split(", ") if shape else []
                found[name] = dtype, [known.get(side) for side in sides]
        return found

    table = GUIDE.read_text().split("\n| `saved_model` |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", table, re.MULTILINE)
    assert {name for name, _, _ in rows} == loaded.keys() - {"serving_default"}
    for name, takes, gives in rows:
        _, inputs = loaded[name].structured_input_signature
        outputs = loaded[name].structured_outputs
        for cell, specs in ((takes, inputs), (gives, outputs)):
            assert tensors(cell) == {
                each: (spec.dtype.name, spec.shape.as_list()) for each, spec in specs.items()
            }
