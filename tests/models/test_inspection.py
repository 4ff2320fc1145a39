import warnings

import keras
import numpy as np
import pytest

import rnnseg
from rnnseg.models.registry import MODELS
from tests.support.models import blocky_image, make_model


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """A console that needs to wrap no cell."""
    monkeypatch.setenv("COLUMNS", "250")


def rows(model, **options):
    """The rows of the summary: name, shape and number of parameters."""
    lines, found = [], []
    model.summary(line_length=240, print_fn=lines.append, **options)
    for line in "\n".join(lines).splitlines():
        if line.startswith("│"):
            name, shape, number = (each.strip() for each in line.split("│")[1:4])
            if number:
                found.append((name, shape, number))
            else:  # the rest of a long shape
                found[-1] = (found[-1][0], f"{found[-1][1]} {shape}", found[-1][2])
    return found


def small(name):
    # The layers of small_cnn do not have all strides that every head wants.
    options = dict(encoder="mobilenet_v2_0.35", encoder_weights=None)
    return MODELS[name](3, **options)


@pytest.mark.parametrize("name", MODELS)
def test_the_summary_shows_shapes_and_what_is_inside(name):
    model = small(name)
    assert all(shape != "?" for _, shape, _ in rows(model))
    inside = rows(model, expand_nested=True)
    assert all(shape.startswith(("(None, ", "{")) for _, shape, _ in inside)
    names = {row[0].removeprefix("└ ").split(" ")[0] for row in inside}
    layers = [each for each in model._flatten_layers(include_self=False) if each.weights]
    assert names >= {each.name for each in layers}
    outer = sum(int(number.replace(",", "")) for _, _, number in rows(model))
    sizes = [np.size(each) for each in model.get_weights()]
    assert outer == model.count_params() == sum(sizes)


def test_shapes_in_the_summary_are_those_of_the_layers():
    model = make_model(skip_layers=("stride8_conv1_relu",), context_channels=3)
    shapes = {name.removeprefix("└ "): shape for name, shape, _ in rows(model, expand_nested=True)}
    image = blocky_image(48)
    features = model.encode(image)
    assert shapes["encoder (Encoder)"] == str(
        {name: (None, None, None, each.shape[-1]) for name, each in features.items()}
    ).replace("'", "")
    context = model.context(features["deepest"]).shape[-1]
    assert shapes["context (Context)"] == f"(None, None, None, {context})"
    _, state = model.refine(model.prepare(features), 2)
    for layer, each in enumerate(state):
        found = shapes[f"cell_{layer} (ConvLSTM2DCell)"]
        assert found == f"(None, None, None, {each.h.shape[-1]})"
    assert shapes["stack (ConvLSTMStack)"] == "(None, None, None, 4)"


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_a_model_has_the_shapes_of_a_functional_one(dtype):
    model = make_model(dtype=dtype)
    assert model.input_shape == (None, None, None, 3)
    assert model.output_shape == (None, None, None, 4)
    assert model.compute_output_shape((2, 33, 40, 3)) == model(np.zeros((2, 33, 40, 3))).shape
    functional = keras.Model(model.inputs[0], model.outputs[0])
    assert functional.output_shape == (None, None, None, 4)
    assert [each.dtype for each in model.outputs] == ["float32"]
    image = blocky_image(40).astype(np.float32)
    np.testing.assert_array_equal(functional(image), model(image))
    with pytest.raises(AttributeError, match="'RecurrentSegmenter' object has no attribute 'lyr'"):
        model.lyr  # noqa: B018


def test_saving_looks_at_none_of_it(tmp_path):
    """No warning for what is deprecated, no symbolic call; a summary changes no file."""
    model = make_model()
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        warnings.filterwarnings("default", message="__array__")  # of Keras
        model.save_weights(tmp_path / "before.weights.h5")
    assert not {"inputs", "outputs", "predictor"} & vars(model).keys()
    rows(model, expand_nested=True)
    assert model.inputs and model.stack.layers
    model.save_weights(tmp_path / "after.weights.h5")
    before, after = ((tmp_path / f"{name}.weights.h5").read_bytes() for name in ("before", "after"))
    assert len(before) == len(after)
    other = make_model()
    other.set_weights([0 * each for each in model.get_weights()])
    other.load_weights(tmp_path / "after.weights.h5")
    for left, right in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
    assert isinstance(other, rnnseg.RecurrentSegmenter)
