import numpy as np
import pytest
import tensorflow as tf

from rnnseg import UserError
from rnnseg.budgets import scaling
from rnnseg.budgets.costs import stage_costs
from tests.support.models import make_model


def test_images_keep_their_corners():
    # The colours of the image are the coordinates of its pixels.
    places = np.stack([*np.meshgrid(np.arange(65), np.arange(49)), np.zeros((49, 65))], -1)
    images = np.stack([places, places[::-1]]).astype(np.uint8)
    assert scaling.scaled_size(49, 65, 0.5) == (25, 33)
    np.testing.assert_allclose(scaling.scale_images(images, 0.5), images[:, ::2, ::2])
    whole = scaling.scale_images(tf.constant(images), 1.0)
    assert whole.dtype == tf.float32
    np.testing.assert_array_equal(whole, images)


@pytest.mark.parametrize("scale", [0.25, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("size", [(33, 57), (60, 41)])
def test_a_class_map_is_read_at_every_pixel_of_the_image(scale, size):
    stride = 8
    scaled = scaling.scaled_size(*size, scale)
    rng = np.random.default_rng(0)
    # One canvas pixel more than the image needs, as where the output stride is larger.
    sides = [-(-(side - 1) // stride) + 2 for side in scaled]
    canvas = rng.normal(size=(*sides, 4)).astype(np.float32)
    logits = np.float64(canvas)
    for axis in (0, 1):
        places = np.arange(size[axis]) * (scaled[axis] - 1) / (size[axis] - 1) / stride
        before = np.floor(places).astype(int)
        part = (places - before).reshape(-1, *[1] * (1 - axis), 1)
        near, far = logits.take(before, axis), logits.take(before + 1, axis)
        logits = near + (far - near) * part
    found = scaling.read_scaled(canvas, size, scale, stride)
    assert found.shape == size and np.mean(found == logits.argmax(-1)) > 0.999


def test_costs_of_a_scaled_image():
    model = make_model(
        output_stride=16,
        canvas_stride=4,
        skip_layers=("stride4_conv2_relu", "stride8_conv2_relu"),
        early_iterations=(1, 1),
    )
    assert scaling.scaled_costs(model, 65, 97) == stage_costs(model, 65, 97)
    half, costs = stage_costs(model, 33, 49), scaling.scaled_costs(model, 65, 97, 0.5)
    # Three channels of pixels are scaled, and four logits read, by three interpolations each.
    more = 3 * 3 * 33 * 49 + 3 * 4 * (65 * 97 - 33 * 49)
    assert [costs.total(n) - half.total(n) for n in (1, 2, 3, 9)] == [more] * 4
    with pytest.raises(UserError, match="an image of 15x22 pixels is smaller"):
        scaling.scaled_costs(model, 65, 97, 0.22)


def test_a_batch_is_scaled_segmented_and_read():
    model = make_model(output_stride=16, canvas_stride=8)
    images = np.random.default_rng(0).integers(0, 256, (2, 65, 49, 3), np.uint8)
    found = scaling.predict_scaled(model, images, 0.5, 3)
    assert found.shape == (2, 65, 49) and found.dtype == np.int32
    canvases = model.unroll(images[:, ::2, ::2].astype(np.float32), 3)[-1].numpy()
    for class_map, canvas in zip(found, canvases, strict=True):
        expected = scaling.read_scaled(canvas, (65, 49), 0.5, 8)
        assert np.mean(class_map == expected) > 0.999
    whole = scaling.predict_scaled(model, images, 1.0, model.iterations)
    np.testing.assert_array_equal(whole, model.predict_classes(images.astype(np.float32)))
