"""The encoders; `test_costs` and `test_encoders` have one of each family."""

import inspect

import keras
import pytest

from rnnseg.models import encoders
from tests.models.test_encoders import check_published_network
from tests.support.profiler import check_stages

# They repeat the blocks of a smaller encoder, and take most of a minute to build.
DEEPER = (
    "resnet101",
    "resnet152",
    "efficientnet_v2_b1",
    "efficientnet_v2_b2",
    "efficientnet_v2_b3",
    "efficientnet_v2_m",
    "efficientnet_v2_l",
)


@pytest.fixture
def blank_weights(monkeypatch):
    """Makes large networks faster; shapes and counts do not depend on the weights."""
    monkeypatch.setattr(
        keras.initializers.VarianceScaling,
        "__call__",
        lambda initializer, shape, dtype=None: keras.ops.zeros(shape, dtype),
    )


@pytest.mark.parametrize(
    ("name", "output_stride"),
    [*((name, 16) for name in encoders.names() if name not in DEEPER), ("mobilenet_v2", 8)],
)
def test_profiler_counts_the_same(name, output_stride, blank_weights):
    check_stages(name, output_stride)


@pytest.mark.parametrize("name", DEEPER)
def test_deeper_encoders_have_a_constructor_in_keras(name):
    family = encoders._NETWORKS[name]
    constructor = getattr(keras.applications, family.constructor)
    inspect.signature(constructor).bind(include_top=False, weights=None, **family.options)
    assert name.replace("_", "") == family.constructor.lower()


@pytest.mark.parametrize(
    ("encoder", "name", "preprocess"),
    [
        ("mobilenet_v3_large", "MobileNetV3Large", keras.applications.mobilenet_v3),
        ("efficientnet_v2_s", "EfficientNetV2S", keras.applications.efficientnet_v2),
    ],
)
def test_at_stride_32_it_is_the_published_network(encoder, name, preprocess, tmp_path):
    check_published_network(encoder, name, {}, preprocess, tmp_path)


def test_a_deeper_efficientnet_is_dilated_throughout(blank_weights):
    network = encoders.build_encoder("efficientnet_v2_b3", None, 8).network
    assert tuple(network.compute_output_shape((1, 65, 65, 3))) == (1, 9, 9, 1536)
