import numpy as np
import pytest

from rnnseg import UserError
from rnnseg.runtime.file_model import FileCosts, FileModel
from rnnseg.runtime.segmenter import Segmenter
from tests.support.litert import make_info, write_segment

SIZE = (41, 57)


@pytest.fixture(scope="module")
def segment_file(model, tmp_path_factory):
    return write_segment(model, SIZE, tmp_path_factory.mktemp("segment"))


def noise(size, seed=0):
    rng = np.random.default_rng(seed)
    blotches = rng.integers(0, 256, (-(-size[0] // 20), -(-size[1] // 20), 3), np.uint8)
    return blotches.repeat(20, 0).repeat(20, 1)[: size[0], : size[1]]


@pytest.mark.parametrize("kind", ["fixed", "any_size", "staged"])
def test_an_anytime_file_gives_what_the_segmenter_gives(kind, request):
    path = request.getfixturevalue(f"{kind}_file")
    model, segmenter = FileModel(path), Segmenter(path)
    image = noise((60, 50))
    maps = list(model.predict_each(image, (1, 3, 6)))
    assert len(maps) == 3
    for number, found in zip((1, 3, 6), maps, strict=True):
        expected = segmenter(image, iterations=number).classes
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(model.predict(image, number), expected)
    np.testing.assert_array_equal(model.predict(image), segmenter(image).classes)
    assert (model.recurrent, model.iterations, model.num_classes) == (True, 6, 4)


def test_a_segment_file_gives_what_the_anytime_file_gives(segment_file, fixed_file):
    whole, stages = FileModel(segment_file), FileModel(fixed_file)
    for size in (SIZE, (60, 50), (30, 57)):
        image = noise(size)
        pairs = zip(whole.predict_each(image, (1, 4)), stages.predict_each(image, (1, 4)),
                    strict=True)  # fmt: skip
        for found, expected in pairs:
            assert found.shape == size and len(np.unique(expected)) > 1
            assert np.mean(found == expected) > 0.998  # rounding decides ties
    np.testing.assert_array_equal(whole.predict(image), whole.predict(image, 6))
    assert whole.stage_milliseconds(image) == {}
    times = stages.stage_milliseconds(image)
    assert set(times) == {"encode", "refine", "read"} and min(times.values()) > 0


def test_costs_are_those_of_the_stages_that_run():
    counts = {"encode": 1000, "prepare": 200, "refine": 30, "read": 4}
    costs = FileCosts(make_info(multiply_adds=counts, early_iterations=(2,)))
    assert [costs.total(number) for number in (1, 2, 3, 5)] == [None, None, 1294, 1354]
    early = {2: {"encode": 300, "prepare": 50}, 1: {"encode": 100, "prepare": 20}}
    costs = FileCosts(
        make_info(multiply_adds=counts, early_iterations=(1, 1), early_multiply_adds=early)
    )
    assert [costs.total(number) for number in (1, 2, 3)] == [154, 414, 1294]
    assert FileCosts(make_info(multiply_adds=counts)).total(1) == 1234
    assert FileCosts(make_info(multiply_adds=None)).total(3) is None


def test_refusals(tmp_path, any_size_file, fixed_file, segment_file):
    FileModel(fixed_file).check_image(3, 3)  # it is padded
    with pytest.raises(UserError, match="an image of 7x30 pixels is smaller than one"):
        FileModel(any_size_file).check_image(7, 30)
    with pytest.raises(UserError, match="cannot stop where a prediction has settled"):
        FileModel(fixed_file).check_can_stop()
    with pytest.raises(UserError, match="iterations"):
        FileModel(segment_file).predict(noise(SIZE), 0)
    (tmp_path / "segment.tflite").write_bytes(make_info(kind="segment").append_to(b"nothing"))
    with pytest.raises(UserError, match="segment.tflite is damaged, or newer"):
        FileModel(tmp_path / "segment.tflite")
