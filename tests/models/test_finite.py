import keras
import numpy as np
import pytest

from rnnseg import UserError, export_model
from rnnseg.models.finite import check_weights
from rnnseg.models.loading import load_model
from tests.support.models import make_model


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(params=[np.nan, np.inf, -np.inf])
def spoilt(request, model):
    """The model with one value that is no finite number, in its first kernel; mended afterwards."""
    weight = model.weights[0]
    value = weight.numpy()
    wrong = value.copy()
    wrong.flat[-1] = request.param
    weight.assign(wrong)
    yield model
    weight.assign(value)


def test_finite_weights_are_accepted(model):
    check_weights(model, "here")


def test_the_first_layer_is_named(spoilt):
    path = spoilt.weights[0].path
    with pytest.raises(UserError, match=f"^here: {path} has values that are not finite .*, so its"):
        check_weights(spoilt, "here")


def test_further_layers_are_counted():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(inputs))
    for weight in model.weights:
        weight.assign(np.full(weight.shape, np.nan))
    with pytest.raises(UserError, match="^here: head/kernel has .*, and in 1 more weights, so its"):
        check_weights(model, "here")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_all_kinds_of_numbers_are_checked(dtype):
    dense = keras.layers.Dense(2, dtype=dtype)
    dense.build((None, 3))
    model = keras.Sequential([dense, keras.layers.Dropout(0.5)])  # a seed is a whole number
    model.build((None, 3))
    check_weights(model, "here")
    dense.bias.assign([0, np.nan])
    with pytest.raises(UserError, match="dense.*/bias"):
        check_weights(model, "here")


def test_a_file_is_checked_when_it_is_loaded_and_a_model_when_it_is_exported(spoilt, tmp_path):
    spoilt.save(tmp_path / "best.keras")
    with pytest.raises(UserError, match=f"^{tmp_path / 'best.keras'}: .* not finite numbers"):
        load_model(tmp_path)
    with pytest.raises(UserError, match="not finite numbers"):
        export_model(spoilt, tmp_path / "out")
    assert not (tmp_path / "out").exists()
