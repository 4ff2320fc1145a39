import pathlib

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def read_records():
    """Reads a split directly from its TFRecord files: `{name: (image, label)}`, encoded."""
    import tensorflow as tf

    def read(out: pathlib.Path, split: str) -> dict[str, tuple[bytes, bytes]]:
        files = sorted(str(path) for path in out.rglob(f"1.0.0/*-{split}.tfrecord-*"))
        records = {}
        for record in tf.data.TFRecordDataset(files):
            values = tf.train.Example.FromString(record.numpy()).features.feature
            name, image, label = (
                values[key].bytes_list.value[0] for key in ("name", "image", "label")
            )
            records[name.decode()] = (image, label)
        return records

    return read


@pytest.fixture
def save_image():
    """Writes a random RGB image in the format of the file's ending."""
    generator = np.random.default_rng(0)

    def save(path: pathlib.Path, size: tuple[int, int] = (12, 9)) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        width, height = size
        pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)

    return save


@pytest.fixture
def save_mask():
    """Writes labels as an index PNG: grey, or with the given palette."""

    def save(path: pathlib.Path, labels: np.ndarray, palette: list[int] | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = Image.fromarray(np.asarray(labels, np.uint8))
        if palette is not None:
            mask.putpalette(palette)  # makes a palette image with the same indices
        mask.save(path)

    return save
