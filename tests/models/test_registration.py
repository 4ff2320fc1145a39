"""Saved models in a fresh process, by `rnnseg.load_model` and by Keras; modules' old names."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from rnnseg._moved import _MOVED
from tests.support.models import make_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a model, an image, and the logits that the model gives."""
    folder = tmp_path_factory.mktemp("saved")
    model = make_model()
    image = np.random.default_rng(0).integers(0, 256, (1, 33, 41, 3), np.uint8)
    model.save(folder / "model.keras")
    np.savez(folder / "known.npz", image=image, logits=model(image))
    return folder


def run_python(code, *arguments):
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


CHECK = """
import sys
import numpy as np
model = load(f"{sys.argv[1]}/model.keras")
known = np.load(f"{sys.argv[1]}/known.npz")
np.testing.assert_array_equal(model(known["image"]), known["logits"])
print(type(model).__name__)
"""


@pytest.mark.parametrize(
    "imported", ["rnnseg", "keras", "rnnseg.training.loop", "rnnseg.evaluation.evaluator"]
)
def test_models_load_whichever_module_is_imported_first(imported, saved):
    done = run_python(f"import {imported}, rnnseg\nload = rnnseg.load_model\n{CHECK}", saved)
    assert done.stdout.strip() == "RecurrentSegmenter", done.stderr


@pytest.mark.parametrize(
    "imports", ["import rnnseg.registration, keras", "import keras, rnnseg.registration"]
)
def test_keras_loads_models_after_the_documented_import(imports, saved):
    done = run_python(f"{imports}\nload = keras.saving.load_model\n{CHECK}", saved)
    assert done.stdout.strip() == "RecurrentSegmenter", done.stderr


def test_every_class_is_registered():
    """All that a saved file may name."""
    names = [
        "RecurrentSegmenter",
        "SampledSegmenter",
        "DeepLabV3",
        "DeepLabV3Plus",
        "LRASPP",
        "PSPNet",
        "SegmentationLoss",
    ]
    code = f"""
    import rnnseg.registration, keras
    for name in {names}:
        assert keras.saving.get_registered_object(f"rnnseg>{{name}}").__name__ == name, name
    """
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_old_names_of_modules_work_and_say_where_the_module_is():
    code = f"""
    import importlib, sys, warnings
    for old, new in {_MOVED}.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            module = importlib.import_module(f"rnnseg.{{old}}")
        messages = [str(each.message) for each in caught if each.category is DeprecationWarning]
        assert f"rnnseg.{{old}} is now rnnseg.{{new}}" in messages, (old, messages)
        assert module is importlib.import_module(f"rnnseg.{{new}}"), old
        assert module.__name__ == module.__spec__.name == f"rnnseg.{{new}}", old
    print("done")
    """
    done = run_python(code)
    assert done.stdout.strip() == "done", done.stderr


@pytest.mark.parametrize("form", ["import rnnseg.pacing", "from rnnseg import pacing"])
def test_the_warning_points_to_the_line_that_imports(form, tmp_path):
    """So that Python shows it where a user's own script does so."""
    script = tmp_path / "script.py"
    script.write_text(f"\n{form}\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (
        "script.py:2: DeprecationWarning: rnnseg.pacing is now rnnseg.runtime.pacing" in done.stderr
    )


def test_unknown_modules_stay_unknown():
    done = run_python("import rnnseg.nothing_of_this_name")
    assert "No module named 'rnnseg.nothing_of_this_name'" in done.stderr
