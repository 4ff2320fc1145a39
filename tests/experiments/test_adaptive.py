import numpy as np
import pytest
from PIL import Image

from experiments import adaptive
from rnnseg.evaluation.evaluator import Evaluator
from tests.support.commands import fail, read_markdown, run
from tests.support.models import make_model
from tests.support.sources import halves, tiny_source


@pytest.fixture
def model(tmp_path):
    model = make_model(num_classes=3)
    model.set_weights([3 * weight for weight in model.get_weights()])
    model.save(tmp_path / "model.keras")
    return model


def test_what_is_printed_and_drawn_is_what_refine_gives(model, open_as, tmp_path):
    source = open_as(tiny_source())
    arguments = [tmp_path / "model.keras", "--data", "tiny", "--iterations", 3, "--threshold", 0,
                 "--threshold", 1e9, "--image-threshold", 2]  # fmt: skip
    printed = read_markdown(run(adaptive.main, *arguments, "--map", tmp_path / "map.png"))
    rows = {name: np.array(cells, float) for name, cells in list(printed.items())[2:]}
    assert list(rows) == ["fixed 1", "fixed 2", "fixed 3", "images, threshold 2",
                          "pixels, threshold 0", "pixels, threshold 1e+09"]  # fmt: skip
    scores = 100 * Evaluator(model, (1, 2, 3))(source, "val", progress=False).miou
    np.testing.assert_allclose([rows[f"fixed {n}"][3] for n in "123"], scores, atol=0.006)
    columns = [0, 3, 4, 5]  # all but the times
    np.testing.assert_array_equal(rows["pixels, threshold 0"][columns], rows["fixed 3"][columns])
    assert rows["fixed 3"][5] == 100 and rows["images, threshold 2"][0] == 1
    assert rows["pixels, threshold 1e+09"][0] < 2
    image = np.asarray(Image.open(tmp_path / "map.png"))
    assert image.shape == (43, 3 * 51, 3)
    np.testing.assert_array_equal(image[:, :51], halves(3, 43, 51, seed=1)[0][0])
    prepared = model.prepare(model.encode(image[None, :, :51]))
    spent = model.refine_until_settled(prepared, 3)[1][0].numpy()
    shades = np.array([0, 127, 255])[spent[:6, :7] - 1]
    np.testing.assert_array_equal(image[::8, 102::8, 0], shades)


def test_a_map_of_no_image_is_refused_before_any_work(model, source, tmp_path):
    arguments = [tmp_path / "model.keras", "--data", "tiny", "--map", tmp_path / "map.png"]
    message = fail(adaptive.main, *arguments, "--image", 3)
    assert "--image 3: expected 0 to 2, the images of val" in message
