"""Training on features that are computed once: patches of views of all images, mixed.

A frozen encoder gives the same features for the same view in every epoch. Computed once and kept,
they make a step several times cheaper. And a step can have few patches each of very many images,
where a batch of images would have many of few: its gradient then stands for the whole data set.

The loss is taken on canvas pixels, each of which lies on a pixel of the image, not on those between
them, whose logits are interpolated: that takes half as long.
"""

import dataclasses
import functools
import math
import os
import tempfile
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from rnnseg.data.pipeline import Augmentation, training_views
from rnnseg.data.source import IGNORE_LABEL, Source
from rnnseg.errors import UserError
from rnnseg.models.encoder import DEEPEST, MEAN
from rnnseg.models.recurrent import RecurrentSegmenter
from rnnseg.training.sampling import SampledFeatures, TaughtLabels, sample_patches

# Half the memory of float32; the features of trained encoders are far below its largest value.
_KEPT = np.float16


@dataclasses.dataclass(frozen=True)
class KeptPatches:
    """The features and labels of patches.

    Attributes:
      features: as in `SampledFeatures`, float16 on disk.
      labels: class indices or `IGNORE_LABEL` at the canvas pixels, uint8, as in `TaughtLabels`.
      scores: those of a teacher, as in `TaughtLabels`, float16, NaN beyond the image; None
        without a teacher.
    """

    features: Mapping[str, np.ndarray]
    labels: np.ndarray
    scores: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)


def keep_patches(
    model: RecurrentSegmenter,
    source: Source,
    split: str,
    augmentation: Augmentation,
    views: int,
    count: int,
    folder: str | os.PathLike,
    seed: int | None = None,
    teacher: Callable[[np.ndarray], np.ndarray] | None = None,
) -> KeptPatches:
    """Encodes views of all images, and keeps patches of them in files without a name.

    The files vanish with the process, however it ends.

    Args:
      model: the model, whose encoder is not trained.
      source: the data set.
      split: the split to train on.
      augmentation: the random changes that make a view.
      views: the number of views of every image.
      count: the number of patches of every view; all of them if there are fewer.
      folder: the folder on whose disk the files lie.
      seed: fixes views and patches, which otherwise differ in every run.
      teacher: maps an image, uint8 `(h, w, 3)`, to the logits of its pixels in the classes of the
        data, `(h, w, classes)`; None: there is none.

    Raises:
      UserError: the disk has no room.
    """
    images = source.require_split(split) * views
    most, stride = images * count, model.output_stride
    sides = {each.name: stride // each.stride + 1 for each in model.encoder.depths}
    shapes = {
        each.name: (sides[each.name],) * 2 + (each.channels,) for each in model.encoder.depths
    }
    shapes[MEAN] = (1, 1, model.encoder.channels)
    features = {name: _unnamed(folder, _KEPT, (most, *shape)) for name, shape in shapes.items()}
    side = stride // model.canvas_stride + 1
    labels = _unnamed(folder, np.uint8, (most, side, side))
    scores = None
    if teacher is not None:
        scores = _unnamed(folder, _KEPT, (most, side, side, source.num_classes))
    base_seed = int(np.random.default_rng(seed).integers(2**31))

    @tf.function(reduce_retracing=True)
    def patches_of(image, label, step):
        found = dict(model.encode(image[tf.newaxis]))
        place = tf.stack([base_seed, step])
        patches, _ = sample_patches(label[tf.newaxis], count, stride, place)
        number = tf.shape(patches)[1]
        kept = {name: _windows(found[name], patches[0], side) for name, side in sides.items()}
        mean = tf.reduce_mean(found[DEEPEST], [1, 2], keepdims=True)
        kept[MEAN] = tf.repeat(mean, number, axis=0)
        limit = float(np.finfo(_KEPT).max)
        kept = {
            name: tf.cast(tf.clip_by_value(each, -limit, limit), tf.float16)
            for name, each in kept.items()
        }
        return kept, patches[0]

    done = 0
    examples = training_views(source, split, augmentation, views, seed)
    for step, (image, label) in enumerate(
        tqdm(examples, "encode", images, unit="view", disable=None)
    ):
        kept, patches = patches_of(image, label, tf.constant(step))
        end = done + len(patches)
        for name, each in kept.items():
            features[name][done:end] = each
        label = label.numpy()[..., np.newaxis]
        at = patches.numpy() * stride
        labels[done:end] = _at_canvas_pixels(label, at, model.canvas_stride, side, IGNORE_LABEL)[
            ..., 0
        ]
        if scores is not None and teacher is not None:
            found = teacher(image.numpy())
            scores[done:end] = _at_canvas_pixels(found, at, model.canvas_stride, side, np.nan)
        done = end
    features = {name: each[:done] for name, each in features.items()}
    return KeptPatches(features, labels[:done], None if scores is None else scores[:done])


def mixed_batches(
    kept: KeptPatches, size: int, steps: int, first_step: int = 0, seed: int | None = None
) -> tf.data.Dataset:
    """Makes batches of patches in an order of their own in every pass.

    The batches depend on `seed` and the number of the step alone.

    Args:
      kept: the patches.
      size: the number of patches per batch.
      steps: the number of the last step.
      first_step: the number of the steps that are done.
      seed: fixes the order; None: runs differ.

    Returns:
      A data set of `(SampledFeatures, labels)`, or with a teacher's scores of `(SampledFeatures,
      TaughtLabels)`.
    """
    base_seed = int(np.random.default_rng(seed).integers(2**31))

    @functools.lru_cache(2)
    def order(passes):
        return np.random.default_rng((base_seed, passes)).permutation(len(kept))

    def batches():
        for step in range(first_step, steps):
            passes, places = np.divmod(np.arange(step * size, (step + 1) * size), len(kept))
            chosen = [order(int(each))[places[passes == each]] for each in np.unique(passes)]
            rows = np.sort(np.concatenate(chosen))  # in the order in which they lie on the disk
            found = {name: each[rows] for name, each in kept.features.items()}
            labels = kept.labels[rows]
            if kept.scores is not None:
                labels = TaughtLabels(labels, kept.scores[rows])
            yield SampledFeatures(found), labels

    def spec(array):
        return tf.TensorSpec((size, *array.shape[1:]), array.dtype)

    labels = spec(kept.labels)
    if kept.scores is not None:
        labels = TaughtLabels(labels, spec(kept.scores))
    features = {name: spec(each) for name, each in kept.features.items()}
    return tf.data.Dataset.from_generator(
        batches, output_signature=(SampledFeatures(features), labels)
    ).prefetch(2)


def _at_canvas_pixels(values, corners, stride, side, outside) -> np.ndarray:
    """Returns values, `(h, w, channels)`, at `(patches, side, side)` canvas pixels from corners."""
    rows, columns = (corners[:, axis, np.newaxis] + stride * np.arange(side) for axis in (0, 1))
    height, width, _ = values.shape
    found = values[
        np.minimum(rows, height - 1)[:, :, np.newaxis],
        np.minimum(columns, width - 1)[:, np.newaxis],
    ]
    inside = (rows < height)[:, :, np.newaxis] & (columns < width)[:, np.newaxis]
    return np.where(inside[..., np.newaxis], found, outside)


def _windows(features, patches, side):
    """Gathers the features of patches, `(patches, side, side, channels)`."""
    offsets = tf.stack(tf.meshgrid(*[tf.range(side)] * 2, indexing="ij"), -1)
    return tf.gather_nd(features[0], patches[:, tf.newaxis, tf.newaxis] * (side - 1) + offsets)


def _unnamed(folder, dtype, shape) -> np.ndarray:
    """Returns an array in a file that has no name."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            # Where the disk turns out to be full later, the process would be killed.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, dtype, "r+", shape=shape)
    except OSError as error:
        raise UserError(
            f"{os.fspath(folder)} has no room for {size / 1e9:.1f} GB of kept views "
            f"({error.strerror}): keep fewer, or fewer patches of each"
        ) from error
