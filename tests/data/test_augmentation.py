import colorsys

import numpy as np
import pytest
import tensorflow as tf

from rnnseg.data import augmentation
from rnnseg.data.augmentation import DISTORTIONS, MEAN_COLOR, Distortion, Draws
from rnnseg.options import declaration
from rnnseg.training.config import TrainingConfig

NEUTRAL = Draws(*map(tf.constant, (0.0, 1.0, 1.0, 0.0, 0.0, 0.0)))


def image(height=12, width=15, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def draws_of(distortion, seeds):
    draw = tf.function(lambda seed: augmentation.draw(distortion, seed))
    found = [draw(tf.constant([seed, 3], tf.int64)) for seed in range(seeds)]
    return {name: np.array([getattr(each, name) for each in found]) for name in Draws._fields}


def test_the_choices_are_those_of_training():
    field = TrainingConfig.__dataclass_fields__["augment"]
    assert tuple(DISTORTIONS) == declaration(field).choices


def test_draws_fill_their_ranges_for_the_share_of_images():
    """600 images: three standard deviations of a share of 0.5 are 0.06."""
    drawn = draws_of(
        Distortion(0.1, (0.5, 1.5), (0.6, 1.2), 0.05, 0.5, blur=2.0, blur_share=0.3, degrees=10),
        seeds=600,
    )
    ranges = [(-0.1, 0.1), (0.5, 1.5), (0.6, 1.2), (-0.05, 0.05), (0, 2), (-10, 10)]
    shares = [0.5, 0.5, 0.5, 0.5, 0.3, 1.0]
    for values, neutral, (least, most), share in zip(
        drawn.values(), NEUTRAL, ranges, shares, strict=True
    ):
        changed = values[values != float(neutral)]
        assert changed.size / 600 == pytest.approx(share, abs=0.06)
        assert least <= values.min() and values.max() <= most
        assert np.ptp(changed) > 0.95 * (most - least)
    # What is changed and by how much is drawn for each change by itself.
    assert np.abs(np.corrcoef(list(drawn.values())) - np.eye(6)).max() < 0.2


def test_the_standard_choice_changes_colours_alone():
    drawn = draws_of(DISTORTIONS["standard"], 20)
    assert not drawn["degrees"].any() and not drawn["blur"].any() and np.ptp(drawn["hue"]) > 0


def test_brightness_and_contrast_by_their_formulas():
    pixels = image().astype(np.float32) / 255
    draws = NEUTRAL._replace(brightness=tf.constant(0.1), contrast=tf.constant(1.3))
    brighter = pixels + 0.1
    mean = brighter.mean((0, 1))
    expected = np.clip(mean + 1.3 * (brighter - mean), 0, 1)
    np.testing.assert_allclose(augmentation.change_colors(pixels, draws), expected, atol=1e-5)


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.5])
def test_saturation_and_hue_by_colorsys(factor):
    """Also of colours with two equal channels, but for a rounding error, and of grey."""
    pixels = image().astype(np.float32) / 255
    pixels[0, :, 2] = pixels[0, :, 1] + 3e-8
    pixels[1] = np.sort(pixels[0], -1)[:, ::-1]
    pixels[2] = pixels[2, :, :1]
    draws = NEUTRAL._replace(saturation=tf.constant(factor), hue=tf.constant(-0.04))
    found = augmentation.change_colors(pixels, draws).numpy()
    for index in np.ndindex(pixels.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*map(float, pixels[index]))
        expected = colorsys.hsv_to_rgb((hue - 0.04) % 1, min(factor * saturation, 1), value)
        np.testing.assert_allclose(found[index], expected, atol=1e-4)


def test_nothing_drawn_changes_no_pixel():
    """Random colours, and reds, all of which `tf.image.adjust_saturation` does not keep."""
    pixels = image()
    pixels[..., 1:] = np.where(np.arange(15)[:, None] < 7, 7, pixels[..., 1:])
    found = augmentation.change_look(pixels, NEUTRAL, DISTORTIONS["strong"])
    np.testing.assert_array_equal(found, pixels)


def test_blur_by_its_definition():
    """A Gaussian of the pixels within two of the largest deviations, of those in the image."""
    pixels = image(7, 12).astype(np.float32)
    found = augmentation.blur(pixels, tf.constant(0.9), 1.5)
    expected = np.empty_like(pixels)
    rows, columns = np.mgrid[:7, :12]
    for row, column in np.ndindex(7, 12):
        away = rows - row, columns - column
        near = (np.abs(away[0]) <= 3) & (np.abs(away[1]) <= 3)
        weights = near * np.exp(-(away[0] ** 2 + away[1] ** 2) / (2 * 0.9**2))
        expected[row, column] = np.average(pixels.reshape(-1, 3), 0, weights.ravel())
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("quarters", [-1, 0, 1, 2])
def test_quarter_turns_are_numpy_s(quarters):
    pixels, label = image(10, 10), np.arange(100, dtype=np.uint8).reshape(10, 10)
    turned, turned_label = augmentation.rotate(pixels, label, tf.constant(90.0 * quarters))
    np.testing.assert_array_equal(turned_label, np.rot90(label, quarters))
    assert np.abs(np.rot90(pixels, quarters) - turned.numpy().astype(float)).max() <= 1


@pytest.mark.parametrize("degrees", [-10.0, 4.0, 10.0])
def test_labels_turn_with_their_image(degrees):
    """In an image that shows its label as a colour; what lay outside is mean and ignored."""
    label = np.random.default_rng(1).integers(0, 5, (6, 8)).repeat(12, 0).repeat(12, 1)
    pixels = np.stack([40 * label, 200 - 40 * label, 0 * label + 9], -1).astype(np.uint8)
    turned, found = augmentation.rotate(pixels, label.astype(np.uint8), tf.constant(degrees))
    turned, found = turned.numpy().astype(int), found.numpy()
    assert set(np.unique(found)) == {0, 1, 2, 3, 4, 255}
    windows = np.lib.stride_tricks.sliding_window_view(found, (3, 3)).reshape(70, 94, 9)
    inner = np.pad((windows == windows[..., :1]).all(-1), 1)
    outside = found == 255
    shown = np.stack([40 * found, 200 - 40 * found, 0 * found + 9], -1).astype(int)
    assert np.abs(turned - shown)[inner & ~outside].max() <= 1
    assert (turned[inner & outside] == MEAN_COLOR).all() and (inner & outside).any()
    # Each of the four corners is cut off by a triangle.
    height, width = label.shape
    angle = np.radians(abs(degrees))
    rows, columns = (
        np.mgrid[:height, :width] - np.array([height - 1, width - 1]).reshape(2, 1, 1) / 2
    )
    across = np.abs(columns * np.cos(angle) - rows * np.sin(angle) * np.sign(degrees))
    down = np.abs(columns * np.sin(angle) * np.sign(degrees) + rows * np.cos(angle))
    beyond = (across > width / 2) | (down > height / 2)
    assert (beyond != outside).mean() < 0.002
