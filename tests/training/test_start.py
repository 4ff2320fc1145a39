import keras
import numpy as np
import pytest

from rnnseg import UserError
from rnnseg.models.registry import MODELS
from rnnseg.training.config import TrainingConfig
from rnnseg.training.sampling import SampledSegmenter
from rnnseg.training.start import options_of, start_from
from tests.support.models import make_model


def test_a_model_gives_its_form_and_its_penalty_and_not_its_training(tmp_path):
    options = dict(skip_layers=(), early_iterations=(), increment_scale=2.0, iterations=3, l2=0.5)
    model = make_model(**options, iteration_weights=(0, 1, 1), canvas_stride=8)
    model.save(tmp_path / "old.keras")
    values = options_of(tmp_path / "old.keras")
    assert values["model"] == "recurrent" and values["encoder"] == "small_cnn"
    assert values["hidden_channels"] == (6, 5) and values["increment_scale"] == 2.0
    # Kernels that are large for want of a penalty would outweigh the loss under another one.
    assert values["l2"] == 0.5
    assert {"iteration_weights", "encoder_weights"}.isdisjoint(values)
    config = TrainingConfig(data="shapes", init="old.keras", **values)
    again = MODELS["recurrent"](4, **config.model_options)
    assert [each.shape for each in again.weights] == [each.shape for each in model.weights]


def test_a_subclass_of_another_model_keeps_its_own_name(tmp_path):
    model = MODELS["crf_rnn"](4, encoder="mobilenet_v2_0.35", encoder_weights=None, crf_window=5)
    model.save(tmp_path / "old.keras")
    values = options_of(tmp_path / "old.keras")
    assert values["model"] == "crf_rnn" and values["crf_window"] == 5


def test_a_model_trained_on_sampled_patches_is_a_recurrence(tmp_path):
    options = make_model().get_config()
    SampledSegmenter.from_config(options).save(tmp_path / "old.keras")
    assert options_of(tmp_path / "old.keras")["model"] == "recurrent"


def test_weights_are_copied_from_a_file(tmp_path):
    old = make_model()
    old.save(tmp_path / "old.keras")
    keras.utils.set_random_seed(8)
    new = type(old).from_config(old.get_config())
    assert not start_from(tmp_path / "old.keras", new).left
    for mine, its in zip(new.get_weights(), old.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, its)


def test_another_encoder_is_refused(tmp_path):
    make_model().save(tmp_path / "old.keras")
    other = make_model(encoder="mobilenet_v2_0.35", output_stride=16)
    with pytest.raises(UserError, match="its encoder, small_cnn .* 128 channels, does not fit"):
        start_from(tmp_path / "old.keras", other)


def test_a_custom_encoder_has_no_name_for_a_run(tmp_path):
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=8, padding="same")(inputs)
    make_model(encoder=keras.Model(inputs, x)).save(tmp_path / "old.keras")
    with pytest.raises(UserError, match="old.keras: its encoder is a custom model"):
        options_of(tmp_path / "old.keras")
