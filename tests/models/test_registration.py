import subprocess
import sys

import pytest

from tests.support.models import make_model


@pytest.mark.parametrize("imports", ["import rnnseg; import keras", "import keras; import rnnseg"])
def test_keras_knows_the_segmenter_whichever_is_imported_first(imports):
    code = f"{imports}; print(keras.saving.get_registered_object('rnnseg>RecurrentSegmenter'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "<class 'rnnseg.models.recurrent.RecurrentSegmenter'>", (
        done.stderr
    )


@pytest.mark.parametrize("module", ["base", "loading"])
def test_models_load_whichever_module_is_imported_first(module, tmp_path):
    """Some of these import Keras while what registers with it cannot be had yet."""
    make_model().save(tmp_path / "model.keras")
    code = (
        f"import rnnseg.{module}, rnnseg\n"
        f"print(type(rnnseg.load_model({str(tmp_path / 'model.keras')!r})).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "RecurrentSegmenter", done.stderr


def test_keras_keeps_its_own_loader():
    code = "import rnnseg, keras; print(type(keras.__loader__).__name__, keras.__spec__.loader)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("SourceFileLoader"), done.stderr
    assert "_AfterKeras" not in done.stdout


def test_looking_for_keras_changes_nothing():
    """TensorFlow, like many others, looks whether Keras is there before it is imported."""
    code = (
        "import rnnseg, importlib.util; assert importlib.util.find_spec('keras')\n"
        "import tensorflow, keras\n"
        "print(keras.saving.get_registered_object('rnnseg>SegmentationLoss'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "<class 'rnnseg.training.losses.SegmentationLoss'>", done.stderr
