import numpy as np
import pytest
import tensorflow as tf

from rnnseg.models import geometry


def test_padding_reaches_the_grid_and_keeps_the_image():
    images = np.random.default_rng(0).normal(size=(2, 40, 33, 3)).astype(np.float32)
    padded = geometry.pad_to_grid(images, 16, 7.0).numpy()
    assert padded.shape == (2, 49, 33, 3)
    np.testing.assert_array_equal(padded[:, :40], images)
    assert np.all(padded[:, 40:] == 7.0)


def test_canvas_pixel_lies_on_its_image_pixel():
    canvas = np.random.default_rng(0).normal(size=(1, 4, 5, 3)).astype(np.float32)
    logits = geometry.upsample(canvas, (25, 33), 8).numpy()
    assert logits.shape == (1, 25, 33, 3)
    np.testing.assert_allclose(logits[:, ::8, ::8], canvas, atol=1e-6)


def test_between_canvas_pixels_it_is_linear():
    rows = np.arange(4)[:, None] * 10.0 + np.arange(5)
    logits = geometry.upsample(rows[None, ..., None].astype(np.float32), (23, 31), 8).numpy()
    expected = np.arange(23)[:, None] / 8 * 10 + np.arange(31) / 8
    np.testing.assert_allclose(logits[0, ..., 0], expected, atol=1e-4)


def test_sizes_may_be_known_only_at_run_time():
    upsample = tf.function(
        lambda canvas, size: geometry.upsample(canvas, size, 8),
        input_signature=[tf.TensorSpec((None, None, None, 2)), tf.TensorSpec((2,), tf.int32)],
    )
    assert upsample(tf.zeros((1, 4, 5, 2)), [20, 30]).shape == (1, 20, 30, 2)


@pytest.mark.parametrize(("size", "slices"), [((25, 33), 0), ([25, 33], 0), ((25, 32), 1)])
def test_nothing_is_copied_where_nothing_is_cut_off(size, slices):
    upsample = tf.function(
        lambda canvas: geometry.upsample(canvas, size, 8),
        input_signature=[tf.TensorSpec((1, 4, 5, 2))],
        autograph=False,
    ).get_concrete_function()
    assert [each.type for each in upsample.graph.get_operations()].count("StridedSlice") == slices
    assert upsample(tf.zeros((1, 4, 5, 2))).shape == (1, *size, 2)


def test_aligned_resizing_keeps_the_corners():
    images = np.random.default_rng(0).normal(size=(1, 9, 17, 2)).astype(np.float32)
    np.testing.assert_allclose(geometry.resize_aligned(images, (5, 9)), images[:, ::2, ::2])


def test_sizes_have_moved():
    with pytest.warns(DeprecationWarning) as caught:
        assert geometry.canvas_size(512, 16) == 33 and geometry.scaled_size(513, 0.5) == 257
    assert [str(each.message) for each in caught] == [
        "rnnseg.models.geometry.canvas_size is now rnnseg.grid.canvas_size",
        "rnnseg.models.geometry.scaled_size is now rnnseg.grid.scaled_size",
    ]
