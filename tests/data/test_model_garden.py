import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from rnnseg.data import open_source
from rnnseg.data.classes import table_from_rows
from rnnseg.data.model_garden import count_records, open_model_garden
from rnnseg.data.pipeline import decode
from rnnseg.data.selection import Selection
from rnnseg.errors import UserError
from rnnseg.palette import default_colors
from tests.support.sources import encode, halves

IMAGE, LABEL = "image/encoded", "image/segmentation/class/encoded"
IMAGES = halves(7)


def record(image, label, **more):
    texts = {IMAGE: encode(image), LABEL: encode(label), **more}
    features = {
        key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for key, value in texts.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for each in records:
            writer.write(each)


@pytest.fixture
def folder(tmp_path):
    """Two files with five images of train, one with two images of val without names; 3 classes."""
    records = [
        record(*image, **{"image/filename": f"street.{index}.jpg".encode()})
        for index, image in enumerate(IMAGES[:5])
    ]
    write(tmp_path / "train-00000-of-00002.tfrecord", records[:3])
    write(tmp_path / "train-00001-of-00002.tfrecord", records[3:])
    write(tmp_path / "val-00000-of-00001.tfrecord", [record(*each) for each in IMAGES[5:]])
    (tmp_path / "._val-00000-of-00001.tfrecord").write_bytes(b"a remain of a file manager")
    (tmp_path / "classes.txt").write_text("left\nright\ntop\n")
    return tmp_path


def read(source, split):
    return list(source.read(split).as_numpy_iterator())


def test_records_as_they_are(folder):
    source = open_source(str(folder))
    assert source.name == folder.name
    assert source.class_names == ("left", "right", "top")
    assert source.class_colors == default_colors(3)
    assert source.split_sizes == {"train": 5, "val": 2}
    train, val = read(source, "train"), read(source, "val")
    assert [each["name"] for each in train] == [b"street.%d" % index for index in range(5)]
    assert [each["name"] for each in val] == [b"val_00000", b"val_00001"]
    for element, (image, label) in zip(train + val, IMAGES, strict=True):
        assert element["image"] == encode(image) and element["label"] == encode(label)


def test_colours_and_values_of_the_classes(folder):
    (folder / "classes.txt").unlink()
    (folder / "classes.csv").write_text(
        "name,index,r,g,b\nside,0,1,2,3\nignore,2,0,0,0\nside,1,1,2,3\nsky,9,7,8,9\n"
    )
    source = open_source(str(folder))
    assert source.class_names == ("side", "sky")
    assert source.class_colors == ((1, 2, 3), (7, 8, 9))
    expected = np.array([0, 0, 255])
    for element, (image, label) in zip(read(source, "train"), IMAGES[:5], strict=True):
        decoded_image, decoded_label = decode(element)
        np.testing.assert_array_equal(decoded_image, image)
        known = label != 255
        np.testing.assert_array_equal(decoded_label.numpy()[known], expected[label[known]])
        assert (decoded_label.numpy()[~known] == 255).all()


def test_keys_of_a_selection(folder):
    """The masks can be read as images, but the images cannot be read as masks."""
    classes = table_from_rows([{"name": "a"}, {"name": "b"}], "here")
    source = open_model_garden(folder, Selection(image=LABEL, classes=classes))
    assert source.class_names == ("a", "b")
    assert [each["image"] for each in read(source, "val")] == [encode(m) for _, m in IMAGES[5:]]
    with pytest.raises(UserError, match="8-bit grey PNG"):
        open_model_garden(folder, Selection(label=IMAGE))


def test_parts_of_splits(folder):
    selection = Selection(splits={"a": "train[3:]+val", "b": "train[:60%]"})
    source = open_model_garden(folder, selection)
    assert source.split_sizes == {"a": 4, "b": 3}
    assert [each["image"] for each in read(source, "a")] == [encode(i) for i, _ in IMAGES[3:]]
    assert [each["image"] for each in read(source, "b")] == [encode(i) for i, _ in IMAGES[:3]]


@pytest.mark.parametrize("spec", ["test", "train[a:]", "train[:99]"])
def test_a_split_that_does_not_exist(folder, spec):
    with pytest.raises(UserError, match=r"no split .*expected parts of train, val"):
        open_model_garden(folder, Selection(splits={"train": spec}))


def test_a_missing_list_of_classes_and_a_second_one(folder):
    (folder / "classes.csv").write_text("name\nleft\nright\n")
    with pytest.raises(UserError, match=r"classes\.csv and .*classes\.txt: expected one"):
        open_source(str(folder))
    for name in ("classes.csv", "classes.txt"):
        (folder / name).unlink()
    with pytest.raises(UserError, match=r"write .*classes\.txt, with one class per line"):
        open_source(str(folder))


def test_a_missing_file_is_named(folder):
    (folder / "train-00000-of-00002.tfrecord").unlink()
    with pytest.raises(UserError, match=r"1 of 2 .*missing: train-00000-of-00002\.tfrecord$"):
        open_source(str(folder))


def test_files_of_two_sets_are_refused(folder):
    write(folder / "train-00000-of-00001.tfrecord", [])
    with pytest.raises(UserError, match=r"'train' has files \*-of-00001 and \*-of-00002"):
        open_source(str(folder))


@pytest.mark.parametrize("kept", [5, 12, 200, -1])
def test_a_truncated_file_is_named(folder, kept):
    path = folder / "train-00001-of-00002.tfrecord"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match="damaged, record") as error:
        open_source(str(folder))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_an_emptied_file_is_named_where_it_must_have_held_records(folder):
    """Few records may leave a file empty."""
    first = folder / "train-00000-of-00002.tfrecord"
    first.write_bytes(b"")
    assert open_source(str(folder)).split_sizes["train"] == 2
    write(folder / "train-00001-of-00002.tfrecord", 40 * [record(*IMAGES[0])])
    with pytest.raises(UserError, match=f"{first}: empty, though files after it hold records"):
        open_source(str(folder))
    write(first, 40 * [record(*IMAGES[0])])
    (folder / "train-00001-of-00002.tfrecord").write_bytes(b"")
    assert open_source(str(folder)).split_sizes["train"] == 40


@pytest.mark.parametrize("position", [3, 9, 40])  # the length, its checksum, the record
def test_a_changed_byte_at_the_start_is_found(folder, position):
    path = folder / "val-00000-of-00001.tfrecord"
    data = bytearray(path.read_bytes())
    data[position] ^= 64
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged") as error:
        open_source(str(folder))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_count_records(tmp_path):
    write(tmp_path / "empty", [])
    assert count_records(tmp_path / "empty") == 0
    write(tmp_path / "some", [b"", b"x" * 100_000, b"y"])
    assert count_records(tmp_path / "some") == 3


def test_an_empty_split_can_be_opened(folder):
    write(folder / "test-00000-of-00001.tfrecord", [])
    source = open_source(str(folder))
    assert source.split_sizes["test"] == 0
    with pytest.raises(UserError, match="empty"):
        source.require_split("test")


def test_records_without_a_labelled_image(folder):
    values = {"image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[3]))}
    example = tf.train.Example(features=tf.train.Features(feature=values)).SerializeToString()
    write(folder / "val-00000-of-00001.tfrecord", [example])
    with pytest.raises(UserError, match=f"no {IMAGE} in its first .* holds image/class/label"):
        open_source(str(folder))
    write(folder / "val-00000-of-00001.tfrecord", [b"no example"])
    with pytest.raises(UserError, match="damaged"):
        open_source(str(folder))


def test_a_mask_with_a_palette(folder):
    mask = Image.fromarray(IMAGES[0][1]).convert("P")
    file = io.BytesIO()
    mask.save(file, "PNG")
    example = record(*IMAGES[0], **{LABEL: file.getvalue()})
    write(folder / "val-00000-of-00001.tfrecord", [example])
    with pytest.raises(UserError, match="grey PNG; expected .* without a palette"):
        open_source(str(folder))


def test_hidden_colours_of_foreign_images_are_not_seen(folder):
    pixels = np.full((4, 5, 3), (200, 0, 0), np.uint8)
    pixels[0] = (9, 9, 9)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", transparency=(9, 9, 9))
    element = record(pixels, np.zeros((4, 5), np.uint8), **{IMAGE: buffer.getvalue()})
    write(folder / "val-00000-of-00001.tfrecord", [element])
    image, _ = decode(next(iter(open_model_garden(folder, Selection()).read("val"))))
    assert (image[0] == 255).numpy().all() and (image[1:] == (200, 0, 0)).numpy().all()
