import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from rnnseg.data import shapes
from rnnseg.errors import UserError


@pytest.fixture(scope="module")
def many():
    """300 images and labels."""
    images, labels = zip(*[shapes.draw_image(seed) for seed in range(300)], strict=True)
    return np.stack(images), np.stack(labels)


def test_the_seed_determines_the_image():
    image, label = shapes.draw_image(5)
    again, label_again = shapes.draw_image(5)
    other, label_other = shapes.draw_image(6)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(label, label_again)
    assert (image != other).mean() > 0.5
    assert (label != label_other).mean() > 0.1


def test_the_scene_is_the_same_at_every_size():
    small = shapes.draw_image(3, 64)[1]
    large = shapes.draw_image(3, 192)[1]
    assert (small == large[1::3, 1::3]).mean() > 0.99


def test_classes_have_sensible_shares(many):
    _, labels = many
    share = np.bincount(labels.ravel(), minlength=256) / labels.size
    assert share[len(shapes.CLASS_NAMES) :].sum() == 0
    assert 0.5 < share[0] < 0.8
    assert share[1:6].min() > 0.03
    assert share[1:6].max() < 2 * share[1:6].min()
    for label in labels:
        assert np.count_nonzero(label) > 0.02 * label.size


def test_color_does_not_tell_the_class(many):
    images, labels = many
    # The mean colour of a class in an image is one draw; classes must share its distribution.
    means = {
        c: np.array(
            [images[i][labels[i] == c].mean(0) for i in range(300) if (labels[i] == c).any()]
        )
        for c in range(1, 6)
    }
    overall = np.concatenate(list(means.values()))
    for c, values in means.items():
        error = overall.std(0) / np.sqrt(len(values))
        assert (np.abs(values.mean(0) - overall.mean(0)) < 4 * error).all(), shapes.CLASS_NAMES[c]
        assert (np.abs(values.std(0) / overall.std(0) - 1) < 0.25).all(), shapes.CLASS_NAMES[c]


def test_shapes_stand_out(many):
    """Colours differ far more across an outline than by the noise (sigma 4) of a pixel."""
    images, labels = many
    images = images.astype(float)
    step = np.linalg.norm(images[:, :, 3:] - images[:, :, :-3], axis=-1)
    # Pixels three apart on both sides of an outline, which is smoothed over about one pixel.
    border = labels[:, :, 3:] != labels[:, :, :-3]
    # If colours were drawn independently, 4 % of the outline would be below 30.
    assert np.mean(step[border] < 30) < 0.015


def corners(kind, radius):
    """Returns the corners of an outline, computed without the module under test."""
    count = {"triangle": 3, "square": 4, "star": 10}[kind]
    radii = np.where(np.arange(count) % 2, 0.45 * radius, radius) if kind == "star" else radius
    angles = 2 * np.pi * np.arange(count) / count
    return radii * np.cos(angles), radii * np.sin(angles)


@pytest.mark.parametrize("kind", ["triangle", "square", "star"])
def test_outlines_match_polygons_drawn_by_pillow(kind):
    # A large polygon, since Pillow also fills pixels that the outline only touches.
    grid = np.arange(1000) - 500.0
    inside = shapes.signed_distance(kind, grid[None, :], grid[:, None], 450.0) < 0
    x, y = corners(kind, 450.0)
    drawn = Image.new("1", (1000, 1000))
    ImageDraw.Draw(drawn).polygon(list(zip(x + 500, y + 500, strict=True)), fill=1)
    drawn = np.asarray(drawn)
    assert (inside & drawn).sum() / (inside | drawn).sum() > 0.99


@pytest.mark.parametrize(
    ("kind", "area"),
    [
        ("disk", np.pi),
        ("ring", np.pi * (1 - 0.5**2)),
        ("square", 2),
        ("triangle", 3 * np.sqrt(3) / 4),
        ("star", 5 * 0.45 * np.sin(np.pi / 5)),
    ],
)
def test_areas_are_those_of_the_formulas(kind, area):
    grid = np.arange(100) - 49.5
    inside = shapes.signed_distance(kind, grid[None, :], grid[:, None], 40.0) < 0
    assert inside.sum() == pytest.approx(area * 40**2, rel=0.02)


def test_distance_is_in_pixels():
    x = np.array([0.0, 10.0, 25.0])
    y = np.zeros(3)
    np.testing.assert_allclose(shapes.signed_distance("disk", x, y, 20.0), [-20, -10, 5])
    np.testing.assert_allclose(shapes.signed_distance("ring", x, y, 20.0), [10, 0, 5])
    # A square with corners on the axes: its sides are radius / sqrt(2) from the middle.
    middle = shapes.signed_distance("square", np.zeros(1), np.zeros(1), 20.0)
    np.testing.assert_allclose(middle, -20 / np.sqrt(2), rtol=1e-5)


def test_round_labels_are_round():
    """A separate disk fills pi / 4 of its bounding box; a separate square varies with its angle."""
    fills = {1: [], 2: [], 4: []}
    for seed in range(600):
        label = shapes.draw_image(seed)[1]
        for kind, found in fills.items():
            y, x = np.nonzero(label == kind)
            # A single whole shape: not at the border, as wide as high, surrounded by background.
            if not len(y) or min(y.min(), x.min()) < 1 or max(y.max(), x.max()) > 94:
                continue
            box = label[y.min() - 1 : y.max() + 2, x.min() - 1 : x.max() + 2]
            height, width = box.shape[0] - 2, box.shape[1] - 2
            if abs(height - width) <= 1 and np.isin(box, (0, kind)).all():
                found.append(len(y) / (height * width))
    assert min(len(found) for found in fills.values()) > 5
    # The median, since two adjacent shapes may be taken for one.
    assert np.median(fills[1]) == pytest.approx(np.pi / 4, abs=0.02)
    assert np.median(fills[4]) == pytest.approx(np.pi / 4 * (1 - 0.5**2), abs=0.03)
    assert np.std(fills[2]) > 0.05  # depends on the rotation


def test_labels_follow_the_image():
    """Image and label have the same outlines: pixels change most where labels change."""
    image, label = shapes.draw_image(2, 192)
    step = np.abs(np.diff(image.astype(float), axis=1)).sum(-1)
    border = np.diff(label.astype(int), axis=1) != 0
    assert step[border].mean() > 2 * step[~border].mean()


def test_clips_move_a_little():
    images, labels = shapes.draw_clip(4, frames=12)
    assert images.shape == (12, 96, 96, 3) and labels.shape == (12, 96, 96)
    same = (labels[1:] == labels[:-1]).mean(axis=(1, 2))
    assert same.min() > 0.8 and same.max() < 1
    assert (labels[0] == labels[-1]).mean() < same.mean()


def test_clip_starts_with_the_image():
    images, labels = shapes.draw_clip(9, frames=2, size=64)
    image, label = shapes.draw_image(9, 64)
    np.testing.assert_array_equal(images[0], image)
    np.testing.assert_array_equal(labels[0], label)


def test_shapes_stay_in_long_clips():
    _, labels = shapes.draw_clip(0, frames=300, size=32)
    assert (labels != 0).any(axis=(1, 2)).all()
    same = (labels[1:] == labels[:-1]).mean(axis=(1, 2))
    assert same.min() > 0.9  # no jump when a shape bounces


def test_source_gives_the_images():
    made = shapes.source(train=3, val=2, seed=7, size=48)
    assert made.split_sizes == {"train": 3, "val": 2}
    assert made.num_classes == 6
    for split, number in (("train", 1), ("val", 2)):
        elements = list(made.read(split).as_numpy_iterator())
        assert len(elements) == made.split_sizes[split]
        for index, element in enumerate(elements):
            image, label = shapes.draw_image((7, number, index), 48)
            decoded = Image.open(io.BytesIO(element["image"]))
            grey = Image.open(io.BytesIO(element["label"]))
            assert decoded.mode == "RGB" and grey.mode == "L"
            np.testing.assert_array_equal(np.asarray(decoded), image)
            np.testing.assert_array_equal(np.asarray(grey), label)
            assert element["name"].decode() == f"{split}_{index:05d}"


def test_no_image_twice():
    made = shapes.source(train=40, val=20, size=24)
    images = [e["image"] for s in ("train", "val") for e in made.read(s).as_numpy_iterator()]
    assert len(set(images)) == 60


def test_drawn_once(monkeypatch):
    made = shapes.source(train=2, val=1, size=24)
    first = list(made.read("train").as_numpy_iterator())
    monkeypatch.setattr(shapes, "draw_image", None)  # drawing again would fail
    assert list(made.read("train").as_numpy_iterator()) == first


def test_unknown_and_empty_splits():
    made = shapes.source(train=1, val=0, size=24)
    with pytest.raises(UserError, match="no split 'test'"):
        made.read("test")
    with pytest.raises(UserError, match="empty"):
        made.read("val")
