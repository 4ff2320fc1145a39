import keras
import numpy as np
import pytest
import tensorflow as tf

from data_prep.teachers import Teacher, agreed, view_sizes
from rnnseg.errors import UserError
from tests.support.models import make_model

SIZE = (12, 16)


def brightness_scores(images):
    """Scores two classes: dark, and bright pixels, of images of 0 to 255."""
    brightness = tf.reduce_mean(tf.cast(images, tf.float32), -1, keepdims=True)
    return tf.concat([127.5 - brightness, brightness - 127.5], -1)


def half_dark(size=SIZE):
    image = np.full((*size, 3), 200, np.uint8)
    image[:, : size[1] // 3] = 30
    return image


def expected_of(image):
    return (image.mean(-1) > 127.5).astype(int)


def convert(function, dtype, path, size=SIZE):
    spec = tf.TensorSpec((1, *size, 3), dtype)
    traced = tf.function(function, input_signature=[spec]).get_concrete_function()
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([traced]).convert())
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """LiteRT files, a Keras file and a SavedModel with the same class maps."""
    folder = tmp_path_factory.mktemp("teachers")
    found = {
        "uint8 scores": convert(brightness_scores, tf.uint8, folder / "bytes.tflite"),
        "-1 to 1, class map": convert(
            lambda images: tf.argmax(brightness_scores(images * 127.5 + 127.5), -1),
            tf.float32,
            folder / "map.tflite",
        ),
    }
    images = keras.Input((None, None, 3))
    scores = keras.layers.Conv2D(2, 1, kernel_initializer="zeros")
    model = keras.Model(images, scores(keras.layers.AveragePooling2D(2)(images)))
    scores.set_weights([np.full((1, 1, 3, 2), [-1.0, 1.0]), np.array([1.5, -1.5])])
    found["Keras, 0 to 1, half the size"] = folder / "model.keras"
    model.save(folder / "model.keras")

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])
        def __call__(self, images):
            return {"scores": brightness_scores(images)}

    module = Module()
    tf.saved_model.save(module, folder / "saved", signatures=module.__call__)
    found["SavedModel"] = folder / "saved"
    return found


RANGES = {"-1 to 1, class map": (-1, 1), "Keras, 0 to 1, half the size": (0, 1)}


@pytest.mark.parametrize(
    "kind", ["uint8 scores", "-1 to 1, class map", "Keras, 0 to 1, half the size", "SavedModel"]
)
@pytest.mark.parametrize("size", [SIZE, (24, 36), (8, 6)])
def test_models_of_other_makers_label_images_of_any_size(files, kind, size):
    teacher = Teacher(files[kind], RANGES.get(kind))
    assert teacher.names is None and len(teacher.checksum) == 64
    image = half_dark(size)
    found = teacher(image)
    assert found.shape == size and found.dtype == np.int32
    edge = size[1] // 3
    far = [column for column in range(size[1]) if abs(column - edge + 0.5) > 2]
    np.testing.assert_array_equal(found[:, far], expected_of(image)[:, far])


def test_models_of_this_package_bring_their_classes(tmp_path):
    model = make_model(num_classes=3, class_names=("a", "b", "c"))
    model.save(tmp_path / "mine.keras")
    teacher = Teacher(tmp_path / "mine.keras")
    image = np.random.default_rng(1).integers(0, 256, (32, 40, 3), np.uint8)
    assert teacher.names == ("a", "b", "c") and len(teacher.colors) == 3
    np.testing.assert_array_equal(teacher(image), model.predict_classes(image[None])[0])
    with pytest.raises(UserError, match="--input-range.*takes 0 to 255"):
        Teacher(tmp_path / "mine.keras", (-1, 1))


def test_what_is_no_teacher_is_named(tmp_path, files):
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(b"TFL3" * 10)
    sound = convert(lambda x: x + 1, tf.float32, tmp_path / "two.tflite", (4, 4))
    for path, given, message in (
        (tmp_path / "none.tflite", None, "no such model; expected a .tflite"),
        (damaged, None, "no LiteRT file that can run"),
        (files["-1 to 1, class map"], None, "--input-range -1,1"),
        (files["uint8 scores"], (0, 1), "takes 0 to 255"),
        (tmp_path, None, "holds no model"),
    ):
        with pytest.raises(UserError, match=message):
            Teacher(path, given)
    assert Teacher(sound, (0, 1))(half_dark((4, 4))).shape == (4, 4)  # any scores are classes


def test_a_model_that_gives_no_class_map_is_named(tmp_path):
    fractions = convert(
        lambda images: images[..., 0] / 7, tf.float32, tmp_path / "fractions.tflite"
    )
    with pytest.raises(UserError, match="expected a class map"):
        Teacher(fractions, (0, 1))(half_dark())


def test_labels_are_those_on_which_all_views_agree():
    image = half_dark()
    calls = []

    def sees_the_left(view):
        """Says 1 to the left third of what it sees, and 2 to bright rest."""
        calls.append(view.shape[:2])
        labels = np.full(view.shape[:2], 2)
        labels[:, : view.shape[1] // 3] = 1
        return labels

    labels = agreed(sees_the_left, image, [SIZE, (6, 8)])
    assert calls == [SIZE, SIZE, (6, 8), (6, 8)]
    assert set(np.unique(labels[:, :5])) == {255} and set(np.unique(labels[:, 11:])) == {255}
    assert set(np.unique(labels[:, 6:10])) == {2}
    same = agreed(expected_of, image, [SIZE])
    np.testing.assert_array_equal(same, expected_of(image))


def test_views_that_a_model_would_scale_down_are_looked_at_once():
    assert view_sizes((101, 201), (0.5, 1, 1.5), None) == [(51, 101), (101, 201), (151, 301)]
    assert view_sizes((101, 201), (0.5, 1, 1.5, 2), (201, 201)) == [(51, 101), (101, 201)]
