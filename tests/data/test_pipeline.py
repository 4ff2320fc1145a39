import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from rnnseg import UserError
from rnnseg.data.augmentation import DISTORTIONS, Distortion
from rnnseg.data.pipeline import (
    Augmentation,
    decode,
    decode_augmented,
    evaluation_images,
    near_boundary,
    training_batches,
    with_boundary_weights,
)
from rnnseg.data.sharing import Share
from tests.support.sources import encode, halves, make_source, tiny_source

STRONG = Augmentation((24, 24), distortion=DISTORTIONS["strong"], balanced=True)


def coordinates(height, width):
    """Makes an image whose pixels hold their coordinates: red is the row, green the column."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns, np.full_like(rows, 7)], -1).astype(np.uint8)
    return image, (rows // 4 * 16 + columns // 4).astype(np.uint8)


def augmented(image, label, seed, **options):
    example = {"image": encode(image), "label": encode(label)}
    return [each.numpy() for each in decode_augmented(example, Augmentation(**options), (seed, 3))]


def photo(height, width, seed=0):
    """Makes an image full of saturated edges, on which JPEG's colour subsampling shows."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (height // 3 + 1, width // 3 + 1, 3))
    return np.kron(blocks, np.ones((3, 3, 1)))[:height, :width].astype(np.uint8)


def encode_as(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def bilinear(image, height, width):
    """Resizes in floats with half-pixel centres, without antialiasing."""
    for axis, size in enumerate((height, width)):
        length = image.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
        below = np.floor(at).astype(int)
        above = np.minimum(below + 1, length - 1)
        weight = (at - below).reshape([-1 if axis == each else 1 for each in range(3)])
        image = image.take(below, axis) * (1 - weight) + image.take(above, axis) * weight
    return image


def nearest(label, height, width):
    rows, columns = (
        np.floor((np.arange(size) + 0.5) * length / size).astype(int)
        for size, length in zip((height, width), label.shape, strict=True)
    )
    return label[rows[:, None], columns]


def test_a_crop_is_a_part_of_the_image_or_its_mirror():
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
def test_scaled_labels_lie_on_scaled_images(factor):
    image, label = coordinates(64, 64)
    scale = (factor, factor)
    for seed in range(20):
        crop, crop_label = augmented(image, label, seed, crop=(24, 24), scale=scale, flip=False)
        rows, columns = crop[..., 0].astype(float), crop[..., 1].astype(float)
        assert np.ptp(columns) == pytest.approx(24 / factor, abs=2)
        # The label numbers blocks of 4x4 pixels: it must match the coordinates in the image.
        inside = (np.abs(rows % 4 - 1.5) < 0.9) & (np.abs(columns % 4 - 1.5) < 0.9)
        expected = (rows // 4 * 16 + columns // 4)[inside]
        assert np.mean(crop_label[inside] == expected) > 0.97


def test_small_images_are_padded_with_mean_and_ignore():
    image, label = coordinates(20, 30)
    crop, crop_label = augmented(image, label, 1, crop=(64, 48), scale=(1, 1), flip=False)
    inside = crop_label != 255
    assert inside.sum() == 20 * 30
    np.testing.assert_array_equal(np.unique(crop[~inside], axis=0), [[124, 117, 104]])
    np.testing.assert_array_equal(crop[inside].reshape(20, 30, 3), image)


@pytest.mark.parametrize("size", [(97, 61), (40, 130)])
def test_scaling_mirroring_and_padding_agree_with_numpy(size):
    image = photo(*size)
    label = np.random.default_rng(1).integers(0, 200, size).astype(np.uint8)
    sides, padded = set(), 0
    for seed in range(40):
        crop, crop_label = augmented(image, label, seed, crop=(64, 72))
        inside = crop_label != 255
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        shown = rows.size, columns.size
        within = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        assert inside.sum() == np.prod(shown) == inside[within].sum()
        padded += not inside.all()
        np.testing.assert_array_equal(crop[~inside], np.tile([124, 117, 104], ((~inside).sum(), 1)))

        # The random choices by their definition: two positions, the mirroring, the factor.
        draws = tf.random.stateless_uniform([4], (seed, 3)).numpy()
        factor = 0.5 + 1.5 * draws[3]
        window = np.clip(np.round(np.array([64, 72]) / factor), 1, size).astype(int)
        top, left = (draws[:2] * (np.array(size) - window + 1)).astype(int)
        part = np.s_[top : top + window[0], left : left + window[1]]
        turn = -1 if draws[2] < 0.5 else 1
        sides.add(turn)
        np.testing.assert_array_equal(
            crop_label[within], nearest(label[part][:, ::turn], *shown), err_msg=str(seed)
        )
        difference = crop[within] - bilinear(image[part][:, ::turn].astype(float), *shown)
        assert np.abs(difference).max() < 0.502
        assert np.all(np.abs(shown - np.minimum(window * factor, (64, 72))) <= 0.5)
    assert sides == {-1, 1} and 5 < padded < 40


@pytest.mark.parametrize(
    "options",
    [
        dict(subsampling="4:4:4"),
        dict(subsampling="4:2:2"),
        dict(subsampling="4:2:0"),
        dict(subsampling="4:2:0", progressive=True),
        dict(subsampling="4:2:0", restart_marker_rows=1),
        dict(mode="L"),
    ],
    ids=lambda options: " ".join(map(str, options.values())),
)
def test_a_crop_of_a_jpeg_equals_the_crop_of_the_decoded_image(options):
    options = dict(options)
    image = Image.fromarray(photo(85, 121)).convert(options.pop("mode", "RGB"))
    jpeg = encode_as(image, "JPEG", quality=85, **options)
    label = encode(np.zeros((85, 121), np.uint8))
    whole = decode({"image": jpeg, "label": label})[0].numpy()
    assert np.abs(whole - np.asarray(image.convert("RGB"), float)).mean() < 60
    for crop, scale in (((33, 29), (1, 1)), ((60, 70), (0.5, 2.0)), ((85, 121), (1, 1))):
        augmentation = Augmentation(crop, scale)
        function = tf.function(
            lambda image, seed, augmentation=augmentation: decode_augmented(
                {"image": image, "label": label}, augmentation, seed
            )[0],
            input_signature=[tf.TensorSpec((), tf.string), tf.TensorSpec((2,), tf.int32)],
        )
        for seed in range(60):
            np.testing.assert_array_equal(
                function(jpeg, (seed, 5)), function(encode(whole), (seed, 5)), err_msg=str(seed)
            )


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA"])
def test_every_png_mode_is_cropped_as_rgb(mode):
    image = Image.fromarray(photo(30, 40)).convert(mode)
    label = np.zeros((30, 40), np.uint8)
    example = {"image": encode_as(image, "PNG"), "label": encode(label)}
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode(example)[0], expected)
    for seed in range(5):
        augmentation = Augmentation((17, 19), (0.6, 1.8))
        np.testing.assert_array_equal(
            decode_augmented(example, augmentation, (seed, 3))[0],
            augmented(expected, label, seed, crop=(17, 19), scale=(0.6, 1.8))[0],
        )


@pytest.mark.parametrize("seed", [4, None])
def test_batches_hold_every_image_once_per_epoch(seed):
    images = [np.full((8, 8, 3), value, np.uint8) for value in range(10)]
    source = make_source({"train": [(image, image[..., 0] % 3) for image in images]})
    batches, steps = training_batches(
        source, "train", 5, Augmentation((8, 8), (1, 1)), epochs=3, seed=seed
    )
    epochs = np.concatenate([image[:, 0, 0, 0] for image, _ in batches]).reshape(3, 10)
    assert steps == 2
    for epoch in epochs:
        assert sorted(epoch) == list(range(10))
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_images_that_do_not_fill_a_batch_are_left_out_of_their_epoch():
    images = [np.full((8, 8, 3), value, np.uint8) for value in range(7)]
    source = make_source({"train": [(image, image[..., 0] % 3) for image in images]})
    batches, steps = training_batches(
        source, "train", 3, Augmentation((8, 8), (1, 1)), epochs=20, seed=1
    )
    epochs = np.concatenate([image[:, 0, 0, 0] for image, _ in batches]).reshape(20, 6)
    assert steps == 2
    assert all(len(set(epoch)) == 6 for epoch in epochs)
    assert set(epochs.ravel()) == set(range(7))


def test_every_epoch_is_augmented_differently():
    source = make_source({"train": [coordinates(60, 50)]})
    batches, _ = training_batches(source, "train", 1, Augmentation((9, 9)), epochs=4, seed=1)
    assert len({image.numpy().tobytes() for image, _ in batches}) == 4


@pytest.mark.parametrize("augmentation", [Augmentation((24, 24)), STRONG], ids=["plain", "strong"])
def test_a_seed_repeats_all_batches_and_a_resumed_training_continues_them(augmentation):
    source = tiny_source()
    options = dict(batch_size=3, augmentation=augmentation, epochs=4, seed=7)

    def images(**more):
        batches, _ = training_batches(source, "train", **options, **more)
        return np.stack([np.concatenate([image.numpy().ravel(), label.numpy().ravel()])
                         for image, label in batches])  # fmt: skip

    first = images()
    assert len(first) == 4 * 2
    np.testing.assert_array_equal(first, images())
    np.testing.assert_array_equal(first[2 * 2 :], images(first_epoch=2))


@pytest.mark.parametrize("count", [2, 3])
def test_workers_share_every_batch(count):
    """Also where images are left over: each has as many as the others, in every epoch."""
    options = dict(epochs=3, first_epoch=1, seed=7)
    whole, steps = training_batches(tiny_source(8), "train", 6, STRONG, **options)
    shares = [
        training_batches(tiny_source(8), "train", 6, STRONG, **options, share=Share(each, count))[0]
        for each in range(count)
    ]
    batches = list(whole)
    assert len(batches) == 2 * steps == 2
    for batch, *parts in zip(batches, *shares, strict=True):
        assert all(len(images) == 6 // count for images, _ in parts)
        for tensor, *pieces in zip(batch, *parts, strict=True):
            np.testing.assert_array_equal(tensor, np.concatenate(pieces))


@pytest.mark.parametrize("global_seed", [0, 1, 2**31 - 1])
def test_the_global_seed_changes_no_batch(global_seed):
    def images():
        batches, _ = training_batches(tiny_source(), "train", 3, STRONG, epochs=2, seed=7)
        return np.stack([image for image, _ in batches])

    expected = images()
    tf.random.set_seed(global_seed)
    try:
        np.testing.assert_array_equal(images(), expected)
    finally:
        tf.random.set_seed(None)


def numpy_near_boundary(label, reach):
    near = np.zeros(label.shape, bool)
    for row, column in np.ndindex(label.shape):
        window = label[
            max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1
        ]
        near[row, column] = len(np.unique(window[window != 255])) > 1
    return near


@pytest.mark.parametrize("reach", [1, 2, 3])
def test_pixels_near_a_boundary_by_numpy(reach):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (2, 5, 4)).repeat(6, 1).repeat(6, 2).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.1] = 255
    labels[1, :12] = 255
    near = near_boundary(labels, reach).numpy()
    assert near.any() and not near.all()
    for found, label in zip(near, labels, strict=True):
        np.testing.assert_array_equal(found, numpy_near_boundary(label, reach))


def test_boundary_weights_are_a_third_part_of_each_batch():
    batches, _ = training_batches(tiny_source(), "train", 2, Augmentation((32, 40)), 1, seed=0)
    for images, labels, weights in with_boundary_weights(batches, 4.0):
        assert images.shape == (2, 32, 40, 3) and weights.dtype == tf.float32
        np.testing.assert_array_equal(weights, np.where(near_boundary(labels), 4.0, 1.0))


def test_evaluation_images_have_their_own_size_and_order():
    examples = halves(2, 40, 48) + halves(1, 31, 57)
    source = make_source({"val": examples})
    found = list(evaluation_images(source, "val").as_numpy_iterator())
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
        evaluation_images(source, "test")
    with pytest.raises(UserError, match="split 'val' of tiny is empty"):
        evaluation_images(source, "val")
    with pytest.raises(UserError, match="scale 2-1"):
        Augmentation((8, 8), (2, 1))
    with pytest.raises(UserError, match="crop 0x8"):
        Augmentation((0, 8))


def test_augmentation_is_one_graph():
    image, label = (encode(each) for each in coordinates(20, 20))
    traced = tf.function(
        lambda seed: decode_augmented({"image": image, "label": label}, Augmentation((9, 9)), seed)
    )
    image, label = traced((1, 2))
    assert image.shape == (9, 9, 3) and label.shape == (9, 9)


def test_changed_colours_leave_label_place_and_padding_alone():
    image, label = photo(40, 130), np.random.default_rng(1).integers(0, 9, (40, 130))
    label = label.astype(np.uint8)
    changed = 0
    for seed in range(12):
        plain, expected = augmented(image, label, seed, crop=(64, 72))
        colored, found = augmented(
            image, label, seed, crop=(64, 72), distortion=DISTORTIONS["standard"]
        )
        np.testing.assert_array_equal(found, expected)
        beside = expected == 255
        np.testing.assert_array_equal(colored[beside], plain[beside])
        changed += (colored != plain).any()
    assert 6 < changed <= 12


def test_turned_crops_are_padded_with_mean_and_ignore():
    image, label = coordinates(60, 50)
    degrees, padded = Distortion(degrees=10.0), 0
    for seed in range(5):
        crop, crop_label = augmented(
            image, label, seed, crop=(40, 40), scale=(1, 1), flip=False, distortion=degrees
        )
        if crop_label[0, 0] == 255:
            padded += 1
            assert crop_label[-1, -1] == 255
            np.testing.assert_array_equal(crop[0, 0], [124, 117, 104])
        # The label numbers blocks of 4x4 pixels: it must match the coordinates in the image.
        rows, columns = crop[..., 0].astype(float), crop[..., 1].astype(float)
        inside = (np.abs(rows % 4 - 1.5) < 0.9) & (np.abs(columns % 4 - 1.5) < 0.9)
        # Blue is 7, unless the pixel lies at the border, where it has a part of the mean colour.
        inside &= crop[..., 2] == 7
        expected = (rows // 4 * 16 + columns // 4)[inside]
        assert inside.sum() > 200 and np.mean(crop_label[inside] == expected) > 0.97
    assert padded >= 3  # an angle of a degree cuts off less than a pixel
