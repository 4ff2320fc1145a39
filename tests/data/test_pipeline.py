import numpy as np
import pytest
import tensorflow as tf

from rnnseg import UserError
from rnnseg.data.pipeline import Augmentation, augment, evaluation_pictures, training_batches
from tests.sources import halves, make_source, tiny_source


def coordinates(height, width):
    """A picture that says where each of its pixels was: red is the row, green the column."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns, np.full_like(rows, 7)], -1).astype(np.uint8)
    return image, (rows // 4 * 16 + columns // 4).astype(np.uint8)


def augmented(image, label, seed, **options):
    return [each.numpy() for each in augment(image, label, Augmentation(**options), (seed, 3))]


def test_a_crop_is_a_part_of_the_picture_or_its_mirror():
    image, label = coordinates(60, 50)
    mirrored = 0
    for seed in range(40):
        crop, crop_label = augmented(image, label, seed, crop=(21, 33), scale=(1, 1))
        rows, columns = crop[..., 0].astype(int), crop[..., 1].astype(int)
        np.testing.assert_array_equal(rows, rows[0, 0] + np.arange(21)[:, None] + 0 * columns)
        step = columns[0, 1] - columns[0, 0]
        assert abs(step) == 1
        np.testing.assert_array_equal(columns, columns[0, 0] + step * np.arange(33) + 0 * rows)
        np.testing.assert_array_equal(crop_label, label[rows, columns])
        mirrored += step == -1
    assert 8 < mirrored < 32


def test_every_part_can_be_cropped():
    image, label = coordinates(30, 30)
    corners = {
        tuple(augmented(image, label, seed, crop=(20, 20), scale=(1, 1), flip=False)[0][0, 0, :2])
        for seed in range(400)
    }
    assert {row for row, _ in corners} == {column for _, column in corners} == set(range(11))


@pytest.mark.parametrize("factor", [0.5, 1.7, 2.0])
def test_scaled_labels_lie_on_scaled_pictures(factor):
    image, label = coordinates(64, 64)
    scale = (factor, factor)
    for seed in range(20):
        crop, crop_label = augmented(image, label, seed, crop=(24, 24), scale=scale, flip=False)
        rows, columns = crop[..., 0].astype(float), crop[..., 1].astype(float)
        assert np.ptp(columns) == pytest.approx(24 / factor, abs=2)
        # The label names blocks of 4x4 pixels: it must name where the picture says it is.
        inside = (np.abs(rows % 4 - 1.5) < 0.9) & (np.abs(columns % 4 - 1.5) < 0.9)
        expected = (rows // 4 * 16 + columns // 4)[inside]
        assert np.mean(crop_label[inside] == expected) > 0.97


def test_small_pictures_are_padded_with_mean_and_ignore():
    image, label = coordinates(20, 30)
    crop, crop_label = augmented(image, label, 1, crop=(64, 48), scale=(1, 1), flip=False)
    inside = crop_label != 255
    assert inside.sum() == 20 * 30
    np.testing.assert_array_equal(np.unique(crop[~inside], axis=0), [[124, 117, 104]])
    np.testing.assert_array_equal(crop[inside].reshape(20, 30, 3), image)


def test_batches_hold_every_picture_once_an_epoch():
    images = [np.full((8, 8, 3), value, np.uint8) for value in range(10)]
    source = make_source({"train": [(image, image[..., 0] % 3) for image in images]})
    batches, steps = training_batches(
        source, "train", 5, Augmentation((8, 8), (1, 1)), epochs=3, seed=4
    )
    epochs = np.concatenate([image[:, 0, 0, 0] for image, _ in batches]).reshape(3, 10)
    assert steps == 2
    for epoch in epochs:
        assert sorted(epoch) == list(range(10))
    assert list(epochs[0]) != list(epochs[1])


def test_a_seed_repeats_everything_and_a_later_start_goes_on():
    source = tiny_source()
    options = dict(batch_size=3, augmentation=Augmentation((24, 24)), epochs=4, seed=7)

    def images(**more):
        batches, _ = training_batches(source, "train", **options, **more)
        return np.stack([np.concatenate([image.numpy().ravel(), label.numpy().ravel()])
                         for image, label in batches])  # fmt: skip

    first = images()
    assert len(first) == 4 * 2
    np.testing.assert_array_equal(first, images())
    np.testing.assert_array_equal(first[2 * 2 :], images(first_epoch=2))


def test_evaluation_pictures_are_native_and_in_order():
    examples = halves(2, 40, 48) + halves(1, 31, 57)
    source = make_source({"val": examples})
    found = list(evaluation_pictures(source, "val").as_numpy_iterator())
    for (image, label), (expected_image, expected_label) in zip(
        [each[:2] for each in found], examples, strict=True
    ):
        np.testing.assert_array_equal(image, expected_image)
        np.testing.assert_array_equal(label, expected_label)
    assert [name for *_, name in found] == [b"val_0", b"val_1", b"val_2"]


def test_wrong_use_is_named():
    source = make_source({"train": halves(2), "val": []})
    with pytest.raises(UserError, match="batch size 3: expected 1 to 2"):
        training_batches(source, "train", 3, Augmentation((8, 8)), 1)
    with pytest.raises(UserError, match="has no split 'test'; it has train, val"):
        evaluation_pictures(source, "test")
    with pytest.raises(UserError, match="split 'val' of tiny is empty"):
        evaluation_pictures(source, "val")
    with pytest.raises(UserError, match="scale 2-1"):
        Augmentation((8, 8), (2, 1))
    with pytest.raises(UserError, match="crop 0x8"):
        Augmentation((0, 8))


def test_augmentation_is_one_graph():
    traced = tf.function(
        lambda image, label, seed: augment(image, label, Augmentation((9, 9)), seed)
    )
    image, label = traced(*coordinates(20, 20), (1, 2))
    assert image.shape == (9, 9, 3) and label.shape == (9, 9)
