import dataclasses

import numpy as np
import pytest

from rnnseg.exporting.examples import LetterboxedExample
from rnnseg.exporting.parity import Agreement, FileParity, Parity, Prediction, compare


def test_pixels_logits_and_scores_are_compared_where_the_image_is():
    label = np.uint8([[0, 0, 255], [1, 1, 255]])
    image = LetterboxedExample(np.zeros((2, 3, 3), np.uint8), label, (2, 2))
    model = np.int32([[0, 0, 1], [1, 0, 1]])
    file = np.int32([[0, 1, 0], [1, 0, 0]])
    canvas = np.zeros((1, 1, 2), np.float32)
    expected = [{1: Prediction(model, canvas), 2: Prediction(label % 2, canvas)}] * 2
    found = [
        {1: Prediction(file, canvas - 0.25), 2: Prediction(label % 2, canvas)},
        {1: Prediction(model, canvas + 0.5), 2: Prediction(label % 2, canvas)},
    ]
    first, second = compare([image, image], expected, found, 2)
    assert first.iterations == 1 and second.iterations == 2
    assert first.equal == 7 / 8  # one of four pixels in one of two images
    assert first.logit_difference == 0.5
    assert first.model_miou == pytest.approx((2 / 3 + 1 / 2) / 2)
    # Class 0: 3 of 4 right and 2 found wrongly; class 1: 2 of 4 right and 1 found wrongly.
    assert first.miou == pytest.approx((3 / 6 + 2 / 5) / 2)
    assert second == Agreement(2, 1.0, 0.0, 1.0, 1.0)


def test_without_labels_there_are_no_scores():
    image = LetterboxedExample(np.zeros((1, 1, 3), np.uint8), None, (1, 1))
    predictions = [{1: Prediction(np.int32([[1]]), None)}]
    assert compare([image], predictions, predictions, 2) == (Agreement(1, 1.0, None, None, None),)


@pytest.mark.parametrize(
    "kind, target", [("float32", 0.9999), ("float16", 0.995), ("dynamic", 0.985), ("int8", 0.97)]
)
def test_missed_targets_are_told(kind, target):
    fine = (Agreement(1, target, 0.1, 0.5, 0.52), Agreement(6, 1.0, 0.1, 0.5, 0.51))
    file = FileParity("file", kind, fine)
    assert file.missed() == []
    less = dataclasses.replace(fine[0], equal=target - 1e-4)
    (line,) = dataclasses.replace(file, agreements=(less, fine[1])).missed()
    assert line.endswith(f"at n = 1, expected {100 * target:g} %")
    worse = dataclasses.replace(fine[1], miou=0.499)
    (line,) = dataclasses.replace(file, agreements=(fine[0], worse)).missed()
    assert line == "mIoU 49.90 % at n = 6, expected 50.00 %"
    # The one iteration of a feed-forward model.
    (line,) = dataclasses.replace(file, agreements=fine[:1]).missed()
    assert "mIoU 50.00 % at n = 1" in line


def test_the_table_has_every_number():
    agreements = (Agreement(1, 0.9612, 0.25, 0.5, 0.505),)
    file = FileParity("anytime_int8.tflite", "int8", agreements, 2.34, 56.78)
    unlabelled = FileParity("saved_model", "float32", (Agreement(1, 1.0, None, None, None),))
    result = Parity("photos", 3, (file, unlabelled))
    *_, first, second, empty, header, size, other_size = result.table().splitlines()
    assert not empty and header.split()[1:3] == ["MB", "milliseconds"]
    assert size.split() == ["anytime_int8.tflite", "2.3", "56.8"]
    assert other_size.split() == ["saved_model", "-", "-"]
    assert first.split() == "anytime_int8.tflite 1 96.1200 97.00 0.25000 50.00 50.50".split()
    assert second.split() == "saved_model 1 100.0000 99.99 - - -".split()
    (line,) = result.missed()
    assert line.startswith(
        "anytime_int8.tflite: 96.120 % equal pixels at n = 1, expected 97 %; calibrate on more "
    )
    content = result.to_json()
    assert content["files"][0]["target"] == 0.97
    assert content["files"][0]["agreements"][0]["equal"] == 0.9612
    assert content["missed"] == [line]


@pytest.mark.parametrize(
    "kind, way_out",
    [
        ("float32", "if the logit difference is small"),
        ("float16", "use the float32 file"),
        ("dynamic", "use the float16 file, or int8, which is calibrated on images"),
        ("int8", "calibrate on more images (--limit), or use another file"),
    ],
)
def test_only_what_is_calibrated_is_to_be_calibrated_better(kind, way_out):
    file = FileParity("file", kind, (Agreement(1, 0.9, None, None, None),))
    (line,) = Parity("photos", 3, (file,)).missed()
    assert f"; {way_out}" in line and ("--limit" in line) == (kind == "int8")
