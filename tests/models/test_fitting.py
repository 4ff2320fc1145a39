import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnnseg
from rnnseg import UserError
from tests.support.models import make_model

CLASSES = 4


def data(batch=4, side=32):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, side, side, 3)).astype(np.float32)
    labels = rng.integers(0, CLASSES, (batch, side, side)).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.2] = 255
    return images, labels


def standing_model(loss=None, **options):
    """One whose training changes nothing, so that losses can be compared."""
    model = make_model(**options)
    model.encoder.trainable = False
    model.compile(keras.optimizers.SGD(0.0), loss or rnnseg.SegmentationLoss())
    return model


def keras_value(model, images, labels, weights):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    return float(loss(labels, model(images), weights))


def first_loss(model, *args, **kwargs):
    return model.fit(*args, verbose=0, **kwargs).history["loss"][0]


WEIGHTS = {
    "per image": np.float32([0.5, 2, 0, 1]),
    "per pixel": np.random.default_rng(1).random((4, 32, 32)).astype(np.float32),
}


@pytest.mark.parametrize("ours", [True, False])
def test_sample_weights_in_fit_evaluate_and_validation(ours):
    """Per image and per pixel, with a loss of this package and with Keras' own."""
    images, labels = data()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    model = standing_model(None if ours else loss)
    for weights in WEIGHTS.values():
        full = np.broadcast_to(weights.reshape((4, -1, 1)), (4, 1024, 1)).reshape(labels.shape)
        expected = keras_value(model, images, labels, full)
        validation = (images, labels[..., np.newaxis], weights)
        history = model.fit(
            images, labels, sample_weight=weights, validation_data=validation, verbose=0
        ).history
        evaluated = model.evaluate(images, labels, sample_weight=weights, verbose=0)
        found = [history["loss"][0], history["val_loss"][0], evaluated]
        np.testing.assert_allclose(found, [expected] * 3, rtol=1e-5)


@pytest.mark.parametrize("form", ["arrays", "tf.data", "tf.data with weights and a last axis"])
def test_class_weight_weighs_pixels_in_training_alone(form):
    images, labels = data()
    model = standing_model()
    chosen = {1: 5.0, 3: 0.0}
    weights = np.append([1, 5, 1, 0], np.ones(252)).astype(np.float32)[labels]
    if form == "arrays":
        arguments = images, labels
    elif form == "tf.data":
        arguments = (tf.data.Dataset.from_tensor_slices((images, labels)).batch(4),)
    else:
        more = WEIGHTS["per pixel"]
        every = images, labels[..., np.newaxis], more.astype(np.float64)
        arguments = (tf.data.Dataset.from_tensor_slices(every).batch(4),)
        weights = weights * more
    before = first_loss(model, images, labels)
    validation = (images, labels)
    history = model.fit(
        *arguments, class_weight=chosen, validation_data=validation, verbose=0
    ).history
    expected = keras_value(model, images, labels, weights)
    np.testing.assert_allclose(history["loss"][0], expected, rtol=1e-5)
    np.testing.assert_allclose(history["val_loss"][0], before, rtol=1e-5)
    np.testing.assert_allclose(first_loss(model, images, labels), before, rtol=1e-6)


def test_class_weights_reach_every_weighted_iteration():
    images, labels = data()
    model = standing_model(iterations=2, iteration_weights=(1.0, 1.0))
    weights = np.append([0, 1, 0, 0], np.zeros(252)).astype(np.float32)[labels]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    expected = np.mean([float(loss(labels, model(images, iterations=n), weights)) for n in (1, 2)])
    found = first_loss(model, images, labels, class_weight={0: 0, 2: 0, 3: 0})
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_class_weight_of_no_class_is_refused():
    with pytest.raises(
        UserError, match="class_weight: 4 is no class; expected numbers from 0 to 3"
    ):
        standing_model().fit(*data(), class_weight={4: 2.0}, verbose=0)


def test_a_rare_class_is_learned_with_weight():
    """Weights that scale the whole loss would not bring out a class of two in a hundred pixels."""
    rng = np.random.default_rng(0)
    labels = np.zeros((8, 32, 32), np.uint8)
    labels[:, 8:12, 8:12] = 1
    images = (rng.normal(0, 40, (8, 32, 32, 3)) + 110).clip(0, 255).astype(np.float32)
    images[labels == 1] += 15

    def recall(class_weight):
        model = make_model(num_classes=2)
        model.compile(keras.optimizers.Adam(0.02), rnnseg.SegmentationLoss())
        model.fit(images, labels, epochs=8, batch_size=8, class_weight=class_weight, verbose=0)
        return np.mean(model.predict_classes(images)[labels == 1] == 1)

    assert recall({1: 60.0}) > recall(None) + 0.5


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        "SparseCategoricalCrossentropy",
        keras.losses.sparse_categorical_crossentropy,
        keras.losses.SparseCategoricalCrossentropy(),
        keras.losses.CategoricalFocalCrossentropy(),
        ["categorical_crossentropy"],
    ],
)
def test_losses_of_probabilities_are_refused(loss):
    with pytest.raises(UserError, match="takes probabilities, and the model gives logits: set"):
        make_model().compile("sgd", loss)


def user_loss(y_true, y_pred):
    return tf.reduce_mean(y_pred)


@pytest.mark.parametrize(
    "loss",
    [
        None,
        "mean_squared_error",
        user_loss,
        rnnseg.SegmentationLoss(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ],
)
def test_other_losses_are_taken(loss):
    make_model().compile("sgd", loss)


def test_a_compiled_model_is_compiled_after_loading(tmp_path):
    model = make_model()
    model.compile(keras.optimizers.Adam(0.02), rnnseg.SegmentationLoss(0.1, [1, 2, 3, 4]))
    model.fit(*data(), verbose=0)
    model.save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*compile")
        loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.loss.class_weights == (1, 2, 3, 4) and int(loaded.optimizer.iterations) == 1
    for mine, its in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine, its)


def range_warnings(function, *args, **kwargs):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function(*args, **kwargs)
    return [str(each.message) for each in caught if "RGB 0-255" in str(each.message)]


def test_images_between_0_and_1_are_told_once():
    images, labels = data()
    model = standing_model()
    for method in ("fit", "evaluate", "predict", "predict_classes"):
        model._has_warned_of_range = False
        call = getattr(model, method)
        arguments = (labels,) if method in ("fit", "evaluate") else ()
        silent = {} if method == "predict_classes" else {"verbose": 0, "batch_size": 2}
        assert not range_warnings(call, images, *arguments, **silent)
        (message,) = range_warnings(call, images / 255, *arguments, **silent)
        assert "values from 0 to 1:" in message and "multiply images of 0-1 by 255" in message
        assert not range_warnings(call, images / 255, *arguments, **silent)


def test_normalized_images_are_told_and_black_ones_are_not():
    images, _ = data()
    assert range_warnings(standing_model().predict_classes, images / 127.5 - 1)
    assert not range_warnings(standing_model().predict_classes, np.zeros_like(images))


def test_keras_export_needs_no_more_than_a_path(tmp_path):
    images, _ = data(side=41)
    model = standing_model()
    model.export(tmp_path / "exported", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(loaded.serve(images), model(images), atol=1e-5)


def test_keras_quantization_is_refused_with_the_way_that_works():
    with pytest.raises(UserError, match="Keras quantizes no convolutions; .*--quantize int8"):
        make_model().quantize("int8")
