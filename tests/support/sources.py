"""Small data sets in memory, for tests."""

import io

import numpy as np
import tensorflow as tf
from PIL import Image

from rnnseg.data.source import Source


def encode(array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def make_source(splits, class_names=("left", "right", "top"), name="tiny") -> Source:
    """Makes a source from `{split: [(image, label), …]}`, or with instance ids in third place."""
    has_instances = any(len(example) > 2 for examples in splits.values() for example in examples)
    keys = ("image", "label", "instance_ids")[: 2 + has_instances]

    def read(split):
        parts = zip(*splits[split], strict=True)
        values = {key: list(map(encode, part)) for key, part in zip(keys, parts, strict=True)}
        names = [f"{split}_{index}" for index in range(len(splits[split]))]
        return tf.data.Dataset.from_tensor_slices(values | {"name": names})

    colors = tuple((40 * index, 255 - 40 * index, 7) for index in range(len(class_names)))
    sizes = {split: len(examples) for split, examples in splits.items()}
    return Source(name, tuple(class_names), colors, sizes, read, has_instances)


def halves(count, height=40, width=48, seed=0):
    """Makes images with random bands of three classes, each of which has its own grey level."""
    rng = np.random.default_rng(seed)
    examples = []
    for _ in range(count):
        edge = rng.integers(8, width - 8)
        label = np.zeros((height, width), np.uint8)
        label[:, edge:] = 1
        label[: rng.integers(6, 14)] = 2
        noise = rng.integers(0, 30, (height, width, 3))
        image = (np.array([20, 110, 200])[label][..., None] + noise).astype(np.uint8)
        label[-2:] = 255
        examples.append((image, label))
    return examples


def tiny_source(train=8, val=3) -> Source:
    return make_source({"train": halves(train), "val": halves(val, 43, 51, seed=1)})
