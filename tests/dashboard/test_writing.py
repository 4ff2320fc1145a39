import dataclasses
import io
import os

import numpy as np
import pytest
from PIL import Image
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups
from tensorboard.plugins.hparams import metadata as hparams_metadata

from rnnseg.budgets import profiles
from rnnseg.dashboard import images, write_evaluation, writing
from rnnseg.evaluation.evaluator import Evaluator
from rnnseg.temporaries import Owner
from tests.dashboard.logdirs import CONTEXT, comparisons, open_provider, scalars
from tests.support.models import make_lively_model
from tests.support.sources import halves, make_source

ITERATIONS = (1, 2, 4)


@pytest.fixture(scope="module")
def source():
    return make_source({"val": halves(3, 43, 51, seed=1)}, class_names=("left", "b<r>", "top"))


@pytest.fixture(scope="module")
def evaluator(source):
    model = make_lively_model(
        num_classes=3,
        iterations=2,
        class_names=source.class_names,
        output_stride=16,
        canvas_stride=8,
        skip_layers=("stride8_conv2_relu",),
        early_iterations=(1,),
        increment_scale=0,
    )
    return Evaluator(model, ITERATIONS)


@pytest.fixture(scope="module")
def evaluation(evaluator, source):
    return evaluator(source, "val", progress=False)


@pytest.fixture(scope="module")
def strips(evaluator, source):
    some = images.read_images(source, "val", 2)
    return [images.make_strip(evaluator, each, source.class_colors) for each in some]


@pytest.fixture
def logdir(tmp_path, evaluation, evaluator, strips):
    write_evaluation(tmp_path / "run", evaluation, evaluator.model, strips, step=3)
    return tmp_path


def test_what_is_read_is_what_was_evaluated(logdir, evaluation, source):
    (comparison,) = comparisons(logdir)
    assert (comparison["data"], comparison["split"], comparison["images"]) == ("tiny", "val", 3)
    (run,) = comparison["runs"]
    assert run["name"] == "run" and run["step"] == 3 and not run["hidden"]
    assert tuple(run["class_names"]) == source.class_names
    points = run["points"]
    assert tuple(point["iterations"] for point in points) == ITERATIONS
    np.testing.assert_array_equal([point["miou"] for point in points], evaluation.miou)
    np.testing.assert_array_equal([point["class_iou"] for point in points], evaluation.class_iou)
    costs = [round(1e9 * point["gmacs"]) for point in points]
    assert tuple(costs) == evaluation.multiply_adds
    assert tuple(point["milliseconds"] for point in points) == evaluation.milliseconds


def test_frontier_is_of_the_points_that_no_other_beats(logdir, evaluation):
    (comparison,) = comparisons(logdir)
    expected, best = [], -1
    for iterations, miou in zip(ITERATIONS, evaluation.miou, strict=True):  # rising cost
        if miou > best:
            best = miou
            expected.append(("run", iterations))
    assert comparison["frontier"]["gmacs"] == expected
    assert comparison["frontier"]["milliseconds"]
    (comparison,) = comparisons(logdir, hidden=["run"])
    assert comparison["runs"][0]["hidden"] and comparison["frontier"]["gmacs"] == []


def test_times_of_several_machines_have_no_frontier(logdir, evaluation, evaluator, monkeypatch):
    other = profiles.Machine("another processor", 96)
    monkeypatch.setattr(profiles.Machine, "this", classmethod(lambda cls: other))
    write_evaluation(logdir / "elsewhere", evaluation, evaluator.model)
    (comparison,) = comparisons(logdir)
    assert str(other) in comparison["machines"] and len(comparison["machines"]) == 2
    assert comparison["frontier"]["milliseconds"] is None and comparison["frontier"]["gmacs"]
    (comparison,) = comparisons(logdir, hidden=["run"])
    assert comparison["frontier"]["milliseconds"]


def test_other_images_are_another_comparison(logdir, evaluation, evaluator):
    test = dataclasses.replace(evaluation, split="test")
    write_evaluation(logdir / "tested", test, evaluator.model)
    assert {each["split"]: len(each["runs"]) for each in comparisons(logdir)} == {
        "val": 1,
        "test": 1,
    }


def test_images_hold_label_and_class_maps(logdir, evaluator, source):
    (comparison,) = comparisons(logdir)
    shown = comparison["runs"][0]["images"]
    assert [each["name"] for each in shown] == ["val_0", "val_2"]
    provider = open_provider(logdir)

    def read(key):
        return Image.open(io.BytesIO(provider.read_blob(CONTEXT, blob_key=key)))

    image, label = halves(3, 43, 51, seed=1)[2]
    assert read(shown[1]["image"]).size == (51, 43)
    found = read(shown[1]["label"])
    np.testing.assert_array_equal(np.asarray(found), label)
    alpha = np.asarray(found.convert("RGBA"))[..., 3]
    np.testing.assert_array_equal(alpha == 0, label == 255)
    for key, iterations in zip(shown[1]["maps"], ITERATIONS, strict=True):
        expected = np.argmax(evaluator.model(image[None], iterations=iterations)[0], -1)
        np.testing.assert_array_equal(np.asarray(read(key)), expected)
    colors = np.asarray(read(shown[1]["maps"][0]).convert("RGB"))
    assert set(map(tuple, colors.reshape(-1, 3))) <= set(source.class_colors)


def test_large_images_are_drawn_smaller(evaluator):
    large = images.Example(
        "large", np.zeros((100, 1300, 3), np.uint8), np.zeros((100, 1300), np.uint8)
    )
    strip = images.make_strip(evaluator, large, [(0, 0, 0)] * 3)
    for file in (strip.image, strip.label, *strip.maps):
        assert Image.open(io.BytesIO(file)).size == (640, 49)


def test_the_latest_evaluation_counts(logdir, evaluation, evaluator, strips):
    """An evaluation is replaced for the same step, with fewer numbers, and by a later step."""
    fewer = dataclasses.replace(
        evaluation,
        iterations=(1, 2),
        confusion=evaluation.confusion[:2],
        multiply_adds=evaluation.multiply_adds[:2],
        milliseconds=evaluation.milliseconds[:2],
    )
    write_evaluation(logdir / "run", fewer, evaluator.model, step=3)
    (run,) = comparisons(logdir)[0]["runs"]
    assert len(run["points"]) == 2 and run["images"] == []
    curve = scalars(logdir, os.path.join("run", "iterations"))["speed_accuracy/mIoU_percent"]
    assert [step for step, _ in curve] == [1, 2]
    write_evaluation(logdir / "run", evaluation, evaluator.model, strips, step=7)
    (run,) = comparisons(logdir)[0]["runs"]
    assert run["step"] == 7 and len(run["points"]) == 3 and len(run["images"]) == 2
    history = scalars(logdir, "run")["operating_point/mIoU_percent"]
    assert [step for step, _ in history] == [3, 7]


def test_event_files_are_read_in_the_order_in_which_they_were_written(
    tmp_path, evaluation, evaluator
):
    """Readers sort names; the writer's counter, of several digits, must not decide."""
    for step in range(3):
        write_evaluation(tmp_path, evaluation, evaluator.model, step=step)
    seconds = [path.name.split(".")[3] for path in tmp_path.glob("events.out.*")]
    assert len(set(seconds)) == 3


def test_event_files_appear_when_they_are_complete(tmp_path, evaluation, evaluator, monkeypatch):
    """Whenever the process is killed, TensorBoard finds nothing that is only half there."""
    replace, found = os.replace, []

    def look(old, new):
        found.append([str(path) for path in tmp_path.rglob("*tfevents*")])
        replace(old, new)

    monkeypatch.setattr(os, "replace", look)
    gone = dataclasses.replace(Owner.this(), process=2**22 + 1)
    left = tmp_path / "run" / f".incomplete.{gone}.abc.0"
    left.parent.mkdir()
    left.write_bytes(b"half")
    write_evaluation(tmp_path / "run", evaluation, evaluator.model)
    assert [len(files) for files in found] == [0, 1] and not left.exists()
    (run,) = comparisons(tmp_path)[0]["runs"]
    assert len(run["points"]) == 3
    assert len(list(tmp_path.rglob("*tfevents*"))) == len(list(tmp_path.glob("run/**/*.0"))) == 2


def test_scalars_have_iterations_as_their_step(logdir, evaluation):
    found = scalars(logdir, os.path.join("run", "iterations"))
    expected = {
        "speed_accuracy/mIoU_percent": 100 * evaluation.miou,
        "speed_accuracy/multiply_adds_G": np.array(evaluation.multiply_adds) / 1e9,
        "speed_accuracy/milliseconds": evaluation.milliseconds,
        "class_iou_percent/b<r>": 100 * evaluation.class_iou[:, 1],
    }
    for tag, values in expected.items():
        steps, shown = zip(*found[tag], strict=True)
        assert steps == ITERATIONS
        np.testing.assert_allclose(shown, values, rtol=1e-6)


def test_trained_iterations_are_the_point_of_operation(logdir, evaluation):
    found = scalars(logdir, "run")
    assert found["operating_point/mIoU_percent"] == [(3, pytest.approx(100 * evaluation.miou[1]))]
    cost = evaluation.multiply_adds[1] / 1e9
    assert found["operating_point/multiply_adds_G"] == [(3, pytest.approx(cost))]


def test_stock_dashboards_get_their_share(logdir, strips):
    provider = open_provider(logdir)
    run = os.path.join("run", "iterations")
    (images,) = provider.read_blob_sequences(
        CONTEXT, experiment_id="", plugin_name="images", downsample=100
    ).values()
    data = images["class_map/val_0"]
    assert [datum.step for datum in data] == list(ITERATIONS)
    width, height, file = (
        provider.read_blob(CONTEXT, blob_key=each.blob_key) for each in data[2].values
    )
    assert (width, height, file) == (b"51", b"43", strips[0].maps[2])

    metadata = provider.list_tensors(CONTEXT, experiment_id="", plugin_name="hparams")["run"]
    start = hparams_metadata.parse_session_start_info_plugin_data(
        metadata[hparams_metadata.SESSION_START_INFO_TAG].plugin_content
    )
    assert start.hparams["hidden_channels"].string_value == "6,5"
    assert start.hparams["iterations"].number_value == 2
    assert start.hparams["canvas_stride"].number_value == 8
    assert start.hparams["early_iterations"].string_value == "1"
    experiment = hparams_metadata.parse_experiment_plugin_data(
        metadata[hparams_metadata.EXPERIMENT_TAG].plugin_content
    )
    metrics = {each.name.tag for each in experiment.metric_infos}
    assert metrics == set(scalars(logdir, "run"))

    (tensor,) = provider.read_tensors(
        CONTEXT, experiment_id="", plugin_name="custom_scalars", downsample=1
    )[run].values()
    layout = layout_pb2.Layout.FromString(tensor[0].numpy.item())
    assert [len(category.chart) for category in layout.category] == [4, 3]


def test_trials_are_called_as_the_runs(logdir, evaluation, evaluator):
    write_evaluation(logdir / "camvid" / "val", evaluation, evaluator.model)  # the same values
    context = backend_context.Context(TBContext(data_provider=open_provider(logdir)))
    request = api_pb2.ListSessionGroupsRequest(
        slice_size=9, allowed_statuses=[api_pb2.STATUS_UNKNOWN]
    )
    handler = list_session_groups.Handler(CONTEXT, context, "", request)
    trials = {trial.name: trial for trial in handler.run().session_groups}
    assert set(trials) == {"run", os.path.join("camvid", "val")}
    shown = {metric.name.tag: metric.value for metric in trials["run"].metric_values}
    assert shown["operating_point/mIoU_percent"] == pytest.approx(100 * evaluation.miou[1])


def test_names_of_runs(tmp_path):
    (tmp_path / "camvid").mkdir()
    folder = writing.run_folder("logs", tmp_path / "camvid", "val")
    assert folder == os.path.join("logs", "camvid", "val")
    folder = writing.run_folder("logs", tmp_path / "camvid" / "last.keras", "val_flip")
    assert folder == os.path.join("logs", "camvid_last", "val_flip")
