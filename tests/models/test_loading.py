import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnseg import UserError
from rnnseg.models.loading import load_model
from tests.support.models import make_model

FILES = pathlib.Path(__file__).parent / "files"


def test_a_run_s_folder_gives_its_best_model(tmp_path):
    model = make_model()
    model.save(tmp_path / "last.keras")
    assert load_model(tmp_path).num_classes == 4
    model = make_model(num_classes=3)
    model.save(tmp_path / "best.keras")
    assert load_model(tmp_path).num_classes == 3
    assert load_model(tmp_path / "last.keras").num_classes == 4


def test_what_is_no_model_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere.keras: no such model"):
        load_model(tmp_path / "nowhere.keras")
    with pytest.raises(UserError, match="holds no model"):
        load_model(tmp_path)
    (tmp_path / "best.keras").write_text("no model")
    with pytest.raises(UserError, match="best.keras cannot be loaded as a model: "):
        load_model(tmp_path)
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")
    with pytest.raises(UserError, match="other.keras holds a Sequential; expected a model of"):
        load_model(tmp_path / "other.keras")


def test_a_model_of_the_first_version_gives_the_same_answers():
    """The file and what it predicted were written by version 0.1.0, before modules moved."""
    model = load_model(FILES / "recurrent_0_1.keras", compile=True)
    expected = np.load(FILES / "recurrent_0_1.npz")
    canvases = model.unroll(expected["images"], 4)
    # Equal to the last bit on the processor that wrote them; others may round differently.
    np.testing.assert_allclose(canvases, expected["canvases"], rtol=1e-5, atol=1e-6)
    found = model.predict_classes(expected["images"])
    assert np.mean(found == expected["classes"]) > 0.999
    assert model.class_names == ("road", "sky", "car") and model.options.context_channels == 2
    assert model.optimizer.iterations == 1 and model.loss.label_smoothing == 0.1
    with pytest.warns(DeprecationWarning, match="trace is now called unroll"):
        np.testing.assert_array_equal(model.trace(expected["images"], 4), canvases)


def test_a_model_with_the_canvas_at_the_output_stride_gives_the_same_answers():
    """Written before the canvas had a stride of its own; its configuration names none."""
    model = load_model(FILES / "output_stride_16.keras", compile=True)
    expected = np.load(FILES / "output_stride_16.npz")
    assert (model.canvas_stride, model.output_stride) == (16, 16)
    assert model.options.skip_layers == () and model.stack.increment_scale is None
    canvases = model.unroll(expected["images"], 5)
    np.testing.assert_allclose(canvases, expected["canvases"], rtol=1e-5, atol=1e-6)
    found = model.predict_classes(expected["images"])
    assert np.mean(found == expected["classes"]) > 0.999
    # The order of the weights, by which an optimizer knows them.
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_sum(each**2) for each in model.weighted_logits(expected["images"]))
    norms = [tf.norm(each) for each in tape.gradient(loss, model.trainable_variables)]
    np.testing.assert_allclose(norms, expected["gradient_norms"], rtol=1e-3)
