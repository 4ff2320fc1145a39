"""ONNX files, which ONNX Runtime runs; the converter runs in the present process."""

import importlib.util

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from rnnseg import UserError
from rnnseg.exporting import onnx, processes
from rnnseg.models.registry import MODELS
from tests.support.litert import make_staged_model, run_here
from tests.support.models import blocky_image, make_model

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.setattr(processes, "run", run_here)


def exported(model, folder, **options):
    model.export(folder / "model.onnx", format="onnx", verbose=False, **options)
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    return onnxruntime.InferenceSession(folder / "model.onnx", quiet)


def logits(session, images, iterations=None):
    number = {} if iterations is None else {"iterations": np.array(iterations, np.int32)}
    return session.run(["logits"], {"images": images} | number)[0]


@pytest.fixture(scope="module")
def staged():
    """Three stages of the encoder, a fine canvas, a learned start."""
    return make_staged_model()


@pytest.fixture(scope="module")
def session(staged, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "run", run_here)
        return exported(staged, tmp_path_factory.mktemp("onnx"))


def assert_alike(found, expected):
    assert expected.std() > 0.02  # else there would be nothing to see
    np.testing.assert_allclose(found, expected, atol=1e-4 * abs(expected).max())


@pytest.mark.parametrize("size", [(1, 41, 57), (2, 30, 44), (1, 129, 16)])
def test_one_file_serves_every_size_and_number_of_iterations(staged, session, size):
    images = np.resize(blocky_image(160), (size[0], 160, 160, 3))
    images = images[:, : size[1], : size[2]].astype(np.float32)
    for number in (1, 2, 3, 4, 9):
        assert_alike(logits(session, images, number), staged(images, iterations=number).numpy())


def test_without_a_number_it_runs_the_iterations_of_training(staged, session):
    images = blocky_image(48).astype(np.float32)
    np.testing.assert_array_equal(
        logits(session, images), logits(session, images, staged.iterations)
    )
    assert np.any(logits(session, images) != logits(session, images, staged.iterations - 1))
    np.testing.assert_array_equal(logits(session, images, 0), logits(session, images, 1))


def test_real_images(staged, session, real_data):
    for path in sorted(real_data.glob("unlabelled/*.jpg"))[:3]:
        image = np.asarray(Image.open(path).convert("RGB").resize((180, 131)))[np.newaxis]
        found = logits(session, image.astype(np.float32), 6)
        expected = staged(image, iterations=6).numpy()
        assert_alike(found, expected)
        assert np.mean(found.argmax(-1) == expected.argmax(-1)) > 0.999


def test_inputs_and_outputs_say_what_they_take(session):
    required, more = session.get_inputs(), session.get_overridable_initializers()
    sides = ["batch", "height", "width"]
    assert [(each.name, each.shape) for each in required] == [("images", [*sides, 3])]
    assert [(each.name, each.shape, each.type) for each in more] == [
        ("iterations", [], "tensor(int32)")
    ]
    (output,) = session.get_outputs()
    assert (output.name, output.shape, output.type) == ("logits", [*sides, 4], "tensor(float)")


def test_a_feed_forward_model_takes_images_alone(tmp_path):
    """In mixed precision, which the file does not have; with a signature and operators as asked."""
    options = dict(encoder="small_cnn", encoder_weights=None, output_stride=8, head_channels=16)
    model = MODELS["deeplabv3"](3, dtype="mixed_bfloat16", **options)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Conv2D):
            layer.kernel.assign(1.5 * layer.kernel)
    signature = [keras.InputSpec(shape=(1, 41, None, 3), dtype="uint8")]
    session = exported(model, tmp_path, input_signature=signature, opset_version=17)
    assert [(each.name, each.shape, each.type) for each in session.get_inputs()] == [
        ("images", [1, 41, "width", 3], "tensor(uint8)")
    ]
    assert not session.get_overridable_initializers()
    image = blocky_image(57)[:, :41]
    single = type(model).from_config(model.get_config() | {"dtype": "float32"})
    single.set_weights(model.get_weights())
    assert_alike(logits(session, image), single(image).numpy())
    loaded = pytest.importorskip("onnx").load(tmp_path / "model.onnx")
    assert {each.domain: each.version for each in loaded.opset_import}[""] == 17


def test_an_operator_that_onnx_does_not_have_is_named(tmp_path):
    inputs = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(4, 3, strides=8, padding="same", activation=tf.math.lgamma)
    model = make_model(encoder=keras.Model(inputs, features(inputs)), skip_layers=())
    with pytest.raises(UserError, match="recurrent_segmenter cannot be converted to ONNX: .*Lgamm"):
        model.export(tmp_path / "model.onnx", format="onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "signature",
    [
        [keras.InputSpec(shape=(None, None, None, 3)), keras.InputSpec(shape=())],
        [keras.InputSpec(shape=(None, 3))],
        [keras.InputSpec(ndim=4)],
    ],
)
def test_other_signatures_are_refused(tmp_path, signature):
    with pytest.raises(UserError, match="expected one specification of images, such as"):
        make_model().export(tmp_path / "m.onnx", format="onnx", input_signature=signature)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    missing = {"tf2onnx", "onnxruntime"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name in missing else find(name, *a)
    )
    with pytest.raises(UserError, match=r"^ONNX needs tf2onnx: pip install 'rnnseg\[onnx\]'$"):
        make_model().export(tmp_path / "model.onnx", format="onnx")
    with pytest.raises(UserError, match="ONNX needs tf2onnx, onnxruntime: pip"):
        onnx.check_installed((*onnx.CONVERTING, *onnx.RUNNING))
