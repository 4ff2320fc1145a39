import pathlib

import numpy as np
import pytest
import tensorflow as tf

from experiments import device_benchmark
from experiments.device_benchmark import Ours, Peer
from rnnseg.evaluation.evaluator import Evaluator
from tests.support.commands import fail, run
from tests.support.litert import write_anytime
from tests.support.models import make_lively_model
from tests.support.sources import tiny_source

SIZE = (43, 51)


def write_peer(path, logits, size=SIZE):
    """Writes a file as others make it: class 2 where red is above the middle, else class 1."""

    def call(image):
        red = (tf.cast(image, tf.float32) / 127.5 - 1 if not logits else image)[..., 0]
        above = tf.cast(red > 0, tf.float32)
        scores = tf.stack([0 * above - 9, 1 - above, above], -1)
        return scores if logits else tf.argmax(scores, -1)

    kind = tf.float32 if logits else tf.uint8
    function = tf.function(call, input_signature=[tf.TensorSpec((1, *size, 3), kind)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], tf.Module()
    )
    path.write_bytes(converter.convert())
    return path


@pytest.fixture(scope="module")
def model():
    return make_lively_model(num_classes=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("device")
    write_anytime(model, SIZE, folder, classes=tuple("abc"), colors=((0, 0, 0),) * 3)
    write_peer(folder / "peer.tflite", logits=False)
    write_peer(folder / "peer_logits.tflite", logits=True)
    return folder


def test_the_command_prints_all_tables(folder, open_as, monkeypatch):
    open_as(tiny_source())
    # Processes of their own would import everything anew.
    monkeypatch.setattr(device_benchmark, "measure_memory", lambda files, peers, threads: {
        path: (path.stat().st_size, 3_000_000) for path in (*files, *peers)
    })  # fmt: skip
    output = run(
        device_benchmark.main, folder / "anytime.tflite", "--peer", folder / "peer.tflite",
        "--peer", folder / "peer_logits.tflite", "--data", "tiny", "--repeats", 1, "--threads", 1,
    )  # fmt: skip
    rows = [line.split("|")[1:-1] for line in output.splitlines() if ".tflite |" in line]
    assert [row[0].strip() for row in rows] == 3 * [
        "anytime.tflite", "peer.tflite", "peer_logits.tflite",
    ]  # fmt: skip
    ours, peer, _ = rows[:3]
    assert all(float(cell) >= 0 for cell in ours[1:4]) and not "".join(peer[1:4] + peer[5:]).strip()
    assert "(1.00)" in peer[4] and all("(" in cell for cell in ours[4:])
    assert [cell.strip() for cell in rows[3][2:]] == ["3"]


def test_miou_is_that_of_the_model_and_of_the_peers_rule(folder, model):
    source = tiny_source()
    models = [Ours(folder / "anytime.tflite", 1), Peer(folder / "peer.tflite", 1)]
    scores = device_benchmark.measure_miou(models, source, "val")
    numbers = (1, 2, 3, 6, 12)
    expected = Evaluator(model, numbers)(source, "val", progress=False)
    found = [scores["anytime.tflite", number][0] for number in numbers]
    np.testing.assert_allclose(found, expected.miou, atol=2e-3)
    assert len(set(found)) > 1 and set(scores) == {
        *(("anytime.tflite", number) for number in numbers), ("peer.tflite", 1),
    }  # fmt: skip


def test_peers_say_the_same_of_any_image(folder):
    image = np.zeros((90, 60, 3), np.uint8)
    image[:, 30:, 0] = 200
    for name in ("peer.tflite", "peer_logits.tflite"):
        (class_map,) = Peer(folder / name, 1).maps(image).values()
        assert class_map.shape == (90, 60)
        assert (class_map[:, :28] == 1).all() and (class_map[:, 32:] == 2).all()


def test_files_of_one_name_have_those_of_their_folders():
    paths = [pathlib.Path(each) for each in ("out/a/x.tflite", "out/b/x.tflite", "out/b/y.tflite")]
    names = device_benchmark.file_names(paths)
    assert list(names.values()) == ["a/x.tflite", "b/x.tflite", "b/y.tflite"]
    assert list(device_benchmark.file_names(paths[1:]).values()) == ["x.tflite", "y.tflite"]
    paths = [pathlib.Path(each) for each in ("one/int8/x.tflite", "two/int8/x.tflite")]
    assert list(device_benchmark.file_names(paths).values()) == list(map(str, paths))


def test_memory_and_size_are_told():
    report = device_benchmark.report_memory({"a.tflite": (2_500_000, 30_400_000)})
    assert report.splitlines()[-1] == "| a.tflite | 2.50 | 30 |"


def test_what_is_no_such_file_is_refused(folder, tmp_path):
    wrong = tmp_path / "wrong.tflite"
    wrong.write_bytes(b"nothing of the kind")
    assert "has no metadata" in fail(device_benchmark.main, wrong)
    message = fail(device_benchmark.main, folder / "anytime.tflite", "--peer", wrong)
    assert "is no LiteRT file" in message
