import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnseg import UserError
from rnnseg.training.losses import DiceLoss, DistillationLoss, SegmentationLoss, SumOfLosses

CLASSES = 5
SHAPE = (3, 6, 7)


def example(seed=0, ignored=0.3):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, SHAPE).astype(np.uint8)
    labels[rng.random(labels.shape) < ignored] = 255
    return labels, rng.normal(0, 3, (*SHAPE, CLASSES)).astype(np.float32)


def value_and_gradient(loss, labels, logits, weights=None):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(labels, logits, weights)
    return float(value), tape.gradient(value, logits).numpy()


def assert_same(ours, others):
    for mine, other in zip(ours, others, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-8)


def keras_loss(**options):
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255, **options)


# Names of shapes that sample weights may have, and their weights in full.
WEIGHTS = {
    "none": lambda rng: (None, None),
    "per image": lambda rng: _spread(rng.random(SHAPE[:1])),
    "per image in a column": lambda rng: _spread(rng.random((SHAPE[0], 1))),
    "per pixel": lambda rng: _spread(rng.random(SHAPE)),
    "per pixel with a last axis": lambda rng: _spread(rng.random((*SHAPE, 1))),
    "zeros and ones": lambda rng: _spread(rng.integers(0, 2, SHAPE)),
}


def _spread(weights):
    weights = weights.astype(np.float32)
    if weights.size == SHAPE[0]:
        full = np.broadcast_to(weights.reshape(-1, 1, 1), SHAPE)
    else:
        full = weights.reshape(SHAPE)
    return weights, np.ascontiguousarray(full)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight", "sum"])
@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("last_axis", [False, True])
def test_it_is_keras_own_with_sample_weights(kind, reduction, last_axis):
    labels, logits = example()
    weights, full = WEIGHTS[kind](np.random.default_rng(1))
    expected = value_and_gradient(keras_loss(reduction=reduction), labels, logits, full)
    labels = labels[..., np.newaxis] if last_axis else labels
    assert_same(
        value_and_gradient(SegmentationLoss(reduction=reduction), labels, logits, weights), expected
    )


def test_without_reduction_it_is_a_map_with_zeros_for_ignored_pixels():
    labels, logits = example()
    loss = SegmentationLoss(reduction=None)(labels, logits)
    expected = keras_loss(reduction=None)(labels, logits)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_array_equal(SegmentationLoss().call(labels, logits), loss)
    assert not np.any(loss.numpy()[labels == 255])


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_smoothing_is_keras_own_on_the_counted_pixels(smoothing):
    labels, logits = example()
    counted = labels != 255
    expected = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    expected = expected(np.eye(CLASSES)[labels[counted]], logits[counted])
    np.testing.assert_allclose(SegmentationLoss(smoothing)(labels, logits), expected, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_loss_is_keras_own_on_the_counted_pixels(smoothing):
    labels, logits = example()
    counted = labels != 255
    expected = keras.losses.CategoricalFocalCrossentropy(
        alpha=1.0, gamma=1.5, from_logits=True, label_smoothing=smoothing
    )
    expected = expected(np.eye(CLASSES)[labels[counted]], logits[counted])
    ours = SegmentationLoss(smoothing, focal_gamma=1.5)(labels, logits)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_class_weights_are_sample_weights_of_the_pixels_of_a_class():
    labels, logits = example()
    factors = [0.5, 2.0, 0.0, 1.0, 7.0]
    weights = np.append(factors, np.zeros(251)).astype(np.float32)[labels]
    assert_same(
        value_and_gradient(SegmentationLoss(class_weights=factors), labels, logits),
        value_and_gradient(keras_loss(), labels, logits, weights),
    )


def test_weights_on_other_pixels_pull_elsewhere():
    """One weight of the whole batch, as of a loss that is reduced too early, would not."""
    labels, logits = example()
    first, second = (
        value_and_gradient(SegmentationLoss(), labels, logits, (labels == kind).astype(np.float32))[
            1
        ].ravel()
        for kind in (0, 1)
    )
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert abs(cosine) < 1e-6


@pytest.mark.parametrize("share", [0.2, 0.5, 0.999])
def test_hard_pixels_are_the_share_of_each_image_with_the_largest_loss(share):
    labels, logits = example()
    losses = keras_loss(reduction=None)(labels, logits).numpy()
    chosen = []
    for loss, label in zip(losses, labels, strict=True):
        counted = np.sort(loss[label != 255])[::-1]
        chosen.append(counted[: int(np.ceil(share * len(counted)))])
    expected = np.concatenate(chosen).mean()
    ours = SegmentationLoss(hard_pixels=share)(labels, logits)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_distillation_by_numpy():
    labels, logits = example()
    scores = np.random.default_rng(1).normal(0, 4, logits.shape)
    scores[0, 1, 2, 3] = np.nan
    scores[2, 2] = np.inf
    options = dict(label_smoothing=0.1, class_weights=(1, 2, 3, 4, 5))
    loss = DistillationLoss(0.3, 2.5, **options)
    np.testing.assert_allclose(
        loss(labels, logits), 0.7 * SegmentationLoss(**options)(labels, logits), rtol=1e-6
    )

    def probabilities(values):
        powers = np.exp(np.float64(values) / 2.5)
        return powers / powers.sum(-1, keepdims=True)

    with np.errstate(invalid="ignore"):
        p, q = probabilities(scores), probabilities(logits)
    divergence = (p * np.log(p / q)).sum(-1)
    expected = 0.3 * 2.5**2 * np.nanmean(divergence)
    assert np.isnan(divergence).sum() == 1 + SHAPE[2]
    value, gradient = value_and_gradient(
        lambda scores, logits, _: loss.of_scores(scores, logits), scores, logits
    )
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert np.isfinite(gradient).all() and not gradient[2, 2].any()
    same, gradient = value_and_gradient(
        lambda scores, logits, _: loss.of_scores(scores, logits), logits, logits
    )
    np.testing.assert_allclose(same, 0, atol=1e-6)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_dice_is_keras_own_where_all_classes_are_present():
    labels, logits = example(ignored=0)
    assert all(len(np.unique(label)) == CLASSES for label in labels)
    expected = keras.losses.Dice(axis=(1, 2))(
        np.eye(CLASSES, dtype=np.float32)[labels], tf.nn.softmax(logits)
    )
    np.testing.assert_allclose(DiceLoss()(labels, logits), expected, rtol=1e-6)


def numpy_dice(labels, logits, weights):
    """The mean over images of the mean over classes that occur."""
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    seen = odds / odds.sum(-1, keepdims=True)
    losses = []
    for label, p, w in zip(labels, seen, weights, strict=True):
        counted = label != 255
        each = []
        for kind in np.unique(label[counted]):
            t = (label == kind)[counted]
            both = (w[counted] * t * p[counted][:, kind]).sum()
            each.append(1 - 2 * both / (w[counted] * (t + p[counted][:, kind])).sum())
        losses.append(w[counted].mean() * np.mean(each))
    return np.mean(losses)


@pytest.mark.parametrize("kind", ["per image", "per pixel"])
def test_dice_by_numpy_with_weights_ignored_pixels_and_missing_classes(kind):
    labels, logits = example()
    labels[labels == 2] = 1
    weights, full = WEIGHTS[kind](np.random.default_rng(1))
    ours = DiceLoss()(labels, logits, weights)
    np.testing.assert_allclose(ours, numpy_dice(labels, logits, full), rtol=1e-5)


def test_class_weights_of_dice_weigh_the_classes_of_an_image():
    labels, logits = example()
    only = [float(kind == 3) for kind in range(CLASSES)]
    alone = np.where(labels == 255, 255, np.where(labels == 3, 3, 0))
    both = DiceLoss([1.0, 0.0, 0.0, 1.0, 0.0])(labels, logits)
    third = DiceLoss(only)(labels, logits)
    np.testing.assert_allclose(third, DiceLoss(only)(alone, logits), rtol=1e-6)
    first = DiceLoss([1.0, 0.0, 0.0, 0.0, 0.0])(labels, logits)
    np.testing.assert_allclose(both, (first + third) / 2, rtol=1e-6)


def test_a_sum_of_losses_adds_values_and_gradients():
    labels, logits = example()
    weights = WEIGHTS["per pixel"](np.random.default_rng(1))[0]
    losses = (SegmentationLoss(0.1), DiceLoss())
    ours = value_and_gradient(SumOfLosses(losses), labels, logits, weights)
    each = [value_and_gradient(loss, labels, logits, weights) for loss in losses]
    assert_same(ours, [sum(values) for values in zip(*each, strict=True)])


@pytest.mark.parametrize("loss", [SegmentationLoss(0.1), SegmentationLoss(hard_pixels=0.5),
                                  DiceLoss()])  # fmt: skip
def test_the_loss_without_counted_pixels_is_zero_and_so_is_its_gradient(loss):
    labels, logits = example()
    value, gradient = value_and_gradient(loss, np.full_like(labels, 255), logits)
    assert value == 0 and not gradient.any()


def test_losses_survive_serialization():
    options = dict(label_smoothing=0.2, class_weights=(1.0, 2.0), focal_gamma=2.0, hard_pixels=0.3)
    dice = DiceLoss([1.0, 3.0], reduction="sum")
    loss = SumOfLosses([SegmentationLoss(**options), dice])
    loss = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    first, second = loss.losses
    assert options.items() <= first.get_config().items()
    assert second.class_weights == (1.0, 3.0) and second.reduction == "sum"


def test_the_loss_of_an_earlier_version_loads():
    """Its configuration had a name and the smoothing alone."""
    loss = SegmentationLoss.from_config({"label_smoothing": 0.1, "name": "segmentation_loss"})
    labels, logits = example()
    assert float(loss(labels, logits)) == float(SegmentationLoss(0.1)(labels, logits))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"label_smoothing": 1.0}, "label_smoothing=1.0: expected at least 0 and less than 1"),
        ({"focal_gamma": -1.0}, "focal_gamma=-1.0: expected at least 0"),
        ({"hard_pixels": 0.0}, "hard_pixels=0.0: expected more than 0 and at most 1"),
        ({"class_weights": [0, 0]}, r"class_weights=\(0.0, 0.0\): expected .* some above 0"),
        ({"class_weights": [1, float("nan")]}, "class_weights=.*expected numbers of at least 0"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        SegmentationLoss(**options)


@pytest.mark.parametrize("loss", [SegmentationLoss(class_weights=[1, 2]), DiceLoss([1, 2])])
def test_class_weights_of_another_number_of_classes_are_refused(loss):
    with pytest.raises(UserError, match="class_weights: 2 given for 5 classes"):
        loss(*example())


def test_one_hot_labels_are_refused_with_the_way_out():
    labels, logits = example()
    with pytest.raises(UserError, match=r"labels of shape \(3, 6, 7, 5\): .*take the argmax"):
        SegmentationLoss()(np.eye(CLASSES)[np.minimum(labels, 4)], logits)


@pytest.mark.parametrize("shape", [(2,), (6, 7), (3, 7, 6), (3, 6, 7, 5)])
def test_sample_weights_of_other_shapes_are_refused(shape):
    labels, logits = example()
    with pytest.raises(UserError, match=r"sample_weight of .*per image, \(3,\), or per pixel"):
        SegmentationLoss()(labels, logits, np.ones(shape, np.float32))
