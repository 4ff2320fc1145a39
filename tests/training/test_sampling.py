import keras
import numpy as np
import pytest
import tensorflow as tf

import rnnseg
from rnnseg.data.sharing import Share
from rnnseg.training.sampling import (
    SampledImages,
    SampledSegmenter,
    sample_patches,
    sampled_batches,
)
from tests.support.models import make_model

STRIDE = 8


def make_sampled(**options):
    return make_model(SampledSegmenter, **options)


def make_batch(height=33, width=41, batch=2, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (batch, height, width, 3), np.uint8)
    labels = rng.integers(0, 4, (batch, height, width), np.uint8)
    labels[:, : height // 2] = 255
    labels[:, 3, 3] = 1
    return images, labels


def blocks(examples, patches):
    """Returns the pixels of patches, `(batch, patches * STRIDE, STRIDE, ...)`; 255 outside."""
    around = [(0, 0), (0, STRIDE), (0, STRIDE)] + [(0, 0)] * (examples.ndim - 3)
    padded = np.pad(examples, around, constant_values=255)
    return np.stack(
        [
            np.concatenate(
                [
                    example[STRIDE * i : STRIDE * (i + 1), STRIDE * j : STRIDE * (j + 1)]
                    for i, j in chosen
                ]
            )
            for example, chosen in zip(padded, np.array(patches), strict=True)
        ]
    )


# The grid ends on the last row and column, beyond the last row, and after the last column.
@pytest.mark.parametrize("height, width, rows, columns", [(33, 41, 4, 5), (34, 40, 5, 5)])
def test_patches_have_their_own_labels(height, width, rows, columns):
    _, labels = make_batch(height, width)
    patches, chosen = sample_patches(labels, 1000, STRIDE, (1, 2))
    every = {(row, column) for row in range(rows) for column in range(columns)}
    for example in patches.numpy():
        assert {tuple(patch) for patch in example} == every and len(example) == rows * columns
    np.testing.assert_array_equal(chosen, blocks(labels, patches))


def test_patches_with_a_label_come_first():
    _, labels = make_batch()
    for seed in range(5):
        patches, chosen = sample_patches(labels, 11, STRIDE, (seed, 0))
        # The lower half, and the patch with the one pixel in the upper half.
        assert all(row >= 2 or (row, column) == (0, 0) for row, column in patches.numpy()[0])
        assert np.all(np.any(chosen.numpy().reshape(2, 11, -1) != 255, axis=-1))
    np.testing.assert_array_equal(
        np.sort(patches.numpy()[1] @ [100, 1]),
        [0, *(100 * i + j for i in (2, 3) for j in range(5))],
    )


def test_the_choice_is_uniform_and_follows_the_seed():
    labels = np.zeros((1, 33, 41), np.uint8)
    chosen = [tuple(map(tuple, sample_patches(labels, 5, STRIDE, (n, 0))[0][0].numpy())) for n in
              range(400)]  # fmt: skip
    assert len(set(chosen)) > 390
    again = sample_patches(labels, 5, STRIDE, (7, 0))[0][0].numpy()
    assert chosen[7] == tuple(map(tuple, again))
    counts = np.zeros((4, 5))
    for patch in np.reshape(chosen, (-1, 2)):
        counts[tuple(patch)] += 1
    # 100 expected; the standard deviation is 8.7.
    assert counts.min() > 65 and counts.max() < 135


@pytest.mark.parametrize(
    "options",
    [{}, {"context_channels": 3}, {"iterations": 3, "iteration_weights": (1, 0, 2)}],
)
def test_logits_of_patches_are_those_of_the_image(options):
    model = make_sampled(train_encoder=False, recompute=True, **options)
    images, labels = make_batch(batch=3)
    patches, _ = sample_patches(labels, 6, STRIDE, (0, 0))
    whole = model.weighted_logits(images)
    sampled = model.weighted_logits(SampledImages(images, patches))
    assert len(whole) == len(sampled) == sum(map(bool, options.get("iteration_weights", [1])))
    for ours, expected in zip(sampled, whole, strict=True):
        assert ours.shape == (3, 6 * STRIDE, STRIDE, 4)
        np.testing.assert_allclose(ours, blocks(expected.numpy(), patches), atol=1e-5)


def cross_entropy(logits, labels):
    logits, labels = np.float64(logits), np.int64(labels)
    counted = labels != 255
    probabilities = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities /= probabilities.sum(-1, keepdims=True)
    right = np.take_along_axis(probabilities, np.where(counted, labels, 0)[..., None], -1)[..., 0]
    return -np.log(right[counted]).mean()


@pytest.mark.parametrize("options", [{}, {"iterations": 2, "iteration_weights": (1, 3)}])
def test_a_step_minimizes_the_loss_of_the_patches(options):
    images, labels = make_batch()
    patches, chosen = sample_patches(labels, 4, STRIDE, (0, 0))
    model = make_sampled(train_encoder=False, **options)
    # Large weights, so that the canvases of all iterations differ.
    model.stack.set_weights([10 * weight for weight in model.stack.get_weights()])
    weights = options.get("iteration_weights", (1,))
    numbers = range(1, 3) if options else [6]
    expected = np.average(
        [
            cross_entropy(blocks(model(images, iterations=n).numpy(), patches), chosen)
            for n in numbers
        ],
        weights=weights,
    )
    before = model.get_weights()
    model.compile(loss=rnnseg.SegmentationLoss(), optimizer="sgd")
    batch = SampledImages(images, patches)
    np.testing.assert_allclose(model.train_on_batch(batch, chosen), expected, rtol=1e-5)
    changed = [np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True)]
    names = [weight.path.split("/")[0] for weight in model.weights]
    assert changed == [name == "stack" for name in names]


def test_fit_learns_from_patches():
    images, labels = make_batch(batch=4)
    labels[:] = images[..., 0] > 127
    images[..., :] = 255 * labels[..., None]
    labels[:, :5] = 255
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(2).repeat()
    model = make_sampled(train_encoder=False)
    model.compile(loss=rnnseg.SegmentationLoss(), optimizer=keras.optimizers.Adam(0.02))
    history = model.fit(
        sampled_batches(batches, 5, STRIDE, seed=0),
        steps_per_epoch=10,
        epochs=3,
        validation_data=(images, labels),
        shuffle=False,
        verbose=0,
    ).history
    # The loss starts from four equally likely classes; black and white are easy to learn.
    assert history["loss"][-1] < 0.8 * np.log(4)
    assert history["val_loss"][-1] < 0.8 * np.log(4)


def test_batches_are_the_same_again_from_any_step():
    images, labels = make_batch(batch=6)
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(2)

    def patches(data, **options):
        return [x.patches.numpy() for (x, _) in sampled_batches(data, 3, STRIDE, **options)]

    whole = patches(batches, seed=4)
    assert not np.array_equal(whole[0], whole[1])
    np.testing.assert_array_equal(patches(batches.skip(1), first_step=1, seed=4), whole[1:])
    assert not np.array_equal(patches(batches, seed=5), whole)
    assert not np.array_equal(patches(batches), patches(batches))
    for (examples, labels), original in zip(
        sampled_batches(batches, 3, STRIDE), batches, strict=True
    ):
        np.testing.assert_array_equal(examples.images, original[0])
        np.testing.assert_array_equal(labels, blocks(original[1].numpy(), examples.patches))


def test_workers_have_the_patches_of_one_that_is_alone():
    images, labels = make_batch(batch=6)
    batches = tf.data.Dataset.from_tensor_slices((images, labels))
    whole = [x.patches for x, _ in sampled_batches(batches.batch(6), 3, STRIDE, seed=4)]
    parts = [
        next(iter(sampled_batches(batches.batch(2).skip(each).take(1), 3, STRIDE, seed=4,
                                  share=Share(each, 3))))[0].patches
        for each in range(3)
    ]  # fmt: skip
    np.testing.assert_array_equal(np.concatenate(parts), whole[0])


def test_kernels_larger_than_1_are_refused():
    with pytest.raises(rnnseg.UserError, match="kernel_size=3: patches can only .* kernels of 1"):
        make_sampled(kernel_size=3)


def test_saved_and_plain_models_load_as_models_for_patches(tmp_path):
    images, labels = make_batch()
    patches, _ = sample_patches(labels, 4, STRIDE, (0, 0))
    for model in (make_sampled(), make_model()):
        model.save(tmp_path / "model.keras")
        with keras.saving.custom_object_scope({"rnnseg>RecurrentSegmenter": SampledSegmenter}):
            loaded = rnnseg.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded(images), model(images))
        assert loaded(SampledImages(images, patches)).shape == (2, 4 * STRIDE, STRIDE, 4)
