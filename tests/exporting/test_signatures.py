import numpy as np
import pytest
import tensorflow as tf

from rnnseg.exporting import signatures
from tests.support.models import make_model


def seeded(classes, num_classes, stride):
    """Returns the canvas of a seed pixel by pixel, as the docstring describes it."""
    height, width = classes.shape
    rows, columns = (-(-(side - 1) // stride) + 1 for side in (height, width))
    canvas = np.zeros((rows, columns, num_classes), np.float32)
    for row in range(rows):
        for column in range(columns):
            value = classes[min(stride * row, height - 1), min(stride * column, width - 1)]
            if 0 <= value < num_classes:
                canvas[row, column] = -signatures.SEED_STRENGTH
                canvas[row, column, value] = signatures.SEED_STRENGTH
    return canvas


@pytest.mark.parametrize("size", [(33, 49), (34, 48), (8, 17)])
def test_a_class_map_seeds_the_canvas_at_its_cells(size):
    classes = np.random.default_rng(0).integers(-1, 6, size)
    classes[0, 0] = 255
    expected = seeded(classes, 4, 8)
    for known in (size, (None, None)):
        function = tf.function(
            lambda classes: signatures.seeded_canvas(classes, 4, 8),
            input_signature=[tf.TensorSpec((None, *known), tf.int32)],
            autograph=False,
        )
        np.testing.assert_array_equal(function(np.int32(classes)[None])[0], expected)


def test_a_seed_reads_as_what_it_was_made_from():
    classes = np.zeros((33, 41), np.int32)
    classes[:, 16:] = 2
    functions = signatures.stage_functions(make_model(), (33, 41), 1)
    canvas = functions["seed"](classes=classes[None])["canvas"]
    read = functions["read"](canvas=canvas)["classes"][0].numpy()
    # The border is half-way between two canvas pixels of different classes.
    assert (read[:, :12] == 0).all() and (read[:, 13:] == 2).all()


def test_less_than_one_iteration_counts_as_one():
    model = make_model(learned_start=True)
    function = signatures.segment_function(model, None, None, lambda canvas, size: canvas)
    image = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), np.uint8)
    one = function(image=image, iterations=tf.constant(1))
    for number in (0, -3):
        np.testing.assert_array_equal(function(image=image, iterations=tf.constant(number)), one)
    expected = model.unroll(tf.constant(image), 1)[0]
    np.testing.assert_allclose(one, expected, atol=1e-6)
