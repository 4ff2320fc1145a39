import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnseg.exporting import signatures
from tests.support.models import make_model


def seeded(classes, num_classes, output_stride, stride):
    """Returns the canvas of a seed pixel by pixel, as the docstring describes it."""
    height, width = classes.shape
    # The canvas covers the same image pixels as the deepest features.
    rows, columns = (
        -(-(side - 1) // output_stride) * output_stride // stride + 1 for side in (height, width)
    )
    canvas = np.zeros((rows, columns, num_classes), np.float32)
    for row in range(rows):
        for column in range(columns):
            value = classes[min(stride * row, height - 1), min(stride * column, width - 1)]
            if 0 <= value < num_classes:
                canvas[row, column] = -signatures.SEED_STRENGTH
                canvas[row, column, value] = signatures.SEED_STRENGTH
    return canvas


@pytest.mark.parametrize("size", [(33, 49), (34, 48), (8, 17)])
@pytest.mark.parametrize("strides", [(8, 8), (16, 16), (16, 8), (16, 4)])
def test_a_class_map_seeds_the_canvas_at_its_cells(size, strides):
    output_stride, canvas_stride = strides
    model = types.SimpleNamespace(
        num_classes=4, output_stride=output_stride, canvas_stride=canvas_stride
    )
    classes = np.random.default_rng(0).integers(-1, 6, size)
    classes[0, 0] = 255
    expected = seeded(classes, 4, *strides)
    for known in (size, (None, None)):
        function = tf.function(
            lambda classes: signatures.seeded_canvas(classes, model),
            input_signature=[tf.TensorSpec((None, *known), tf.int32)],
            autograph=False,
        )
        np.testing.assert_array_equal(function(np.int32(classes)[None])[0], expected)


@pytest.mark.parametrize("output_stride", [8, 16])
def test_a_seed_reads_as_what_it_was_made_from(output_stride):
    classes = np.zeros((33, 41), np.int32)
    classes[:, 16:] = 2
    model = make_model(output_stride=output_stride, canvas_stride=8)
    functions = signatures.stage_functions(model, (33, 41), 1)
    canvas = functions["seed"](classes=classes[None])["canvas"]
    read = functions["read"](canvas=canvas)["classes"][0].numpy()
    # The border is half-way between two canvas pixels of different classes.
    assert (read[:, :12] == 0).all() and (read[:, 13:] == 2).all()


@pytest.fixture(scope="module")
def staged_model():
    """Two skip layers in the first stage of the encoder, one in the second."""
    return make_model(
        output_stride=16,
        canvas_stride=4,
        skip_layers=("stride4_conv2_relu", "stride8_conv2_relu", "stride16_conv1_relu"),
        early_iterations=(2, 1),
    )


@pytest.mark.parametrize("size", [(41, 57), None])
def test_stages_of_the_encoder_hand_on_what_the_next_one_needs(staged_model, size):
    functions = signatures.stage_functions(staged_model, size, 1)
    assert {name for name in functions if "encode" in name} == {"encode", "encode_1", "encode_2"}
    image = np.random.default_rng(0).integers(0, 256, (1, 41, 57, 3), np.uint8)
    outputs = functions["encode"](image=image)
    assert outputs.keys() == {"prepared", "stride8_conv2_relu"}
    outputs = functions["encode_1"](**outputs)
    assert outputs.keys() == {"prepared", "stride16_conv1_relu"}
    outputs = functions["encode_2"](**outputs)
    assert outputs.keys() == {"prepared"}
    expected = staged_model.prepare(staged_model.encode(image))
    np.testing.assert_allclose(outputs["prepared"], expected, atol=1e-5)


def test_layers_may_have_any_name():
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, 8, padding="same", name="8-fold.end")(image)
    encoder = keras.Model(image, keras.layers.Conv2D(5, 3, 2, padding="same")(x))
    model = make_model(
        encoder=encoder, output_stride=16, skip_layers=("8-fold.end",), early_iterations=(1,)
    )
    assert signatures.encoder_outputs(model) == (("prepared", "layer_8_fold_end"), ("prepared",))
    functions = signatures.stage_functions(model, (33, 49), 1)
    image = np.random.default_rng(0).integers(0, 256, (1, 33, 49, 3), np.uint8)
    outputs = functions["encode_1"](**functions["encode"](image=image))
    expected = model.prepare(model.encode(image))
    np.testing.assert_allclose(outputs["prepared"], expected, atol=1e-4)


@pytest.mark.parametrize("number", [1, 2, 3, 6])
def test_one_call_runs_early_iterations_on_the_first_features(staged_model, number):
    def outputs(canvas, size):
        return {"canvas": canvas}

    function = signatures.segment_function(staged_model, None, None, outputs)
    image = np.random.default_rng(0).integers(0, 256, (2, 20, 40, 3), np.uint8)
    canvas = function(image=image, iterations=tf.constant(number))["canvas"]
    expected = staged_model.unroll(tf.constant(image), 6)[number - 1]
    np.testing.assert_allclose(canvas, expected, atol=1e-6)


def test_less_than_one_iteration_counts_as_one():
    model = make_model(learned_start=True)
    function = signatures.segment_function(model, None, None, lambda canvas, size: canvas)
    image = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), np.uint8)
    one = function(image=image, iterations=tf.constant(1))
    for number in (0, -3):
        np.testing.assert_array_equal(function(image=image, iterations=tf.constant(number)), one)
    expected = model.unroll(tf.constant(image), 1)[0]
    np.testing.assert_allclose(one, expected, atol=1e-6)
