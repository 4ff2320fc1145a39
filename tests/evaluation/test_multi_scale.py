import numpy as np
import pytest
import tensorflow as tf

from rnnseg import UserError, grid
from rnnseg.evaluation.multi_scale import MeanReader, View, make_views
from tests.support.models import make_model

STRIDE = 8


def sample(values, rows, columns):
    """Bilinear interpolation of `(h, w, c)` at every pair of a row and a column, float64."""

    def along(values, places):
        low = np.clip(np.floor(places).astype(int), 0, max(len(values) - 2, 0))
        high = np.minimum(low + 1, len(values) - 1)
        part = (places - low).reshape(-1, *[1] * (values.ndim - 1))
        return values[low] * (1 - part) + values[high] * part

    return along(along(np.float64(values), rows).swapaxes(0, 1), columns).swapaxes(0, 1)


def random_canvases(views, size, classes, output_stride=STRIDE, seed=0):
    rng = np.random.default_rng(seed)
    for view in views:
        cells = [grid.canvas_size(side, output_stride, STRIDE) for side in view.size(*size)]
        yield rng.normal(size=(*cells, classes)).astype(np.float32)


@pytest.mark.parametrize(
    ("size", "output_stride"),
    [
        ((65, 97), 8),
        ((150, 41), 8),
        ((64, 90), 8),
        ((9, 200), 8),
        ((361, 121), 16),
        ((181, 60), 32),
    ],
)
def test_reads_the_mean_of_all_views(size, output_stride):
    views = make_views((0.5, 1, 1.75), flip=True)
    canvases = list(random_canvases(views, size, 5, output_stride))
    mean = 0
    for view, canvas in zip(views, canvases, strict=True):
        # A pixel keeps its share of the way from the first to the last pixel of the view.
        rows, columns = (
            np.arange(side) / (side - 1) * (round((side - 1) * view.scale)) / STRIDE
            for side in size
        )
        logits = sample(canvas, rows, columns[::-1] if view.mirrored else columns)
        mean = mean + logits / len(views)
    reader = MeanReader(views, 5, output_stride, STRIDE)
    found = reader([canvas[np.newaxis] for canvas in canvases], size)
    assert found.dtype == np.int32 and found.shape == size
    top = np.sort(mean, -1)
    clear = top[..., -1] - top[..., -2] > 1e-5
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(found[clear], mean.argmax(-1)[clear])


def test_a_canvas_may_be_longer_than_its_stride_alone_would_make_it():
    """Half of 361 pixels are 181: at output stride 16 they lie in 193, of 25 canvas pixels."""
    model = make_model(output_stride=16, canvas_stride=8)
    assert View(0.5).size(361, 361) == (181, 181)
    assert model.canvas_size(181, 181) == (25, 25) and grid.canvas_size(181, 8) == 24
    image = np.random.default_rng(0).integers(0, 255, (361, 121, 3)).astype(np.uint8)
    views = make_views((0.5, 1), flip=True)
    canvases = [model.unroll(view.of(image)[tf.newaxis], 2)[-1] for view in views]
    assert canvases[-1].shape[1:3] == (25, 9)
    mean = 0
    for view, canvas in zip(views, canvases, strict=True):
        logits = model.logits(canvas, view.size(361, 121)).numpy()
        logits = logits[:, :, ::-1] if view.mirrored else logits
        mean = mean + tf.compat.v1.image.resize_bilinear(logits, (361, 121), align_corners=True)
    found = MeanReader(views, 4, 16, 8)(canvases, (361, 121))
    # Logits of a scaled view that are interpolated twice differ a little from those of one time.
    assert np.mean(found == mean.numpy()[0].argmax(-1)) > 0.98


def test_a_single_view_is_read_as_by_the_model():
    model = make_model()
    canvas = tf.random.stateless_normal((1, 6, 9, 4), (1, 2))
    reader = MeanReader([View()], 4, model.output_stride, model.canvas_stride)
    found = reader([canvas], (38, 65))
    assert np.mean(found == model.read(canvas, (38, 65))[0]) > 0.999


def test_among_equal_classes_the_first_is_read():
    reader = MeanReader(make_views((0.5, 1), flip=True), 3, STRIDE, STRIDE)
    canvases = [np.float32([1, 2, 2]) * np.ones((1, n, n, 3), np.float32) for n in (5, 5, 3, 3)]
    assert np.all(reader(canvases, (33, 33)) == 1)


def test_views_lie_on_the_image():
    # The colours of the image are the coordinates of its pixels.
    places = np.stack([*np.meshgrid(np.arange(65), np.arange(49)), np.zeros((49, 65))], -1)
    half = View(0.5, mirrored=False).of(places.astype(np.uint8)).numpy()
    np.testing.assert_allclose(half, places[::2, ::2])
    larger = View(1.75, mirrored=True).of(places.astype(np.uint8)).numpy()
    assert larger.shape == (85, 113, 3)
    np.testing.assert_allclose(larger[::7, ::7], places[::4, ::4][:, ::-1], atol=1e-4)
    same = View().of(places.astype(np.uint8))
    assert same.dtype == tf.float32
    np.testing.assert_array_equal(same, places)


def test_a_mirrored_image_is_read_mirrored():
    # The size is off the grid on purpose: the grid of the mirrored view starts at the right end.
    image = np.random.default_rng(0).integers(0, 255, (40, 52, 3)).astype(np.uint8)
    model = make_model()
    views = make_views((0.75, 1), flip=True)
    reader = MeanReader(views, 4, STRIDE, STRIDE)

    def read(image):
        canvases = [model.unroll(view.of(image)[tf.newaxis], 2)[-1] for view in views]
        return reader(canvases, (40, 52))

    assert np.mean(read(image)[:, ::-1] == read(image[:, ::-1])) > 0.999


def test_one_trace_serves_all_sizes():
    views = make_views((0.5, 1), flip=False)
    reader = MeanReader(views, 3, STRIDE, STRIDE)
    for size in ((33, 57), (80, 40)):
        reader([each[np.newaxis] for each in random_canvases(views, size, 3)], size)
    assert reader._read.experimental_get_tracing_count() == 1


def test_views_of_an_evaluation():
    assert make_views((1, 0.5), flip=True) == (
        View(1, False), View(1, True), View(0.5, False), View(0.5, True)
    )  # fmt: skip
    assert make_views((1.0,), flip=False) == (View(),)
    assert View(0.5).size(513, 360) == (257, 181)
    for scales in ((), (1, 0), (-1,), (float("nan"),), (float("inf"),)):
        with pytest.raises(UserError, match="expected numbers above 0"):
            make_views(scales, flip=False)
