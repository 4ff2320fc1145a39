import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rnnseg import UserError
from rnnseg.data.scan import scan_split
from tests.support.sources import halves, make_source


def test_counts_match_the_labels():
    examples = halves(3) + halves(2, 33, 57, seed=5)
    scan = scan_split(make_source({"train": examples}), "train")
    labels = [label for _, label in examples]
    counts = np.bincount(np.concatenate([label.ravel() for label in labels]), minlength=256)
    np.testing.assert_array_equal(scan.label_pixels, counts)
    assert scan.label_images[2] == 5 and scan.label_images[3] == 0
    assert scan.sizes == {(40, 48): 3, (33, 57): 2} and scan.images == 5
    assert scan.ignored_share == pytest.approx(counts[255] / counts.sum())
    assert not scan.faults
    scan.raise_if_bad(make_source({}))


def test_faults_name_image_value_and_expectation():
    good, other, outside, small = halves(4)
    other = (other[0][:-1], other[1])
    outside[1][3, 4] = 7
    small = (small[0][:5], small[1][:5])
    source = make_source({"val": [good, other, outside, small]})
    read = source.read

    def read_with_one_broken(split):
        def change(example):
            image = tf.where(example["name"] == "val_0", "no image", example["image"])
            return example | {"image": image}

        return read(split).map(change)

    source = dataclasses.replace(source, read=read_with_one_broken)
    scan = scan_split(source, "val", smallest_side=16)
    assert len(scan.faults) == 4
    with pytest.raises(UserError) as caught:
        scan.raise_if_bad(source)
    parts = (
        "val_0 cannot be decoded (",
        "val_1: image of 39x48 and label of 40x48 pixels; expected the same size",
        "val_2: label 7; expected 0-2 or 255 (ignore)",
        "val_3: image of 5x48 pixels; expected at least 16",
    )
    for part, fault in zip(parts, scan.faults, strict=True):
        assert fault.startswith(part)
    message = str(caught.value)
    assert "split 'val': val_0 cannot be decoded" in message and len(message) <= 300
    assert message.endswith("; and 3 more; copy or build its files again")


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "records"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for _ in range(3):
            writer.write(b"x" * 100)
    data = bytearray(path.read_bytes())
    data[-50] ^= 1  # in the last record
    path.write_bytes(data)
    source = make_source({"val": halves(3)})
    read = source.read

    def read_from_file(split):
        records = tf.data.TFRecordDataset(str(path))
        return tf.data.Dataset.zip(records, read(split)).map(lambda record, example: example)

    scan = scan_split(dataclasses.replace(source, read=read_from_file), "val")
    assert scan.images == 2 and scan.is_damaged
    with pytest.raises(UserError, match="split 'val': the record after 2 images .*; copy or build"):
        scan.raise_if_bad(source)
