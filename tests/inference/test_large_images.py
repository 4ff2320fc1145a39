import numpy as np
import pytest
from PIL import Image

from rnnseg import Budget, Predictor, UserError
from rnnseg.budgets.costs import stage_costs
from rnnseg.budgets.scaling import scaled_costs
from rnnseg.inference import large_images
from rnnseg.inference.image_files import segment_files
from rnnseg.inference.large_images import LargeImages, shrink
from rnnseg.inference.tiling import tiles_of
from rnnseg.models.registry import MODELS
from tests.support.models import blocky_image, make_lively_model


@pytest.fixture(scope="module")
def model():
    return make_lively_model(canvas_stride=4)


@pytest.fixture(scope="module")
def image():
    return blocky_image(300)[0, :260]


def agreement(found, expected):
    assert found.shape == expected.shape and found.dtype == np.int32
    assert len(np.unique(expected)) > 1
    return np.mean(found == expected)


def test_class_maps_of_tiles_are_those_of_the_whole_image(model, image):
    whole = Predictor(model, tile=0)
    tiled = Predictor(model, tile=128)
    for budget in (None, Budget(iterations=2)):
        assert agreement(tiled(image, budget), whole(image, budget)) > 0.995


def test_canvases_are_equal_where_margins_hold_the_receptive_field(model):
    """Features see 29 pixels around theirs, and are 35 from any edge where they count."""
    image = blocky_image(420)[0, :300]
    expected = LargeImages(model, 0).canvas_of(image, 3)
    found = LargeImages(model, 256).canvas_of(image, 3)
    assert LargeImages(model, 256).is_tiled(300, 420)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_images_are_whole_up_to_a_number_of_pixels(model, image, monkeypatch):
    monkeypatch.setattr(large_images, "TILE", 128)
    assert not LargeImages(model).is_tiled(*image.shape[:2])
    monkeypatch.setattr(large_images, "MOST_WHOLE", image[..., 0].size)
    assert not LargeImages(model).is_tiled(*image.shape[:2])
    monkeypatch.setattr(large_images, "MOST_WHOLE", image[..., 0].size - 1)
    np.testing.assert_array_equal(Predictor(model)(image), Predictor(model, tile=128)(image))
    assert not LargeImages(model, 0).is_tiled(*image.shape[:2])


def test_batches_and_given_canvases(model, image):
    batch = np.stack([image, image[::-1]])
    canvas = np.random.default_rng(0).normal(size=(2, 67, 77, 4)).astype(np.float32)
    whole, tiled = Predictor(model, tile=0), Predictor(model, tile=128)
    budget = Budget(iterations=1)
    expected = whole(batch, budget, canvas)
    assert agreement(tiled(batch, budget, canvas), expected) > 0.995
    assert agreement(tiled(batch[1], budget, canvas[1]), expected[1]) > 0.995
    assert np.mean(tiled(batch, budget) == expected) < 0.9
    with pytest.raises(UserError, match=r"canvas of shape \(66, 77, 4\): expected \(67, 77, 4\)"):
        tiled(image, budget, canvas[0, :66])


def test_every_iteration_and_stopping(model, image):
    whole, tiled = Predictor(model, tile=0), Predictor(model, tile=128)
    maps = list(tiled.every_iteration(image, 3))
    for iterations, found in enumerate(maps, start=1):
        expected = tiled(image, Budget(iterations=iterations))
        np.testing.assert_array_equal(found, expected)
        assert agreement(found, list(whole.every_iteration(image, 3))[iterations - 1]) > 0.995
    stopped = tiled(image, stop_when_settled=True)
    assert agreement(stopped, whole(image, stop_when_settled=True)) > 0.99


def test_feed_forward_models(image):
    model = MODELS["pspnet"](4, encoder="small_cnn", encoder_weights=None, output_stride=8)
    predictor = Predictor(model, tile=128)
    (found,) = predictor.every_iteration(image, 1)
    np.testing.assert_array_equal(found, predictor(image))
    assert agreement(found, Predictor(model, tile=0)(image)) > 0.9  # it pools over the tile
    with pytest.raises(UserError, match="stop_when_settled"):
        predictor(image, stop_when_settled=True)


def test_multiply_adds_count_the_tiles_with_their_overlaps(model, image):
    predictor = Predictor(model, tile=128)
    size = image.shape[:2]
    tiles = [stage_costs(model, *tile.size) for tile in tiles_of(size, 128, 8, 4)]
    for iterations in (1, 3):
        read = 3 * size[0] * size[1] * model.num_classes
        expected = sum(each.total(iterations) - each.read for each in tiles) + read
        assert predictor.costs(*size).total(iterations) == expected
        gmacs = expected / 1e9
        assert predictor.setting(Budget(gmacs=gmacs), *size).iterations == iterations
    assert expected > scaled_costs(model, *size).total(3)
    with pytest.raises(UserError, match="one iteration on an image of 260x300 needs"):
        predictor(image, Budget(gmacs=scaled_costs(model, *size).total(1) / 1e9))
    assert predictor.costs(100, 120) == scaled_costs(model, 100, 120)


def test_scales_that_scored_best_are_computed_in_tiles(model, image):
    scores = dict(miou={1: 0.1}, scaled_miou={0.75: {1: 0.5}})
    budget = Budget(gmacs=1000)
    tiled, whole = (Predictor(model, tile=tile, **scores) for tile in (128, 0))
    assert tiled.setting(budget, 260, 300).scale == 0.75
    assert agreement(tiled(image, budget), whole(image, budget)) > 0.995


def test_milliseconds_are_of_whole_images(model, image, monkeypatch):
    for options in (dict(tile=128), dict(max_size=128)):
        predictor = Predictor(model, **options)
        for call in (predictor.check, lambda budget, p=predictor: p(image, budget)):
            with pytest.raises(UserError, match="latencies are measured on whole images"):
                call(Budget(milliseconds=5))
    monkeypatch.setattr(large_images, "MOST_WHOLE", 1000)
    with pytest.raises(UserError, match="latency of this model is not known"):
        Predictor(model)(image, Budget(milliseconds=5))


def test_smaller_images_have_class_maps_of_the_size_of_the_image(model, image):
    found = Predictor(model, max_size=100)(image, Budget(iterations=2))
    small = np.asarray(Image.fromarray(image).resize((100, 87), Image.Resampling.BILINEAR))
    canvas = model.compiled_stages.canvas_of(small[np.newaxis], 2)[0].numpy()
    logits = np.empty((*image.shape[:2], model.num_classes))
    for y in range(260):
        for x in range(300):
            # The middle of a pixel, as a share of the side, is the same in both images.
            place = [(each + 0.5) / side * part - 0.5
                     for each, side, part in ((y, 260, 87), (x, 300, 100))]  # fmt: skip
            i, j = (
                np.clip(each, 0, part - 1) / 4 for each, part in zip(place, (87, 100), strict=True)
            )
            top, left = int(i), int(j)
            a, b = i - top, j - left
            bottom, right = min(top + 1, len(canvas) - 1), min(left + 1, canvas.shape[1] - 1)
            logits[y, x] = (
                (1 - a) * (1 - b) * canvas[top, left] + (1 - a) * b * canvas[top, right]
                + a * (1 - b) * canvas[bottom, left] + a * b * canvas[bottom, right]
            )  # fmt: skip
    assert agreement(found, np.argmax(logits, -1).astype(np.int32)) > 0.9999
    assert (
        Predictor(model, max_size=100).costs(260, 300).encode < stage_costs(model, 90, 105).encode
    )
    np.testing.assert_array_equal(
        Predictor(model, max_size=300)(image), Predictor(model, tile=0)(image)
    )


def test_smaller_and_in_tiles(model, image):
    both = Predictor(model, max_size=250, tile=128)(image)
    assert agreement(both, Predictor(model, max_size=250, tile=0)(image)) > 0.995


def test_shrunk_images_are_means(image):
    for pixels in (image, image.astype(np.float64)):
        found = shrink(pixels, (65, 75))
        assert found.shape == (65, 75, 3)
        np.testing.assert_allclose(found.mean((0, 1)), image.mean((0, 1)), atol=1)
    assert found.dtype == np.float32


def test_numbers_that_are_too_small_are_refused(model):
    for options, message in (
        (dict(tile=63), "tile=63: expected 0 for no tiles, or at least 64 pixels"),
        (dict(tile=-5), "tile=-5: expected"),
        (dict(max_size=7), "max_size=7: expected at least one output stride of the model, 8"),
        (dict(max_size=0), "max_size=0: expected"),
    ):
        with pytest.raises(UserError, match=message):
            Predictor(model, **options)
    with pytest.raises(UserError, match="max_size=64: an image of 10x400 pixels becomes 2x64"):
        Predictor(model, max_size=64)(np.zeros((10, 400, 3), np.uint8))


@pytest.mark.parametrize("options", [dict(tile=0), dict(tile=128), dict(max_size=128)])
def test_the_first_image_is_timed_after_everything_is_compiled(tmp_path, options):
    predictor = Predictor(make_lively_model(canvas_stride=4), **options)
    counts = predictor.model.compiled_stages.trace_counts
    traces = []

    class Observed(Predictor):
        def __call__(self, images, *arguments, **named):
            before = counts()
            classes = super().__call__(images, *arguments, **named)
            if images.shape == (260, 300, 3):
                traces.append((before, counts()))
            return classes

    predictor.__class__ = Observed
    Image.fromarray(blocky_image(300)[0, :260]).save(tmp_path / "image.png")
    segment_files(predictor, [tmp_path / "image.png"], tmp_path / "out")
    ((before, after),) = traces
    assert before == after and sum(after.values()) == 1
