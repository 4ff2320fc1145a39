import errno
import os

import numpy as np
import pytest

import rnnseg
from rnnseg import UserError
from rnnseg.data.pipeline import Augmentation
from rnnseg.data.reading import read_images
from rnnseg.models.encoder import DEEPEST, MEAN
from rnnseg.training.kept_views import KeptPatches, keep_patches, mixed_batches
from rnnseg.training.losses import DistillationLoss
from rnnseg.training.sampling import SampledFeatures, SampledSegmenter
from tests.support.models import blocky_image, make_model, settle_batch_norm
from tests.support.sources import make_source

WHOLE = Augmentation((64, 64), (1.0, 1.0), flip=False)


@pytest.fixture
def model():
    """A model at output stride 16, whose canvas and shallow features are at stride 8."""
    model = make_model(
        SampledSegmenter,
        encoder="mobilenet_v2_0.35",
        output_stride=16,
        canvas_stride=8,
        skip_layers=("block_5_add", "block_12_add"),
        context_channels=8,
        context_rates=(),
        iterations=3,
        early_iterations=(1,),
        iteration_weights=(1.0, 0.0, 2.0),
        train_encoder=False,
    )
    network = model.encoder.network
    network.trainable = True
    settle_batch_norm(network, blocky_image(65) / 127.5 - 1)
    network.trainable = False
    return model


@pytest.fixture(scope="module")
def source():
    """Images of two sizes, whose labels differ in every patch."""
    rng = np.random.default_rng(0)
    return make_source(
        {
            "train": [
                (rng.integers(0, 256, (*size, 3), np.uint8), rng.integers(0, 3, size, np.uint8))
                for size in ((40, 56), (49, 33))
            ]
        }
    )


def keep(model, source, folder, augmentation=WHOLE, views=1, count=100, seed=3):
    return keep_patches(model, source, "train", augmentation, views, count, folder, seed)


def beyond(values, outside):
    """Continues a map below and to the right of the image."""
    return np.pad(
        values, [(0, 17), (0, 17)] + [(0, 0)] * (np.ndim(values) - 2), constant_values=outside
    )


def places(kept, label):
    """Yields the index of every patch of an image, and its canvas pixels in `beyond(...)`."""
    for row in range(0, label.shape[0] - 1, 16):
        for column in range(0, label.shape[1] - 1, 16):
            part = np.s_[row : row + 17 : 8, column : column + 17 : 8]
            (at,) = np.flatnonzero((kept.labels == beyond(label, 255)[part]).all((1, 2)))
            yield at, part


def test_logits_of_kept_patches_are_those_of_the_images(model, source, tmp_path):
    kept = keep(model, source, tmp_path)
    assert {name: each.shape for name, each in kept.features.items()} == {
        "block_5_add": (18, 3, 3, 16),
        "block_12_add": (18, 2, 2, 32),
        DEEPEST: (18, 2, 2, model.encoder.channels),
        MEAN: (18, 1, 1, model.encoder.channels),
    }
    found = model.weighted_logits(SampledFeatures(dict(kept.features)))
    assert len(found) == 2
    seen = 0
    for image, label, _ in read_images(source, "train"):
        expected = model.weighted_logits(image[np.newaxis])
        for at, part in places(kept, label):
            for ours, whole in zip(found, expected, strict=True):
                inside = np.isfinite(beyond(whole[0], np.nan)[part])
                # Features are kept in half precision.
                np.testing.assert_allclose(
                    ours[at][inside],
                    beyond(whole[0], np.nan)[part][inside],
                    atol=0.02 * whole.numpy().std(),
                )
            seen += 1
    assert seen == 18


def test_views_differ_and_follow_the_seed(model, source, tmp_path):
    changes = Augmentation((33, 33), (0.8, 1.5))
    kept, again, other = (
        keep(model, source, tmp_path, changes, views=3, count=2, seed=seed) for seed in (1, 1, 2)
    )
    assert len(kept) == 3 * 2 * 2
    assert len({each.tobytes() for each in kept.labels}) == len(kept)
    for name, each in kept.features.items():
        np.testing.assert_array_equal(each, again.features[name])
    assert np.any(kept.labels != other.labels)


def test_nothing_stays_in_the_folder(model, source, tmp_path):
    kept = keep(model, source, tmp_path)
    assert os.listdir(tmp_path) == [] and kept.labels.any()


def test_every_pass_has_every_patch_once_in_an_order_of_its_own(model, source, tmp_path):
    kept = keep(model, source, tmp_path)
    # Six steps of three patches are a pass.
    batches = list(mixed_batches(kept, 3, 12, seed=5))
    assert len(batches) == 12
    rows = {each.tobytes(): row for row, each in enumerate(kept.labels)}
    order = []
    for images, labels in batches:
        chosen = [rows[each.tobytes()] for each in labels.numpy()]
        order += chosen
        for name, each in images.features.items():
            np.testing.assert_array_equal(each, kept.features[name][chosen])
    assert sorted(order[:18]) == sorted(order[18:]) == list(range(18))
    assert [sorted(order[n : n + 3]) for n in range(0, 18, 3)] != [
        sorted(order[n : n + 3]) for n in range(18, 36, 3)
    ]
    rest = list(mixed_batches(kept, 3, 12, first_step=7, seed=5))
    np.testing.assert_array_equal(
        [labels for _, labels in rest], [labels for _, labels in batches[7:]]
    )


def test_a_step_trains_the_stack_and_the_context(model, source, tmp_path):
    kept = keep(model, source, tmp_path)
    model.compile(loss=rnnseg.SegmentationLoss(), optimizer="adam")
    before = model.get_weights()
    model.fit(mixed_batches(kept, 6, 3, seed=5), verbose=0)
    for weight, old, new in zip(model.weights, before, model.get_weights(), strict=True):
        trained = weight.path.startswith(("stack", "context"))
        assert np.any(old != new) == trained, weight.path


def test_a_teacher_scores_canvas_pixels(model, source, tmp_path):
    def brightness(image):
        return np.stack([image.sum(-1, dtype=np.float32), image[..., 0], image[..., 1]], -1)

    kept = keep_patches(model, source, "train", WHOLE, 1, 100, tmp_path, 3, brightness)
    assert kept.scores.shape == (18, 3, 3, 3)
    for image, label, _ in read_images(source, "train"):
        for at, part in places(kept, label):
            np.testing.assert_array_equal(
                kept.scores[at], beyond(brightness(image), np.nan)[part].astype(np.float16)
            )
    assert np.isnan(kept.scores).any()


def test_a_step_learns_from_the_teacher_at_every_weighted_iteration(model, source, tmp_path):
    """The stack has four classes: the teacher's scores are given by hand."""
    kept = keep(model, source, tmp_path)
    scores = np.random.default_rng(2).normal(0, 3, (len(kept), 3, 3, 4)).astype(np.float16)
    scores[5, 0, 1] = np.nan
    batch, labels = next(
        iter(mixed_batches(KeptPatches(kept.features, kept.labels, scores), 18, 1))
    )
    loss = DistillationLoss(0.5, 2.0)
    model.compile(loss=loss, optimizer="sgd")
    first, last = model.weighted_logits(batch)
    parts = [
        loss(labels.labels, each) + loss.of_scores(labels.scores, each) for each in (first, last)
    ]
    found = model.compute_loss(batch, labels, (first, last))
    np.testing.assert_allclose(found, np.average(parts, weights=(1, 2)), rtol=1e-5)
    before = model.stack.get_weights()
    np.testing.assert_allclose(model.train_on_batch(batch, labels), found, rtol=1e-4)
    assert any(np.any(a != b) for a, b in zip(before, model.stack.get_weights(), strict=True))


def test_a_disk_without_room_is_told(model, source, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match="has no room for .* GB of kept views .No space left"):
        keep(model, source, tmp_path)
