import numpy as np
import pytest
from PIL import Image

from rnnseg import visualize
from rnnseg.palette import default_colors
from tests.support.models import make_model

COLORS = ((0, 0, 0), (200, 10, 10), (10, 200, 10))


def labels_like(height=20, width=30):
    labels = np.zeros((height, width), np.int64)
    labels[5:12] = 1
    labels[12:18] = 2
    labels[18:] = 255
    return labels


def test_default_colors_are_those_of_voc():
    assert default_colors(256)[:3] == ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    assert default_colors(21)[15] == (192, 128, 128)  # person
    assert len(set(default_colors(256))) == 256


def test_a_model_without_names_and_colors_has_default_ones():
    plain = make_model(num_classes=2)
    assert plain.names == ("class 0", "class 1")
    assert plain.colors == ((0, 0, 0), (128, 0, 0))
    named = make_model(num_classes=2, class_names=["sea", "land"], class_colors=COLORS[:2])
    assert named.names == ("sea", "land")
    assert named.colors == COLORS[:2]


def test_a_class_map_holds_indices_and_shows_colors(tmp_path):
    labels = labels_like()
    visualize.save_class_map(tmp_path / "map.png", labels, COLORS)
    image = Image.open(tmp_path / "map.png")
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image), labels)
    shown = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(shown[labels == 1][0], COLORS[1])
    assert shown[labels == 255].min() > 200


def test_an_overlay_blends_all_but_ignored_pixels():
    image = np.full((20, 30, 3), 100, np.uint8)
    mixed = visualize.overlay(image, labels_like(), COLORS, opacity=0.25)
    assert mixed.dtype == np.uint8
    np.testing.assert_array_equal(mixed[6, 0], [125, 78, 78])
    np.testing.assert_array_equal(mixed[19, 0], [100, 100, 100])


def test_bands_make_no_difference(tmp_path, monkeypatch):
    labels = labels_like()
    image = np.random.default_rng(0).integers(0, 256, (*labels.shape, 3), np.uint8)
    names = [f"class {number}" for number in range(len(COLORS))]
    found = []
    for band in (visualize._BAND, 1):
        monkeypatch.setattr(visualize, "_BAND", band)
        visualize.save_overlay(tmp_path / "overlay.png", image, labels, COLORS, names)
        drawn = np.asarray(Image.open(tmp_path / "overlay.png"))
        shares = visualize.class_shares(labels, len(COLORS))
        found.append((visualize.overlay(image, labels, COLORS), drawn, list(shares.items())))
    for one, several in zip(*found, strict=True):
        np.testing.assert_array_equal(one, several)


def test_an_overlay_keeps_the_brightness_of_a_black_class():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    mixed = visualize.overlay(image, labels_like(), COLORS)
    np.testing.assert_array_equal(mixed[:5], image[:5])
    assert (mixed[5:18] != image[5:18]).any(-1).mean() > 0.9


def test_shares_of_classes_fall_and_sum_to_one():
    shares = visualize.class_shares(labels_like(), 4)
    # 5, 7 and 6 rows; the 2 that are ignored do not count, nor does class 3, which never occurs.
    assert list(shares.items()) == [(1, 7 / 18), (2, 6 / 18), (0, 5 / 18)]
    assert visualize.class_shares(np.full((2, 2), 255), 4) == {}
    assert [visualize.percent(share) for share in (1, 0.414, 0.0051, 0.001)] == [
        "100 %", "41 %", "1 %", "< 1 %"
    ]  # fmt: skip


@pytest.mark.parametrize("width", [30, 700])
def test_a_saved_overlay_has_a_legend_of_the_classes_that_occur(tmp_path, width):
    labels = labels_like(20, width).clip(max=1)  # class 2 does not occur
    image = np.full((20, width, 3), 100, np.uint8)
    names = ("background", "$road_", "sky")
    visualize.save_overlay(tmp_path / "overlay.png", image, labels, COLORS, names)
    drawn = np.asarray(Image.open(tmp_path / "overlay.png"))
    np.testing.assert_array_equal(drawn[:20, :width], visualize.overlay(image, labels, COLORS))
    assert drawn.shape[1] >= width
    below = drawn[20:].reshape(-1, 3)
    assert np.all(below == COLORS[1], axis=1).any()
    assert not np.all(below == COLORS[2], axis=1).any()
    # The longest entry fits, however narrow the image is.
    assert np.all(drawn[20:, -2:] == 255)


@pytest.mark.parametrize("count", [1, 6, 12])
def test_a_strip_has_all_maps(tmp_path, count):
    labels = labels_like()
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    maps = [labels.clip(max=2)] * count
    titles = [f"n = {n}" for n in range(count)]
    path = tmp_path / "strip.png"
    visualize.save_strip(path, image, maps, COLORS, "abc", titles, truth=labels)
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    red = np.all(pixels == COLORS[1], axis=1).sum()
    visualize.save_strip(path, image, maps[:-1] + [0 * labels], COLORS, "abc", titles, truth=labels)
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    fewer = np.all(pixels == COLORS[1], axis=1).sum()
    # One of count + 1 maps has no red any more; the legend is the same in both images.
    assert 0.6 / (count + 1) < 1 - fewer / red < 1.2 / (count + 1)
    # Eight inches: shown 700 pixels wide, texts of nine points have more than ten pixels.
    assert Image.open(path).width <= 8 * visualize.DOTS_PER_INCH


def test_a_sheet_takes_images_of_different_sizes(tmp_path):
    images = [np.zeros((20, 30, 3), np.uint8), np.zeros((31, 17, 3), np.uint8)]
    maps = [labels_like(), labels_like(31, 17)]
    visualize.save_sheet(
        tmp_path / "sheet.png", images, maps, ["$a_{", "b"], COLORS, ["_a", "$b$", "c"]
    )
    assert Image.open(tmp_path / "sheet.png").width > 1000


def test_a_curve_rises_and_falls_with_its_scores(tmp_path):
    def draw(miou):
        curve = visualize.Curve("mine", (1, 2, 6), miou, (2e9, 3e9, 7e9), (10, 11, 15), 6)
        visualize.save_curve(tmp_path / "curve.png", [curve])
        image = Image.open(tmp_path / "curve.png").convert("RGB")
        blue = np.all(np.asarray(image) == (0, 114, 178), axis=-1)
        return [
            np.argwhere(blue[:, part])[:, 0].mean() for part in (slice(0, 400), slice(500, 800))
        ]

    left, right = draw((0.3, 0.5, 0.6))
    assert left > right  # rows count downwards: the curve rises
    left, right = draw((0.6, 0.5, 0.3))
    assert left < right


def test_curves_of_a_family_share_their_colour(tmp_path):
    def drawn(families):
        curves = [
            visualize.Curve(f"{index}", (1,), (0.4 + index / 10,), (2e9,), (10,), None, family)
            for index, family in enumerate(families)
        ]
        visualize.save_curve(tmp_path / "curve.png", curves)
        pixels = np.asarray(Image.open(tmp_path / "curve.png").convert("RGB"))
        return [np.all(pixels == color, axis=-1).sum() for color in ((0, 114, 178), (213, 94, 0))]

    own_blue, own_red = drawn(("a", "b"))
    shared_blue, shared_red = drawn(("a", "a"))
    assert own_red > 0 and shared_red == 0
    # The dot of the second curve of a family is a ring.
    assert own_blue < shared_blue < 2 * own_blue
