"""Every encoder; `test_costs` and `test_encoders` have one of each family."""

import itertools

import keras
import pytest

from rnnseg.models import encoders
from tests.models.test_encoders import check_features, check_published_network
from tests.support.profiler import check_stages


@pytest.mark.parametrize(
    ("name", "output_stride"),
    [
        *((name, 16) for name in encoders.names()),
        *itertools.product(["resnet50", "mobilenet_v2", "efficientnet_v2_b0"], [8, 32]),
    ],
)
def test_profiler_counts_the_same(name, output_stride):
    check_stages(name, output_stride)


@pytest.mark.parametrize(
    ("encoder", "name", "preprocess"),
    [
        ("mobilenet_v3_large", "MobileNetV3Large", keras.applications.mobilenet_v3),
        ("efficientnet_v2_s", "EfficientNetV2S", keras.applications.efficientnet_v2),
    ],
)
def test_at_stride_32_it_is_the_published_network(encoder, name, preprocess, tmp_path):
    check_published_network(encoder, name, {}, preprocess, tmp_path)


@pytest.mark.parametrize(("output_stride", "side"), [(8, 65), (32, 17)])
def test_resnet101_has_the_features_of_the_paper_s_other_strides(output_stride, side):
    network = encoders.build_encoder("resnet101", None, output_stride).network
    assert tuple(network.compute_output_shape((1, 513, 513, 3))) == (1, side, side, 2048)


@pytest.mark.parametrize("output_stride", encoders.OUTPUT_STRIDES)
def test_a_deeper_efficientnet_has_every_stride(output_stride):
    check_features("efficientnet_v2_b3", output_stride)
