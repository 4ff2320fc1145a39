import keras
import numpy as np
import pytest

from rnnseg import UserError
from rnnseg.models import encoders
from rnnseg.models.encoder import DEEPEST
from tests.support.models import blocky_image, settle_batch_norm


@pytest.mark.parametrize(
    ("encoder", "layers", "early"),
    [
        ("mobilenet_v2_0.35", ("block_5_add", "block_12_add"), 2),
        ("mobilenet_v2_0.35", ("block_2_add", "block_5_add", "block_12_add"), 1),
        # Inside a residual block: two tensors cross the cut.
        ("mobilenet_v2_0.35", ("block_4_expand_relu", "block_11_depthwise_relu"), 2),
    ],
)
def test_stages_compute_what_the_whole_encoder_computes(encoder, layers, early):
    built = encoders.build_encoder(encoder, None, 16, skip_layers=layers, early_stages=early)
    settle_batch_norm(built.network, blocky_image(65).astype(np.float32) / 127.5 - 1)
    expected = built(blocky_image(65))
    assert len(built.stages) == early + 1 and set(expected) == {*layers, DEEPEST}
    found, inputs = {}, blocky_image(65)
    for number, names in enumerate(built.stages):
        inputs = built.run_stage(number, inputs)
        found |= {name: inputs[name] for name in names}
    for name in expected:
        assert np.std(expected[name]) > 1e-4
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)


def test_stages_share_the_weights_of_the_encoder():
    whole = encoders.build_encoder("mobilenet_v2_0.35", None, 16)
    staged = encoders.build_encoder(
        "mobilenet_v2_0.35", None, 16, skip_layers=("block_5_add",), early_stages=1
    )
    assert [each.path for each in staged.weights] == [each.path for each in whole.weights]


def test_wrong_skip_layers_are_named():
    def build(*layers, early=0):
        return encoders.build_encoder(
            "mobilenet_v2_0.35", None, 16, skip_layers=layers, early_stages=early
        )

    with pytest.raises(UserError, match="no layer 'block_99'; its last ones are"):
        build("block_99")
    with pytest.raises(UserError, match="expected each once, from the shallowest: block_5_add, b"):
        build("block_12_add", "block_5_add")
    with pytest.raises(UserError, match="expected each once"):
        build("block_5_add", "block_5_add")
    with pytest.raises(UserError, match="2 stages of the encoder before the last: .* there are 1"):
        build("block_5_add", early=2)
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True, name="mean")
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=16, padding="same")(images)
    network = keras.Model(images, x + keras.layers.Conv2D(4, 1)(mean(x)))
    with pytest.raises(UserError, match="skip layer mean gives an output of shape"):
        encoders.build_encoder(network, None, 16, skip_layers=("mean",))
