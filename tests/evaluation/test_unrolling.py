import numpy as np
import pytest

from rnnseg import UserError
from rnnseg.evaluation import unrolling
from rnnseg.evaluation.multi_scale import MeanReader, make_views
from rnnseg.evaluation.unrolling import Unroller
from rnnseg.models.baselines.deeplabv3 import DeepLabV3
from tests.support.models import make_model
from tests.support.sources import halves

SCALES = [{}, {"scales": (0.5, 1), "flip": True}]


@pytest.mark.parametrize("numbers", [(1, 2, 4), (3,)])
def test_every_number_of_iterations_is_a_prediction_of_its_own(numbers):
    model = make_model(kernel_size=3)
    image = halves(1)[0][0]
    unroller = Unroller(model)
    for number, class_map in zip(numbers, unroller(image, numbers), strict=True):
        expected = np.argmax(model(image[np.newaxis], iterations=number)[0], -1)
        np.testing.assert_array_equal(class_map, expected)
        assert class_map.dtype == np.int32
        np.testing.assert_array_equal(unroller.predict(image, number), expected)


@pytest.mark.parametrize("scales", SCALES)
def test_the_encoder_runs_as_far_as_the_iterations_need(scales):
    model = make_model(
        num_classes=3,
        output_stride=16,
        canvas_stride=4,
        skip_layers=("stride4_conv2_relu", "stride8_conv2_relu"),
        early_iterations=(1, 2),
    )
    image = halves(1)[0][0]
    unroller = Unroller(model, **scales)
    numbers = (1, 3, 4, 6)
    found = list(unroller(image, numbers))
    views = make_views(scales.get("scales", (1,)), scales.get("flip", False))
    canvases = [model.unroll(view.of(image)[np.newaxis], 6) for view in views]
    for number, class_map in zip(numbers, found, strict=True):
        read = [each[number - 1] for each in canvases]
        expected = model.read(read[0], image.shape[:2])[0]
        if len(views) > 1:
            expected = MeanReader(views, 3, 16, 4)(read, image.shape[:2])
        assert np.mean(class_map == expected) > 0.999
        assert np.mean(unroller.predict(image, number) == class_map) > 0.999
    # One iteration leaves the second stage of the encoder alone.
    fresh = Unroller(model, **scales)
    model.compiled_stages._functions.clear()
    fresh.predict(image, 1)
    assert not any("encode_1" in name for name in model.compiled_stages.trace_counts())


def test_feed_forward_models():
    model = DeepLabV3(3, encoder="small_cnn", encoder_weights=None, output_stride=8)
    image = halves(1)[0][0]
    unroller = Unroller(model)
    (class_map,) = unroller(image, (1,))
    np.testing.assert_array_equal(class_map, np.argmax(model(image[np.newaxis])[0], -1))


@pytest.mark.parametrize("scales", SCALES)
def test_one_trace_serves_all_sizes(scales):
    unroller = Unroller(make_model(num_classes=3), **scales)
    images = [halves(1, *size)[0][0] for size in ((40, 48), (33, 57), (64, 48))]
    for image in images:
        for _ in unroller(image, (1, 2)):
            pass
    # Refining is traced twice: from the initial canvas, and from a canvas and a state.
    expected = {"encode": 1, "prepare deepest": 1, "refine": 2}
    assert unroller._stages.trace_counts() == expected


@pytest.mark.parametrize("scales", SCALES)
def test_there_is_one_class_map_at_a_time(scales, monkeypatch):
    unroller = Unroller(make_model(num_classes=3), **scales)
    reads = []
    read = unroller._read
    monkeypatch.setattr(unroller, "_read", lambda *args: reads.append(1) or read(*args))
    maps = unroller(halves(1)[0][0], (1, 2, 3))
    for count in (1, 2, 3):
        next(maps)
        assert len(reads) == count


def test_many_numbers_of_iterations_are_run_in_parts(monkeypatch):
    unroller = Unroller(make_model(num_classes=3), scales=(0.5, 1))
    image, numbers = halves(1)[0][0], (1, 2, 4, 5, 7)
    whole = list(unroller(image, numbers))
    monkeypatch.setattr(unrolling, "_AT_ONCE", 2)
    encode, encoded = unroller._stages.encode, []
    monkeypatch.setattr(
        unroller._stages, "encode", lambda images: encoded.append(images) or encode(images)
    )
    for expected, found in zip(whole, unroller(image, numbers), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert len(encoded) == 2 * 3


def test_a_scaled_image_below_one_output_stride_is_refused():
    unroller = Unroller(make_model(), scales=(0.2, 1))
    with pytest.raises(UserError, match="^31x30 pixels, scaled by 0.2: an image of 7x7 pix"):
        unroller.check_size(31, 30)
    unroller.check_size(50, 50)
    with pytest.raises(UserError, match="^an image of 7x30 pixels is smaller"):
        Unroller(make_model()).check_size(7, 30)
