import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from rnnseg import UserError
from rnnseg.budgets import timing
from rnnseg.budgets.costs import stage_costs
from rnnseg.budgets.planning import Scores
from rnnseg.data.tables import CITYSCAPES
from rnnseg.evaluation import metrics, report
from rnnseg.evaluation.cityscapes import Instances, InstanceSums
from rnnseg.evaluation.evaluator import Evaluator, check_classes
from rnnseg.evaluation.multi_scale import multi_scale_costs
from tests.support.models import make_model
from tests.support.sources import halves, make_source, tiny_source
from tests.support.workers import in_threads


def test_one_pass_gives_what_single_predictions_give():
    source = make_source({"val": halves(2) + halves(1, 33, 57, seed=3)})
    model = make_model(num_classes=3, kernel_size=3)
    result = Evaluator(model, (4, 1, 3))(source, "val", progress=False)
    assert result.iterations == (1, 3, 4) and result.images == 3
    for index, iterations in enumerate(result.iterations):
        expected = np.zeros((3, 3), int)
        for image, label in halves(2) + halves(1, 33, 57, seed=3):
            prediction = np.argmax(model(image[None], iterations=iterations)[0], -1)
            expected += metrics.confusion_matrix(label, prediction, 3)
        np.testing.assert_array_equal(result.confusion[index], expected)
    assert result.image_size == (40, 48)
    assert min(result.milliseconds) > 0
    step = result.multiply_adds[2] - result.multiply_adds[1]
    assert result.multiply_adds[1] - result.multiply_adds[0] == 2 * step


def test_every_image_has_a_score_of_its_own():
    """The mean over the classes of its label; none without labelled pixels."""
    examples = [*halves(2), (halves(1)[0][0], np.full((40, 48), 255, np.uint8))]
    examples[1][1][examples[1][1] == 2] = 255  # without one of the classes
    model = make_model(num_classes=3)
    result = Evaluator(model, (1, 3))(make_source({"val": examples}), "val", progress=False)
    assert result.image_miou.shape == (2, 3) and np.isnan(result.image_miou[:, 2]).all()
    for index, iterations in enumerate(result.iterations):
        for number, (image, label) in enumerate(examples[:2]):
            prediction = np.argmax(model(image[None], iterations=iterations)[0], -1)
            counted = label != 255
            scores = [
                (counted & (prediction == each) & (label == each)).sum()
                / (counted & ((prediction == each) | (label == each))).sum()
                for each in np.unique(label[counted])
            ]
            assert result.image_miou[index, number] == pytest.approx(np.mean(scores))


def test_workers_share_the_images_and_have_all_scores():
    examples = [*halves(2), *halves(2, 33, 57, seed=3)]
    examples.append((halves(1)[0][0], np.full((40, 48), 255, np.uint8)))
    source = make_source({"val": examples})
    evaluator = Evaluator(make_model(num_classes=3), (1, 3))
    whole = evaluator(source, "val", progress=False)
    for count in (2, 3, 6):  # the last has nothing to do
        shared = in_threads(
            count, lambda share: evaluator(source, "val", progress=False, share=share)
        )
        for each in shared:
            np.testing.assert_array_equal(each.confusion, whole.confusion)
            np.testing.assert_array_equal(each.image_miou, whole.image_miou)
            assert (each.images, each.image_size) == (whole.images, whole.image_size)


def test_scales_and_mirrored_images_are_averaged():
    examples = halves(1) + halves(1, 33, 57, seed=3)
    model = make_model(num_classes=3)
    evaluator = Evaluator(model, (1, 3), scales=(0.5, 1, 1.5), flip=True)
    result = evaluator(make_source({"val": examples}), "val", progress=False)
    for index, iterations in enumerate(result.iterations):
        expected = np.zeros((3, 3), int)
        for image, label in examples:
            prediction = averaged(model, image, iterations, (0.5, 1, 1.5)).argmax(-1)
            expected += metrics.confusion_matrix(label, prediction, 3)
        # Ties, which are rounded differently, are rare.
        assert np.abs(result.confusion[index] - expected).sum() <= 4
        assert result.confusion[index].sum() == expected.sum()
    # The JSON tells the scales, and the costs are the sum over all of them.
    assert result.to_json()["scales"] == [0.5, 1, 1.5] and result.to_json()["flip"]
    costs = multi_scale_costs(model, *result.image_size, (0.5, 1, 1.5), True)
    assert result.multiply_adds == (costs.total(1), costs.total(3))
    assert "averaged over scales 0.5, 1, 1.5, each also mirrored" in report.table(result)


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.5])
def test_images_of_another_scale(scale):
    """They are scaled and segmented, and their class maps have the size of the labels."""
    examples = halves(1, 65, 49) + halves(1, 58, 57, seed=3)
    model = make_model(num_classes=3, output_stride=16)
    evaluator = Evaluator(model, (1, 3), scales=(scale,))
    result = evaluator(make_source({"val": examples}), "val", progress=False)
    for index, iterations in enumerate(result.iterations):
        expected = np.zeros((3, 3), int)
        for image, label in examples:
            prediction = averaged(model, image, iterations, (scale,), flip=False).argmax(-1)
            expected += metrics.confusion_matrix(label, prediction, 3)
        # Ties, which are rounded differently, are rare.
        assert np.abs(result.confusion[index] - expected).sum() <= 4
    assert result.scale == scale
    assert [row["scale"] for row in result.to_json()["results"]] == [scale] * 2
    height, width = (round((side - 1) * scale) + 1 for side in (65, 49))
    costs = stage_costs(model, height, width)
    scaling, reading = 3 * 3 * height * width, 3 * 3 * 65 * 49
    assert result.image_size == (65, 49)
    assert result.multiply_adds == tuple(
        costs.total(n) - costs.read + reading + scaling for n in (1, 3)
    )


def test_several_scales_in_one_table_and_file(tmp_path):
    source, model = make_source({"val": halves(2)}), make_model(num_classes=3)
    results = [
        Evaluator(model, (1, 3), scales=(scale,))(source, "val", progress=False)
        for scale in (0.5, 1.0)
    ]
    lines = report.table(*results).splitlines()
    assert lines[2].split()[:2] == ["scale", "iterations"]
    for line, (result, index) in zip(
        lines[3:7], [(result, index) for result in results for index in (0, 1)], strict=True
    ):
        assert line.split()[:3] == [
            f"{result.scale:g}", f"{result.iterations[index]}", f"{100 * result.miou[index]:.2f}"
        ]  # fmt: skip
    assert "scale" not in report.table(results[1]) and "scale" in report.table(results[0])
    report.save_scores(tmp_path / "scores.json", *results)
    scores = Scores.load(tmp_path / "scores.json", "val")
    assert not scores.multi_scale
    assert scores.miou_by_scale == {
        result.scale: dict(zip((1, 3), map(float, result.miou), strict=True)) for result in results
    }
    assert scores.miou == scores.miou_by_scale[1.0]
    report.save_curve(tmp_path / "curve.png", "model", results, 3)
    assert (tmp_path / "curve.png").stat().st_size > 10_000


def test_every_stage_of_the_encoder_is_timed(monkeypatch):
    """The time of one that needs no further stage says nothing about the next one."""
    model = make_model(
        num_classes=3,
        output_stride=16,
        canvas_stride=4,
        skip_layers=("stride4_conv2_relu", "stride8_conv2_relu"),
        early_iterations=(1, 2),
    )
    timed = []

    def take_turns(functions, repeats):
        numbers = [function.args[1] for function in functions]
        timed.append(numbers)
        return [(30.0 if n > 3 else 20.0 if n > 1 else 10.0) + n for n in numbers]

    monkeypatch.setattr(timing, "take_turns", take_turns)
    evaluator = Evaluator(model, range(1, 41))
    milliseconds = evaluator._milliseconds(halves(1)[0][0], 100)
    assert timed[0][:3] == [1, 2, 4] and timed[0][-1] == 40
    assert milliseconds[:5] == pytest.approx((11e3, 22e3, 23e3, 34e3, 35e3))


def averaged(model, image, iterations, scales, flip=True):
    """Returns the sum of the logits of all views at the size of the image, float64."""
    height, width = image.shape[:2]
    total = 0
    for scale in scales:
        size = [round((side - 1) * scale) + 1 for side in (height, width)]
        scaled = tf.compat.v1.image.resize_bilinear(image[None], size, align_corners=True)
        for view, order in ((scaled, 1), (scaled[:, :, ::-1], -1))[: 1 + flip]:
            canvas = model.unroll(view, iterations)[-1]
            logits = sample_view(canvas[0].numpy(), size, (height, width), model.canvas_stride)
            total = total + logits[:, ::order]
    return total


def sample_view(canvas, view, size, stride):
    """Interpolates the canvas of a view at the pixels of the image."""
    for axis, (scaled, side) in enumerate(zip(view, size, strict=True)):
        place = np.arange(side) * (scaled - 1) / (side - 1) / stride
        cells = np.arange(canvas.shape[axis])
        columns = np.moveaxis(canvas, axis, 0).reshape(len(cells), -1).T
        sampled = np.stack([np.interp(place, cells, values) for values in columns], -1)
        rest = np.delete(canvas.shape, axis)
        canvas = np.moveaxis(sampled.reshape(side, *rest), 0, axis)
    return canvas


def test_scores_of_cityscapes():
    rng = np.random.default_rng(0)
    examples = []
    for image, _ in halves(2):
        label = rng.integers(9, 19, (5, 6)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
        label_ids = np.array([value for value, index in sorted(CITYSCAPES.values.items())
                              if index != 255])[label]  # fmt: skip
        numbers = rng.integers(0, 3, (10, 12)).repeat(4, 0).repeat(4, 1)
        instance_ids = np.where(label >= 11, 1000 * label_ids + numbers, label_ids)
        examples.append((image, label, instance_ids.astype(np.uint16)))
    source = make_source({"val": examples}, CITYSCAPES.names)
    model = make_model(num_classes=19)
    result = Evaluator(model, (1, 3))(source, "val", progress=False)
    for index, iterations in enumerate(result.iterations):
        sums = InstanceSums()
        for image, _, instance_ids in examples:
            prediction = np.argmax(model(image[None], iterations=iterations)[0], -1)
            sums.add(Instances(instance_ids), prediction)
        scores = sums.scores(result.confusion[index])
        assert result.cityscapes[index].to_json() == scores.to_json()
    evaluator = Evaluator(model, (1, 3))
    shared = in_threads(2, lambda share: evaluator(source, "val", progress=False, share=share))
    for each in shared:
        for scores, expected in zip(each.cityscapes, result.cityscapes, strict=True):
            np.testing.assert_allclose(
                list(scores.class_iiou.values()), list(expected.class_iiou.values())
            )
    row = result.to_json()["results"][1]
    assert row["cityscapes"]["mean_class_iou"] == pytest.approx(row["miou"])
    means = result.cityscapes[1].means
    assert f"{3:10d}  {100 * means['class_iou']:8.2f}" in report.table(result)
    assert f"{100 * means['category_iiou']:8.2f}" == report.table(result)[-8:]


def test_json_has_every_score():
    source = tiny_source()
    result = Evaluator(make_model(num_classes=3), (1, 2))(source, "val", progress=False)
    values = result.to_json()
    assert values["images"] == 3 and values["image_size"] == [43, 51]
    row = values["results"][1]
    assert row["iterations"] == 2
    assert row["miou"] == pytest.approx(np.nanmean(result.class_iou[1]))
    assert set(row["class_iou"]) == {"left", "right", "top"}
    assert set(row) == {
        "iterations", "miou", "pixel_accuracy", "multiply_adds", "milliseconds", "class_iou",
        "scale",
    }  # fmt: skip
    assert row["scale"] == 1


def test_a_file_of_scores_has_the_confusion_matrices(tmp_path):
    source = tiny_source()
    result = Evaluator(make_model(num_classes=3), (1, 2))(source, "val", progress=False)
    report.save_scores(tmp_path / "scores.json", result)
    text = (tmp_path / "scores.json").read_text()
    rows = json.loads(text)["results"]
    np.testing.assert_array_equal([row["confusion"] for row in rows], result.confusion)
    # A row of the matrix is a line of the file.
    assert str(result.confusion[0, 1].tolist()) in text


def test_a_class_that_never_occurs_is_null():
    source = dataclasses.replace(
        make_source({"val": halves(1)}, ("left", "right", "top", "nowhere")), name="four"
    )
    model = make_model(num_classes=4)
    result = Evaluator(model, (1,))(source, "val", progress=False)
    confusion = result.confusion.copy()
    confusion[:, :, 3] = 0  # whatever the untrained model says
    iou = dataclasses.replace(result, confusion=confusion).to_json()["results"][0]["class_iou"]
    assert iou["nowhere"] is None and iou["left"] is not None


def test_other_classes_are_refused():
    source = tiny_source()
    with pytest.raises(UserError, match="the model has 4 classes but tiny has 3"):
        check_classes(make_model(), source)
    model = make_model(num_classes=3, class_names=("left", "up", "top"))
    with pytest.raises(UserError, match="class 1 is 'up' in the model but 'right' in tiny"):
        check_classes(model, source)
    check_classes(make_model(num_classes=3, class_names=source.class_names), source)
    with pytest.raises(UserError, match="expected numbers of at least 1"):
        Evaluator(model, (0, 1))


def test_an_image_below_one_output_stride_is_named():
    image, label = halves(1)[0]
    source = make_source({"val": [(image, label), (image[:7], label[:7])]})
    with pytest.raises(
        UserError, match="^.*, split 'val': val_1: an image of 7x48 pixels is smaller than one"
    ):
        Evaluator(make_model(num_classes=3), (1,))(source, "val", progress=False)


def test_a_scaled_image_below_one_output_stride_is_named():
    source = make_source({"val": halves(1, 30, 30)})
    evaluator = Evaluator(make_model(num_classes=3), (1,), scales=(0.2, 1))
    with pytest.raises(UserError, match="val_0: 30x30 pixels, scaled by 0.2: an image of 7x7 pix"):
        evaluator(source, "val", progress=False)
    with pytest.raises(UserError, match="scales 0: expected numbers above 0"):
        Evaluator(make_model(num_classes=3), (1,), scales=(0,))
    with pytest.raises(UserError, match="scale 5: expected at most 4, half of the canvas stride"):
        Evaluator(make_model(num_classes=3), (1,), scales=(5,))


def test_a_wrong_label_names_its_image():
    image, label = halves(1)[0]
    label[0, 0] = 9
    with pytest.raises(UserError, match="split 'val': val_0: label 9 found; expected 0-2"):
        Evaluator(make_model(num_classes=3), (1,))(
            make_source({"val": [(image, label)]}), "val", progress=False
        )
