"""Records that are damaged after the data set was opened, in both kinds of records."""

import itertools
import re

import numpy as np
import pytest
import tensorflow as tf

from rnnseg.data import open_source
from rnnseg.data.model_garden import IMAGE_KEY, LABEL_KEY, NAME_KEY, open_model_garden
from rnnseg.data.pipeline import evaluation_images
from rnnseg.data.reading import DamagedDataError, named_damage, read_images
from rnnseg.data.scan import scan_split
from rnnseg.data.selection import Selection
from rnnseg.data.tfds_source import source_from_builder
from rnnseg.errors import MOST_CHARACTERS
from tests.support.sources import encode, halves, make_source

tfds = pytest.importorskip("tensorflow_datasets")

IMAGES = halves(6)
NAMES = [f"street_{index}" for index in range(len(IMAGES))]


def _bytes(value):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _records(path):
    return [each.numpy() for each in tf.data.TFRecordDataset(str(path))]


def _write(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for each in records:
            writer.write(each)


@pytest.fixture(scope="module")
def model_garden(tmp_path_factory):
    """Two files of three records, with the keys of image and label."""
    folder = tmp_path_factory.mktemp("garden")
    records = []
    for name, (image, label) in zip(NAMES, IMAGES, strict=True):
        values = {IMAGE_KEY: encode(image), LABEL_KEY: encode(label), NAME_KEY: name.encode()}
        features = tf.train.Features(feature={key: _bytes(each) for key, each in values.items()})
        records.append(tf.train.Example(features=features).SerializeToString())
    for number in range(2):
        path = folder / f"val-{number:05d}-of-00002.tfrecord"
        _write(path, records[3 * number : 3 * number + 3])
    (folder / "classes.txt").write_text("left\nright\ntop\n")
    source = open_source(str(folder))
    return source, sorted(folder.glob("*.tfrecord")), (IMAGE_KEY, LABEL_KEY)


@pytest.fixture(scope="module")
def tfds_records(tmp_path_factory):
    """The same by TFDS."""

    class Streets(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        name = "streets_for_a_test"

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "label": tfds.features.LabeledImage(
                    labels=["left", "right", "top"], encoding_format="png"
                ),
                "name": tfds.features.Text(),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"val": self._generate_examples()}

        def _generate_examples(self):
            for name, (image, label) in zip(NAMES, IMAGES, strict=True):
                yield name, {"image": encode(image), "label": encode(label), "name": name}

    folder = tmp_path_factory.mktemp("tfds")
    builder = Streets(data_dir=folder)
    tfds.core.registered._DATASET_REGISTRY.pop(Streets.name)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=2))
    source = source_from_builder(builder, "streets", "streets", Selection())
    return source, sorted(folder.rglob("*.tfrecord-*")), ("image", "label")


@pytest.fixture(params=["model_garden", "tfds_records"])
def records(request):
    """A source, its files and the keys of image and label; the files are mended afterwards."""
    source, files, keys = request.getfixturevalue(request.param)
    contents = [file.read_bytes() for file in files]
    yield source, files, keys
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)


def _change(file, number, key, value):
    """Changes a feature of a record; None takes it away."""
    records = _records(file)
    example = tf.train.Example.FromString(records[number])
    del example.features.feature[key]
    if value is not None:
        example.features.feature[key].CopyFrom(_bytes(value))
    records[number] = example.SerializeToString()
    _write(file, records)


def _truncate(file, keys):
    file.write_bytes(file.read_bytes()[:-20])
    return len(_records_before_damage(file))


def _flip(file, keys):
    data = bytearray(file.read_bytes())
    data[-30] ^= 16
    file.write_bytes(data)
    return len(_records_before_damage(file))


def _records_before_damage(file):
    found = []
    try:
        for each in tf.data.TFRecordDataset(str(file)):
            found.append(each)
    except tf.errors.DataLossError:
        pass
    return found


def _no_example(file, keys):
    records = _records(file)
    records[1] = b"no example"
    _write(file, records)
    return 1


def _no_text(file, keys):
    """TensorFlow puts the bytes into its message, which then is no text."""
    records = _records(file)
    records[1] = bytes(range(128, 256)) * 4
    _write(file, records)
    return 1


def _no_feature(file, keys):
    _change(file, 1, keys[0], None)
    return 1


def _broken_image(file, keys):
    _change(file, 0, keys[0], encode(IMAGES[0][0])[:200])
    return 0


def _broken_label(file, keys):
    _change(file, 1, keys[1], b"no label")
    return 1


@pytest.mark.parametrize(
    ("damage", "has_name", "reason"),
    [
        (_truncate, False, "truncated record"),
        (_flip, False, "corrupted record"),
        (_no_example, False, "Could not parse example"),
        (_no_text, False, "Could not parse example"),
        (_no_feature, False, "Feature: .*image"),
        (_broken_image, True, ""),
        (_broken_label, True, "Unknown image file format"),
    ],
)
def test_file_record_and_name_are_told(records, damage, has_name, reason):
    source, files, keys = records
    number = damage(files[1], keys)
    with pytest.raises(DamagedDataError) as caught:
        list(read_images(source, "val"))
    message = str(caught.value)
    assert f"split 'val': {files[1].name}, record {number}" in message
    assert bool(re.search(r"street_\d cannot be decoded", message)) == has_name
    assert re.search(rf"\({reason}[^;]*\); copy or build its files again$", message)
    assert "\n" not in message and len(message) <= MOST_CHARACTERS


def test_all_damaged_files_are_told(records):
    source, files, keys = records
    _no_example(files[0], keys)
    _truncate(files[1], keys)
    scan = scan_split(source, "val")
    assert [fault.partition(",")[0] for fault in scan.faults] == [file.name for file in files]


def test_an_emptied_file_is_told(tfds_records):
    """TFDS knows how many records there were; other records are counted when they are opened."""
    source, files, _ = tfds_records
    content = files[0].read_bytes()
    files[0].write_bytes(b"")
    with pytest.raises(DamagedDataError, match=f"{files[0].name} holds 0 records, expected"):
        list(read_images(source, "val"))
    files[0].write_bytes(content)


def test_sound_records_are_read_as_they_are(records):
    source, _, _ = records
    found = list(read_images(source, "val"))
    expected = list(evaluation_images(source, "val").as_numpy_iterator())
    assert len(found) == len(IMAGES)
    for values, same in zip(found, expected, strict=True):
        for value, other in zip(values, same, strict=True):
            np.testing.assert_array_equal(value, other)


def test_shards_hold_the_records_in_their_order(records):
    source, files, _ = records
    shards = source.shards("val")
    assert [each.path for each in shards] == [str(file) for file in files]
    assert sum(each.count for each in shards) == len(IMAGES)
    elements = itertools.chain(*(each.read().as_numpy_iterator() for each in shards))
    everything = {each["name"]: each for each in source.read("val").as_numpy_iterator()}
    assert {each["name"]: each for each in elements} == everything


def test_a_part_of_a_split_counts_from_the_beginning_of_its_files(model_garden):
    _, files, keys = model_garden
    part = open_model_garden(files[0].parent, Selection(splits={"end": "val[2:5]"}))
    assert [(each.first, each.count) for each in part.shards("end")] == [(2, 1), (0, 2)]
    content = files[1].read_bytes()
    _broken_label(files[1], keys)
    with pytest.raises(DamagedDataError, match=f"{files[1].name}, record 1, street_4 cannot"):
        list(read_images(part, "end"))
    files[1].write_bytes(content)


def test_an_error_of_another_cause_stays_as_it_is():
    source = make_source({"val": halves(2)})
    with pytest.raises(tf.errors.ResourceExhaustedError, match="no memory"):
        with named_damage(source, "val"):
            raise tf.errors.ResourceExhaustedError(None, None, "no memory")
