import numpy as np
import pytest
import tensorflow as tf

from rnnseg.data.crops import Augmentation, choose_crop


def crops(label, seeds, **options):
    """The corners and the sizes of windows in an image, for as many seeds."""
    augmentation = Augmentation(**options)
    size = tf.constant(label.shape)
    choose = tf.function(
        lambda seed: choose_crop(size, augmentation, seed, label if augmentation.balanced else None)
    )
    found = [choose(tf.constant([seed, 5], tf.int64)) for seed in range(seeds)]
    return [(tuple(each.corner.numpy()), tuple(each.window.numpy())) for each in found]


def test_balanced_crops_show_every_class_of_the_image_equally_often():
    """Of 300 crops, each of three classes is drawn for 100; one of them is a single pixel."""
    label = np.zeros((40, 50), np.uint8)
    label[:, 40:] = 7
    label[11, 22] = 3
    label[30:] = 255
    options = dict(crop=(9, 8), scale=(1, 1))
    places = {False: set(), True: set()}
    for balanced, expected in ((True, 100), (False, 300 * 9 * 8 / (32 * 43))):
        shown = 0
        for (top, left), window in crops(label, 300, balanced=balanced, **options):
            assert window == (9, 8) and 0 <= top <= 31 and 0 <= left <= 42
            if (label[top : top + 9, left : left + 8] == 3).any():
                shown += 1
                places[balanced].add((top - 11, left - 22))
        assert shown == pytest.approx(expected, abs=25)
    # The pixel may lie anywhere in its crop.
    rows, columns = zip(*places[True], strict=True)
    assert set(rows) == set(range(-8, 1)) and set(columns) == set(range(-7, 1))


@pytest.mark.parametrize("value", [255, 4])
def test_nothing_to_balance_leaves_the_crops_as_they_are(value):
    """No label at all; or images that a crop shows as a whole, as with the smaller scales here."""
    label = np.full((20, 30), value, np.uint8)
    options = dict(crop=(20, 30), scale=(0.5, 1.0) if value == 4 else (1.5, 2.0))
    assert crops(label, 10, balanced=True, **options) == crops(label, 10, **options)
