import dataclasses

import numpy as np
import pytest

from rnnseg import UserError, metrics
from rnnseg.evaluation import Evaluator, check_classes
from tests.models import make_model
from tests.sources import halves, make_source, tiny_source


def test_one_pass_gives_what_single_predictions_give():
    source = make_source({"val": halves(2) + halves(1, 33, 57, seed=3)})
    model = make_model(num_classes=3, kernel_size=3)
    result = Evaluator(model, (4, 1, 3))(source, "val", progress=False)
    assert result.iterations == (1, 3, 4) and result.pictures == 3
    for index, iterations in enumerate(result.iterations):
        expected = np.zeros((3, 3), int)
        for image, label in halves(2) + halves(1, 33, 57, seed=3):
            prediction = np.argmax(model(image[None], iterations=iterations)[0], -1)
            expected += metrics.confusion_matrix(label, prediction, 3)
        np.testing.assert_array_equal(result.confusion[index], expected)
    assert result.picture_size == (40, 48)
    assert min(result.milliseconds) > 0
    step = result.multiply_adds[2] - result.multiply_adds[1]
    assert result.multiply_adds[1] - result.multiply_adds[0] == 2 * step


def test_json_has_every_score():
    source = tiny_source()
    result = Evaluator(make_model(num_classes=3), (1, 2))(source, "val", progress=False)
    values = result.to_json()
    assert values["pictures"] == 3 and values["picture_size"] == [43, 51]
    row = values["results"][1]
    assert row["iterations"] == 2
    assert row["miou"] == pytest.approx(np.nanmean(result.class_iou[1]))
    assert set(row["class_iou"]) == {"left", "right", "top"}
    assert set(row) == {
        "iterations", "miou", "pixel_accuracy", "multiply_adds", "milliseconds", "class_iou"
    }  # fmt: skip


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


def test_a_picture_below_one_output_stride_is_named():
    image, label = halves(1)[0]
    source = make_source({"val": [(image, label), (image[:7], label[:7])]})
    with pytest.raises(UserError, match="val_1: picture of 48x7 pixels; expected at least 8"):
        Evaluator(make_model(num_classes=3), (1,))(source, "val", progress=False)


def test_one_trace_serves_all_sizes():
    source = make_source({"val": [*halves(1), *halves(1, 33, 57), *halves(1, 64, 48)]})
    evaluator = Evaluator(make_model(num_classes=3), (1, 2))
    evaluator(source, "val", progress=False)
    assert evaluator._prepare.experimental_get_tracing_count() == 1
    # The second one is for sizes left open; refining is traced blank and from a canvas.
    assert evaluator._refine.experimental_get_tracing_count() <= 2 * 2
    assert evaluator._read.experimental_get_tracing_count() <= 2


def test_a_wrong_label_names_its_picture():
    image, label = halves(1)[0]
    label[0, 0] = 9
    with pytest.raises(UserError, match="val_0: label 9 found; expected 0-2"):
        Evaluator(make_model(num_classes=3), (1,))(
            make_source({"val": [(image, label)]}), "val", progress=False
        )
