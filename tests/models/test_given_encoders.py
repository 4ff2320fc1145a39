"""Encoders and weights that are given in place of a name and ImageNet's weights."""

import keras
import numpy as np
import pytest

import rnnseg
from rnnseg import UserError
from rnnseg.models import encoders
from tests.support.models import make_model


def images(side=33):
    return np.random.default_rng(0).integers(0, 256, (1, side, side, 3)).astype(np.uint8)


def features(model):
    return np.asarray(model.encode(images())["deepest"])


def custom_network():
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(4, 3, strides=8, padding="same")(x))


def test_an_encoder_is_taken_whole_with_its_normalisation(tmp_path):
    old = make_model()
    new = make_model(num_classes=3, encoder=old.encoder)
    np.testing.assert_array_equal(features(new), features(old))
    assert new.options.encoder == "small_cnn" and new.encoder is not old.encoder
    new.save(tmp_path / "new.keras")
    np.testing.assert_array_equal(
        features(rnnseg.load_model(tmp_path / "new.keras")), features(old)
    )


def test_an_encoder_is_taken_at_another_output_stride_and_with_other_depths():
    old = make_model(encoder="mobilenet_v2_0.35", output_stride=16, skip_layers=())
    new = make_model(encoder=old.encoder, output_stride=8)
    same = old.at_output_stride(8)
    np.testing.assert_allclose(features(new), features(same), atol=1e-5)


def test_the_encoder_of_a_model_of_one_s_own_is_taken():
    old = make_model(encoder=custom_network())
    new = make_model(num_classes=3, encoder=old.encoder)
    np.testing.assert_array_equal(features(new), features(old))


def test_the_network_without_its_normalisation_is_refused():
    old = make_model()
    with pytest.raises(UserError, match="encoder itself, such as encoder=old.encoder"):
        make_model(encoder=old.encoder.network)


def test_a_model_of_one_s_own_needs_no_word_on_weights():
    model = rnnseg.RecurrentSegmenter(3, encoder=custom_network(), output_stride=8)
    assert model.options.encoder_weights is None
    with pytest.raises(UserError, match="brings its own weights"):
        make_model(encoder=custom_network(), encoder_weights="file.h5")


def test_an_encoder_has_its_layer_and_weights():
    old = make_model()
    with pytest.raises(UserError, match="encoder_weights: an encoder brings its own weights"):
        make_model(encoder=old.encoder, encoder_weights="file.h5")
    with pytest.raises(UserError, match="encoder_layer='stride4_relu1': an encoder has its layer"):
        make_model(encoder=old.encoder, encoder_layer="stride4_relu1")


@pytest.mark.parametrize("form", ["file", "run"])
def test_weights_of_a_model_or_a_run_are_those_of_its_encoder(form, tmp_path):
    old = make_model(num_classes=3)
    old.save(tmp_path / "best.keras")
    path = tmp_path if form == "run" else tmp_path / "best.keras"
    keras.utils.set_random_seed(8)
    new = rnnseg.RecurrentSegmenter(
        4, encoder="small_cnn", encoder_weights=path, output_stride=8, hidden_channels=(6,)
    )
    np.testing.assert_array_equal(features(new), features(old))


def test_weights_of_another_encoder_are_refused(tmp_path):
    make_model().save(tmp_path / "old.keras")
    with pytest.raises(UserError, match="of another encoder .small_cnn with 128 channels. do not"):
        make_model(
            encoder="mobilenet_v2_0.35", output_stride=16, encoder_weights=tmp_path / "old.keras"
        )


def test_files_of_cut_networks_fit(tmp_path):
    """As `model.encoder.network.save_weights` writes them; Keras' own files have more layers."""
    path = tmp_path / "cut.weights.h5"
    old = encoders.build_encoder("mobilenet_v2_0.35")
    old.network.save_weights(path)
    new = encoders.build_encoder("mobilenet_v2_0.35", path)
    for mine, its in zip(new.network.get_weights(), old.network.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, its)
    with pytest.raises(UserError, match="cut.weights.h5 do not fit mobilenet_v2_0.5"):
        encoders.build_encoder("mobilenet_v2_0.5", path)
