"""SDN: its units written a second time, its supervision and its costs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnseg import SegmentationLoss, UserError
from rnnseg.budgets import costs
from tests.models.baselines import test_heads
from tests.models.baselines.test_heads import block, classify, random_features, spread
from tests.support.profiler import traced_operations

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 33, 49, 3), np.uint8)
LABELS = np.random.default_rng(1).integers(0, 4, (2, 33, 49), np.uint8)


def build(**options):
    return test_heads.build("sdn", **({"head_channels": 12, "units": 2} | options))


def dense(layer, x):
    for convolution in layer.convolutions:
        x = np.concatenate([x, block(convolution, x)], -1)
    return block(layer.compress, x)


def deconvolve(kernel, x):
    """Every value spreads over 3x3 pixels around its place, twice as far apart as before."""
    batch, height, width, _ = x.shape
    out = np.zeros((batch, 2 * height + 1, 2 * width + 1, kernel.shape[2]))
    for row in range(3):
        for column in range(3):
            places = out[:, row : row + 2 * height : 2, column : column + 2 * width : 2]
            places += np.einsum("bhwc,oc->bhwo", x, kernel[row, column])
    return out[:, 1:-1, 1:-1]


def pool(x):
    """The largest of 3x3 around every second pixel."""
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
    height, width = (-(-side // 2) for side in x.shape[1:3])
    around = [
        padded[:, row : row + 2 * height - 1 : 2, column : column + 2 * width - 1 : 2]
        for row in range(3)
        for column in range(3)
    ]
    return np.max(around, 0)


def test_sdn_equals_its_definition():
    model = build()
    head = model.head
    assert [depth.stride for depth in model.encoder.depths] == [4, 8, 16]
    assert head.widths == [12, 16, 21]  # 576, 768, 1024 of 576
    fine, middle, deepest = (np.float64(each) for each in random_features(model, 3, 4).values())
    low, scores, expected = block(head.start, deepest), iter(head.scores), []
    sums, high, mid = [0, 0], None, None
    for unit in range(2):
        if unit:
            down_1, down_2 = head.down[0]
            x = dense(down_1, np.concatenate([pool(high), mid], -1))
            low = dense(down_2, np.concatenate([pool(x), low], -1))
        up_0, up_1 = head.up[unit]
        mid = deconvolve(np.float64(up_1.kernel), low)
        mid = dense(up_1.block, np.concatenate([mid, middle], -1))
        high = deconvolve(np.float64(up_0.kernel), mid)
        high = dense(up_0.block, np.concatenate([high, fine], -1))
        for level, x in ((1, mid), (0, high)):
            layer = next(scores)
            sums[level] = sums[level] + classify(layer, x)
            expected.append(spread(sums[level], *fine.shape[1:3]))
    found = head.score_maps([tf.constant(np.float32(each)) for each in (fine, middle, deepest)])
    for ours, its in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, its, rtol=1e-3, atol=1e-4)
    features = random_features(model, 3, 4)
    np.testing.assert_allclose(model.prepare(features), expected[-1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("units", "stride", "maps"), [(1, 16, 2), (3, 16, 6), (1, 32, 3)])
def test_every_unit_and_level_is_supervised(units, stride, maps):
    model = build(units=units, output_stride=stride)
    assert len(model.logits_weights) == len(model.head.scores) == maps


def test_all_maps_have_a_loss():
    model = build(encoder="small_cnn", l2=0.0)
    model.compile(keras.optimizers.SGD(0.1), SegmentationLoss())
    logits = model.weighted_logits(IMAGES)
    assert len(logits) == 4
    each = [float(model.compute_loss(IMAGES, LABELS, one)) for one in logits]
    assert len({round(value, 5) for value in each}) == 4
    loss = float(model.compute_loss(IMAGES, LABELS, logits))
    assert loss == pytest.approx(np.mean(each), rel=1e-5)
    before = [layer.kernel.numpy() for layer in model.head.scores]
    history = model.fit(IMAGES, LABELS, batch_size=2, verbose=0).history
    assert history["loss"][0] == pytest.approx(loss, rel=1e-3)
    for layer, kernel in zip(model.head.scores, before, strict=True):
        assert not np.array_equal(layer.kernel, kernel)


def test_profiler_counts_the_same():
    model = build()
    counted = costs.stage_costs(model, 113, 113).prepare
    prepare = costs._stages(model, 113, 113)["prepare"]
    kinds = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2")
    profiled = traced_operations(prepare, *kinds) / 2
    # The profiler does not know deconvolutions: a product per value, tap and output channel, from
    # stride 16 to 8 and from 8 to 4, in both units.
    deconvolved = 2 * 9 * (8**2 * 21 * 21 + 15**2 * 16 * 16)
    assert counted == pytest.approx(profiled + deconvolved, rel=1e-3)


def test_strides_that_do_not_halve_are_refused():
    with pytest.raises(UserError, match="strides 4, 16 .* sdn expects each to be twice the one"):
        build(skip_layers=("block_2_add",))
