import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from rnnseg.errors import UserError
from rnnseg.inference.teachers import Teacher
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


@pytest.mark.parametrize(
    "kind", ["uint8 scores", "-1 to 1, class map", "Keras, 0 to 1, half the size", "SavedModel"]
)
def test_models_of_other_makers_score_the_pixels(files, kind):
    """Also one that gives a class map, which is the argmax of scores."""
    teacher = Teacher(files[kind], RANGES.get(kind), with_scores=True)
    image = half_dark((8, 6))
    found = teacher.scores(image)
    assert found.shape == (8, 6, 2) and found.dtype == np.float32
    np.testing.assert_array_equal(found[:, [0, 5]].argmax(-1), expected_of(image)[:, [0, 5]])
    if "Keras" not in kind:  # which averages pixels
        brightness = image.mean(-1)
        expected = np.stack([127.5 - brightness, brightness - 127.5], -1)
        np.testing.assert_allclose(found, expected, atol=1)


def test_logarithms_stand_for_probabilities(tmp_path):
    def function(images):
        return tf.nn.softmax(brightness_scores(images) / 100)

    teacher = Teacher(convert(function, tf.uint8, tmp_path / "softmax.tflite"), with_scores=True)
    image = half_dark()
    scores = brightness_scores(image[None])[0] / 100
    np.testing.assert_allclose(
        teacher.scores(image), scores - tf.reduce_logsumexp(scores, -1, keepdims=True), atol=1e-4
    )


def test_quantized_scores_are_what_they_stand_for(real_data):
    path = real_data / "weights" / "deeplabv3_mnv2_pascal_quant.tflite"
    image = np.asarray(Image.open(next((real_data / "unlabelled").glob("imagenet_*.jpg"))))
    scores = Teacher(path, with_scores=True).scores(image)
    assert scores.shape == (*image.shape[:2], 21)
    # Several classes may have the same eight bits.
    best = np.take_along_axis(scores, Teacher(path)(image)[..., None], -1)[..., 0]
    np.testing.assert_array_equal(best, scores.max(-1))
    assert 2 < np.abs(scores).max() < 60


def test_a_class_map_is_no_score(tmp_path):
    path = convert(lambda x: tf.cast(x[..., 0] > 0, tf.int32), tf.float32, tmp_path / "map.tflite")
    with pytest.raises(UserError, match="gives a class map.*expected scores"):
        Teacher(path, (0, 1), with_scores=True).scores(half_dark())


def test_models_of_this_package_score(tmp_path):
    model = make_model(num_classes=3, class_names=("a", "b", "c"))
    model.save(tmp_path / "mine.keras")
    image = np.random.default_rng(1).integers(0, 256, (32, 40, 3), np.uint8)
    found = Teacher(tmp_path / "mine.keras", with_scores=True).scores(image)
    np.testing.assert_allclose(found, model(image[None])[0], atol=1e-5)


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
