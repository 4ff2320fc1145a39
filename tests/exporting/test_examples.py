import numpy as np
import pytest
from PIL import Image

from rnnseg import UserError
from rnnseg.data.pipeline import MEAN_COLOR
from rnnseg.exporting import examples, export
from tests.support.sources import halves, make_source


def test_a_smaller_image_is_padded():
    ((image, label),) = halves(1, 20, 30)
    example = examples.letterbox(image, label, (25, 33))
    assert example.content_size == (20, 30)
    np.testing.assert_array_equal(example.image[:20, :30], image)
    np.testing.assert_array_equal(example.label[:20, :30], label)
    beside = np.ones((25, 33), bool)
    beside[:20, :30] = False
    assert (example.image[beside] == MEAN_COLOR).all() and (example.label[beside] == 255).all()


@pytest.mark.parametrize("size, shown", [((20, 60), (20, 30)), ((60, 10), (7, 10))])
def test_a_larger_image_keeps_its_shape(size, shown):
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30:] = 200
    label = np.uint8(image[..., 0] > 0)
    example = examples.letterbox(image, label, size)
    assert example.content_size == shown and example.image.shape == (*size, 3)
    half = shown[1] // 2
    assert (example.label[: shown[0], :half] == 0).all()
    assert (example.label[: shown[0], half : shown[1]] == 1).all()
    assert (example.label[shown[0] :] == 255).all() and (example.label[:, shown[1] :] == 255).all()
    assert (example.image[: shown[0], : half - 1] == 0).all()
    assert (example.image[: shown[0], half + 1 : shown[1]] == 200).all()


def test_for_any_size_an_image_stays_as_it_is():
    ((image, label),) = halves(1)
    example = examples.letterbox(image, label, None)
    assert example.image is image and example.label is label and example.content_size == label.shape


def test_images_are_spread_evenly(tmp_path):
    pairs = halves(7)
    source = make_source({"val": pairs})
    found = examples.from_source(source, "val", None, 3)
    for example, index in zip(found, (0, 3, 6), strict=True):
        np.testing.assert_array_equal(example.image, pairs[index][0])
        np.testing.assert_array_equal(example.label, pairs[index][1])
    assert len(examples.from_source(source, "val", None, 7)) == 7
    paths = [tmp_path / f"{index}.png" for index in range(7)]
    for path, (image, _) in zip(paths, pairs, strict=True):
        Image.fromarray(image).save(path)
    for example, index in zip(examples.from_files(paths, None, 4), (0, 2, 4, 6), strict=True):
        np.testing.assert_array_equal(example.image, pairs[index][0])
        assert example.label is None


def test_a_label_of_another_size_is_named():
    ((image, label),) = halves(1)
    source = make_source({"val": [(image, label[1:])]})
    with pytest.raises(UserError, match="val_0: image of .* and label of"):
        examples.from_source(source, "val", (40, 48), 1)


def choose(monkeypatch, calibrate=True, files=(), split="val"):
    """Returns the grey levels of the images to calibrate on and to compare on, and their name."""
    splits = {
        name: [(np.full((9, 9, 3), level, np.uint8), np.zeros((9, 9), np.uint8))]
        for name, level in (("train", 10), ("val", 20))
    }
    monkeypatch.setattr(export, "open_source", lambda data: make_source(splits))
    monkeypatch.setattr(export, "check_classes", lambda model, source: None)
    data = None if files else "tiny"
    calibration, checking, name = export._choose_images(
        None, export._RunConfig(), data, split, files, None, 2, calibrate
    )
    levels = ([int(each.image[0, 0, 0]) for each in found] for found in (calibration, checking))
    return *levels, name


def test_int8_is_calibrated_on_other_images_than_it_is_compared_on(tmp_path, monkeypatch):
    for level in range(8):
        Image.fromarray(np.full((9, 9, 3), level, np.uint8)).save(tmp_path / f"{level}.png")
    folder, first = str(tmp_path), str(tmp_path / "0.png")
    assert choose(monkeypatch, files=[folder]) == ([0, 4], [1, 5], folder)
    assert choose(monkeypatch, False, [folder]) == ([], [0, 4], folder)
    same = ", which int8 was calibrated on, too"
    assert choose(monkeypatch, files=[first]) == ([0], [0], f"{first}{same}")
    assert choose(monkeypatch) == ([10], [20], "tiny, val")
    assert choose(monkeypatch, split="train") == ([10], [10], f"tiny, train{same}")
    assert choose(monkeypatch, False, split="train") == ([], [10], "tiny, train")
