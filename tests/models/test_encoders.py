import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnseg import UserError
from rnnseg.models import encoders
from rnnseg.models.encoder import DEEPEST
from tests.support.models import blocky_image, settle_batch_norm


def original(name, side, **options):
    """The published network, built by Keras for one size, with random but telling weights."""
    keras.utils.set_random_seed(1)
    network = getattr(keras.applications, name)(
        include_top=False, weights=None, input_shape=(side, side, 3), **options
    )
    settle_batch_norm(network, blocky_image(side).astype(np.float32))
    return network


def check_published_network(encoder, name, options, preprocess, folder):
    """Compares an encoder of stride 32 with Keras' network, its weights file and preprocessing."""
    network = original(name, 97, **options)
    network.save_weights(folder / "some.weights.h5")
    ours = encoders.build_encoder(encoder, folder / "some.weights.h5", 32)
    images = blocky_image(97)
    expected = network
    if encoder.startswith("mobilenet_v2"):
        expected = keras.Model(network.input, network.get_layer("block_16_project_BN").output)
    expected = expected(preprocess.preprocess_input(images.astype(np.float32))).numpy()
    features = ours(images)[DEEPEST].numpy()
    assert features.std() > 1e-4
    np.testing.assert_allclose(features, expected, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("encoder", "name", "options", "preprocess"),
    [
        ("mobilenet_v2", "MobileNetV2", {}, keras.applications.mobilenet_v2),
        ("mobilenet_v2_0.5", "MobileNetV2", {"alpha": 0.5}, keras.applications.mobilenet_v2),
        ("resnet50", "ResNet50", {}, keras.applications.resnet),
        ("mobilenet_v3_small", "MobileNetV3Small", {}, keras.applications.mobilenet_v3),
        ("efficientnet_v2_b0", "EfficientNetV2B0", {}, keras.applications.efficientnet_v2),
    ],
)
def test_at_stride_32_it_is_the_published_network(encoder, name, options, preprocess, tmp_path):
    """`test_every_encoder` has more of them; Keras' models hold their own Rescaling."""
    check_published_network(encoder, name, options, preprocess, tmp_path)


def test_at_an_even_size_the_grid_is_that_of_same_padding():
    """The network alone, without the padding to the grid, against Keras' pads for even sizes."""
    network = original("MobileNetV2", 96)
    ours = encoders.build_encoder("mobilenet_v2", None, 32)
    ours.network.set_weights(
        keras.Model(network.input, network.get_layer("block_16_project_BN").output).get_weights()
    )
    images = np.random.default_rng(0).normal(size=(1, 96, 96, 3)).astype(np.float32)
    expected = keras.Model(network.input, network.get_layer("block_16_project_BN").output)(images)
    assert expected.shape[1:3] == (3, 3)
    np.testing.assert_allclose(ours.network(images), expected, atol=1e-4)


@pytest.mark.parametrize("encoder", ["mobilenet_v2_0.35", "resnet50"])
def test_atrous_features_hold_the_features_of_stride_32(encoder):
    """Dilation adds positions in between: every second or fourth is the plain network's."""
    images = blocky_image(129)
    plain = encoders.build_encoder(encoder, None, 32)
    settle_batch_norm(plain.network, blocky_image(129).astype(np.float32) / 127.5 - 1)
    expected = plain(images)[DEEPEST].numpy()
    assert expected.shape[1:3] == (5, 5) and expected.std() > 1e-4
    for stride in (16, 8):
        atrous = encoders.build_encoder(encoder, None, stride)
        atrous.network.set_weights(plain.network.get_weights())
        features = atrous(images)[DEEPEST].numpy()
        step = 32 // stride
        np.testing.assert_allclose(
            features[:, ::step, ::step], expected, atol=1e-4 * np.abs(expected).max()
        )


def test_resnet101_is_the_paper_s(paper_model):
    encoder = paper_model.encoder
    shape = encoder.network.compute_output_shape((1, 513, 513, 3))
    assert tuple(shape) == (1, 33, 33, 2048)
    # The statistics of batch norm are no parameters.
    weights = [each for each in encoder.weights if not each.name.startswith("moving_")]
    parameters = sum(np.prod(weight.shape) for weight in weights)
    assert parameters == pytest.approx(42.55e6, abs=5e3)


def check_features(encoder, stride):
    features = encoders.build_encoder(encoder, None, stride)(blocky_image(65)[:, :50])[DEEPEST]
    assert features.shape[1:3] == (-(-49 // stride) + 1, 64 // stride + 1)
    assert np.all(np.isfinite(features))


@pytest.mark.parametrize(
    "encoder",
    ["mobilenet_v2_1.4", "mobilenet_v3_large_0.75", "efficientnet_v2_b0", "small_cnn"],
)
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_every_family_has_every_stride(encoder, stride):
    check_features(encoder, stride)


@pytest.mark.parametrize(
    ("encoder", "mean"),
    [
        ("small_cnn", (127.5, 127.5, 127.5)),
        ("mobilenet_v2_0.35", (127.5, 127.5, 127.5)),
        ("efficientnet_v2_b0", (123.675, 116.28, 103.53)),
        ("resnet50", (123.68, 116.779, 103.939)),
    ],
)
def test_images_are_padded_with_the_mean_colour(encoder, mean):
    network = encoders.build_encoder(encoder, None, 16)
    images = blocky_image(65).astype(np.float32)
    padded = np.full_like(images, mean)
    padded[:, :50, :59] = images[:, :50, :59]
    found, expected = (network(each)[DEEPEST].numpy() for each in (images[:, :50, :59], padded))
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("encoder", ["mobilenet_v2_0.35", "mobilenet_v3_small", "resnet50"])
def test_only_what_dilation_means_something_to_is_dilated(encoder):
    network = encoders.build_encoder(encoder, None, 16).network
    convolutions = [each for each in network.layers if hasattr(each, "dilation_rate")]
    dilated = [each for each in convolutions if max(each.dilation_rate) > 1]
    assert dilated and min(max(each.kernel_size) for each in dilated) > 1


def test_an_inner_layer_can_be_the_output():
    encoder = encoders.build_encoder("mobilenet_v2", None, 16, layer="block_12_add")
    assert encoder.channels == 96 and encoder(blocky_image(65))[DEEPEST].shape == (1, 5, 5, 96)
    with pytest.raises(UserError, match="choose the output stride that the network has"):
        encoders.build_encoder("mobilenet_v2", None, 16, layer="block_5_add")
    assert encoders.build_encoder("mobilenet_v2", None, 8, layer="block_5_add").channels == 32


def test_an_encoder_that_ends_early_has_fewer_usual_skip_layers():
    def layers(encoder, stride, layer=None):
        options = dict(layer=layer, skip_layers=None, skip_strides=(4, 8, 16))
        built = encoders.build_encoder(encoder, None, stride, **options)
        return [each.name for each in built.depths[:-1]]

    assert layers("mobilenet_v2_0.35", 8, "block_5_add") == ["block_2_add"]
    assert layers("mobilenet_v2_0.35", 16, "block_11_add") == ["block_2_add", "block_5_add"]
    assert layers("small_cnn", 8) == ["stride4_conv2_relu"]


def test_wrong_weights_are_named(tmp_path):
    with pytest.raises(UserError, match="nowhere.h5.: no such file"):
        encoders.build_encoder("mobilenet_v2", "nowhere.h5")
    original("MobileNetV2", 96, alpha=0.35).save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(UserError, match="other.weights.h5 do not fit mobilenet_v2: "):
        encoders.build_encoder("mobilenet_v2", tmp_path / "other.weights.h5")
    (tmp_path / "text.weights.h5").write_text("no weights")
    with pytest.raises(UserError, match="text.weights.h5 do not fit mobilenet_v2: "):
        encoders.build_encoder("mobilenet_v2", tmp_path / "text.weights.h5")
    with pytest.raises(UserError, match="brings its own weights"):
        encoders.build_encoder(keras.Sequential([keras.Input((9, 9, 3))]), "imagenet")
    with pytest.raises(UserError, match="unknown encoder .mobilenet_v2_x."):
        encoders.build_encoder("mobilenet_v2_x", None)


def test_published_segmentation_weights_give_features(real_data):
    weights = real_data / "weights" / "mobilenet_v2_coco_voc_notop.weights.h5"
    encoder = encoders.build_encoder("mobilenet_v2", weights, 16)
    features = encoder(blocky_image(513))[DEEPEST].numpy()
    assert features.shape == (1, 33, 33, 320)
    assert np.all(np.isfinite(features))
    assert np.all(features.std(axis=(0, 1, 2)) > 0)


def test_gradients_reach_the_first_layer():
    encoder = encoders.build_encoder("resnet50", None, 16)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(encoder(blocky_image(65), training=True)[DEEPEST] ** 2)
    gradient = tape.gradient(value, encoder.trainable_weights[0])
    assert np.all(np.isfinite(gradient)) and np.any(gradient)


@pytest.mark.parametrize(
    ("encoder", "stride", "layers"),
    [
        ("mobilenet_v2_0.35", 16, ("block_2_add", "block_5_add")),
        ("mobilenet_v3_small", 32, ("expanded_conv_project_bn", "expanded_conv_2_add",
                                    "expanded_conv_7_add")),
        ("mobilenet_v3_large", 16, ("expanded_conv_2_add", "expanded_conv_5_add")),
        ("resnet50", 16, ("conv2_block3_out", "conv3_block4_out")),
        ("efficientnet_v2_b0", 16, ("block2b_add", "block3b_add")),
        ("small_cnn", 16, ("stride4_conv2_relu", "stride8_conv2_relu")),
    ],
)  # fmt: skip
def test_usual_skip_layers_are_the_last_ones_at_their_stride(encoder, stride, layers):
    strides = [each for each in (4, 8, 16) if each < stride]
    built = encoders.build_encoder(encoder, None, stride, skip_layers=None, skip_strides=strides)
    assert [each.name for each in built.depths] == [*layers, DEEPEST]
    assert [each.stride for each in built.depths] == [*strides, stride]
    features = built(blocky_image(65))
    for depth in built.depths:
        assert features[depth.name].shape[1:] == (64 // depth.stride + 1,) * 2 + (depth.channels,)
