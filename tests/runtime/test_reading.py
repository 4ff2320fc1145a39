import numpy as np
import pytest
import tensorflow as tf

from rnnseg import UserError
from rnnseg.models import geometry
from rnnseg.runtime import reading
from tests.support.models import make_model


def read_densely(canvas, size, stride):
    logits = geometry.upsample(canvas[np.newaxis], size, stride)
    return tf.argmax(logits, -1, output_type=tf.int32)[0].numpy()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_told(value):
    canvas = blobs((5, 6, 3))
    canvas[2, 3, 1] = value
    with pytest.raises(UserError, match="not finite numbers: the model's weights are damaged"):
        reading.read_sparsely(canvas, (33, 41), 8)


def blobs(shape, seed=0):
    """Returns a canvas with some regions that each have a leading class, as of a trained model."""
    rng = np.random.default_rng(seed)
    height, width, classes = shape
    coarse = rng.integers(0, classes, (-(-height // 4), -(-width // 4)))
    leading = coarse.repeat(4, 0).repeat(4, 1)[:height, :width]
    return (4 * np.eye(classes)[leading] + rng.normal(size=shape)).astype(np.float32)


CANVASES = {
    "regions": blobs((9, 12, 7)),
    "noise": np.random.default_rng(1).normal(size=(7, 5, 21)).astype(np.float32),
    # Halves and zeros of both signs: ties at corners and between them, and where lines cross.
    "ties": np.random.default_rng(2).integers(-2, 3, (9, 9, 3)).astype(np.float32) / 2 * -1,
    "two classes": np.random.default_rng(3).integers(0, 2, (6, 8, 2)).astype(np.float32),
    "one class": np.random.default_rng(4).normal(size=(4, 5, 1)).astype(np.float32),
    "zeros": np.zeros((5, 6, 4), np.float32),
    "constant": np.full((5, 6, 4), 0.1, np.float32),
    "tie at the top": np.full((4, 4, 5), 0.1, np.float32) * np.float32([1, 7, 7, 3, 7]),
    "300 classes": blobs((5, 6, 300)),
    "one row": blobs((1, 6, 4)),
    "one column": blobs((6, 1, 4)),
    "one cell": blobs((1, 1, 4)),
}


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("name", CANVASES)
def test_equal_to_dense_reading(name, stride):
    canvas = CANVASES[name]
    height, width = (stride * (cells - 1) + 1 for cells in canvas.shape[:2])
    for cut in (0, 1, 3, stride - 1):
        size = max(1, height - cut), max(1, width - 2 * cut)
        found = reading.read_sparsely(canvas, size, stride)
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, read_densely(canvas, size, stride), str(size))


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e4, 1e30])
def test_leads_near_rounding_are_interpolated(scale):
    # The second class leads at every corner, by so little that rounding makes ties in between.
    rng = np.random.default_rng(0)
    first = rng.normal(size=(12, 12)).astype(np.float32)
    units = rng.integers(1, 4, (12, 12)).astype(np.float32) * np.spacing(np.abs(first))
    canvas = np.stack([first, first + units, first - 1], -1) * np.float32(scale)
    found = reading.read_sparsely(canvas, (177, 177), 16)
    np.testing.assert_array_equal(found, read_densely(canvas, (177, 177), 16))


def test_only_borders_are_interpolated(monkeypatch):
    canvas = np.full((9, 9, 3), -1.0, np.float32)
    canvas[:, :4, 0] = canvas[:, 4:, 2] = 1
    cells = []
    read_patches = reading._read_patches
    monkeypatch.setattr(
        reading, "_read_patches", lambda *args: cells.extend(args[3]) or read_patches(*args)
    )
    reading.read_sparsely(canvas, (129, 129), 16)
    assert cells == [3] * 9


@pytest.mark.parametrize("name", CANVASES)
def test_equal_to_dense_reading_at_any_places(name):
    canvas = CANVASES[name]
    for height, width in ((100, 150), (1, 97), (64, 1)):
        rows, columns = (
            np.linspace(0, share * (cells - 1), side)
            for share, cells, side in zip((1, 0.83), canvas.shape, (height, width), strict=False)
        )
        found = reading.read_at(canvas, rows, columns)
        assert found.shape == (height, width)
        np.testing.assert_array_equal(found, interpolate(canvas, rows, columns).argmax(-1))


def interpolate(canvas, rows, columns):
    """Interpolates all logits by the same operations."""

    def between(values, places):
        before = places.astype(int)
        after = np.minimum(before + 1, len(values) - 1)
        weight = (places - before).astype(np.float32)[:, np.newaxis, np.newaxis]
        return values[before] + (values[after] - values[before]) * weight

    across = between(canvas.swapaxes(0, 1), columns).swapaxes(0, 1)
    return between(across, rows)


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(reading, "_BLOCK", 3 * 64)
    sizes = []
    read_patches = reading._read_patches
    monkeypatch.setattr(
        reading, "_read_patches", lambda *args: sizes.append(len(args[2])) or read_patches(*args)
    )
    canvas = CANVASES["noise"]
    np.testing.assert_array_equal(
        reading.read_sparsely(canvas, (49, 33), 8), read_densely(canvas, (49, 33), 8)
    )
    assert max(sizes) == 3 and len(sizes) > 3


def test_what_trained_models_give(real_data):
    weights = real_data / "weights" / "mobilenet_v2_coco_voc_notop.weights.h5"
    example = next(iter(sorted((real_data / "VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"))))
    image = tf.io.decode_jpeg(tf.io.read_file(str(example)))
    model = make_model(num_classes=21, encoder="mobilenet_v2", encoder_weights=weights)
    size = tuple(image.shape[:2])
    for canvas in model.unroll(image[tf.newaxis], 4):
        found = reading.read_sparsely(canvas[0].numpy(), size, model.output_stride)
        np.testing.assert_array_equal(found, model.read(canvas, size)[0])


def test_a_canvas_too_small_is_refused():
    with pytest.raises(UserError, match=r"size \(18, 17\): a canvas of 3x3 covers 17x17 pixels"):
        reading.read_sparsely(np.zeros((3, 3, 2), np.float32), (18, 17), 8)
