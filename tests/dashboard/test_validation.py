import numpy as np
import pytest
import tensorflow as tf

from rnnseg import data
from rnnseg.dashboard import validation
from rnnseg.data.pipeline import evaluation_images
from rnnseg.errors import UserError
from tests.support.models import make_model
from tests.support.sources import halves, tiny_source


@pytest.fixture(scope="module")
def model():
    return make_model(num_classes=3, class_names=("left", "right", "top"))


def arrays(count=3):
    images, labels = zip(*halves(count), strict=True)
    return np.stack(images), np.stack(labels)


def test_sources_are_taken_as_they_are(model, monkeypatch):
    source = tiny_source()
    monkeypatch.setattr(validation, "open_source", {"mine": source}.__getitem__)
    assert validation.open_validation(source, model) == (source, "val")
    assert validation.open_validation((source, "train"), model) == (source, "train")
    assert validation.open_validation("mine", model) == (source, "val")
    assert validation.open_validation(("mine", "train"), model) == (source, "train")


def test_names_are_opened(model):
    source, split = validation.open_validation("shapes", model)
    assert source.name == data.open_source("shapes").name and split == "val"


@pytest.mark.parametrize(
    "form",
    [
        lambda images, labels: (images, labels),
        lambda images, labels: (images.astype(np.float32), labels.astype(np.int64)),
        lambda images, labels: tf.data.Dataset.from_tensor_slices((images, labels)),
        lambda images, labels: tf.data.Dataset.from_tensor_slices((images, labels)).batch(2),
    ],
    ids=["arrays", "floats", "images", "batches"],
)
def test_images_in_memory_come_out_unchanged(model, form):
    images, labels = arrays()
    source, split = validation.open_validation(form(images, labels), model)
    assert source.split_sizes == {split: 3}
    assert source.class_names == model.class_names
    for _ in range(2):  # it can be read again
        found = list(evaluation_images(source, split).as_numpy_iterator())
        np.testing.assert_array_equal(np.stack([each[0] for each in found]), images)
        np.testing.assert_array_equal(np.stack([each[1] for each in found]), labels)


def test_images_of_several_sizes(model):
    examples = halves(1) + halves(2, 33, 50)
    pairs = tf.data.Dataset.from_generator(
        lambda: iter(examples),
        output_signature=(
            tf.TensorSpec((None, None, 3), tf.uint8),
            tf.TensorSpec((None, None), tf.uint8),
        ),
    )
    source, split = validation.open_validation(pairs, model)
    found = [image.shape for image, *_ in evaluation_images(source, split).as_numpy_iterator()]
    assert found == [(40, 48, 3), (33, 50, 3), (33, 50, 3)]


IMAGES, LABELS = arrays()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (7, "of type int"),
        ((IMAGES, LABELS[:2]), "labels of shape"),
        (tf.data.Dataset.from_tensor_slices(IMAGES), "with elements"),
        (tf.data.Dataset.from_tensor_slices((IMAGES, LABELS[:, 0])), "with elements"),
        (tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).repeat(), "no end"),
        ((IMAGES / 255, LABELS), "no value above"),
        ((IMAGES - 128.0, LABELS), "values from"),
        ((IMAGES, np.where(LABELS == 2, 3, LABELS)), "label 3 found; expected 0-2"),
        ((IMAGES, LABELS.astype(np.int32) - 1), "label -1 found"),
    ],
)
def test_what_cannot_be_used_is_named(model, given, message):
    with pytest.raises(UserError, match=message) as caught:
        validation.open_validation(given, model)
    assert "validation_data" in str(caught.value) and "\n" not in str(caught.value)
