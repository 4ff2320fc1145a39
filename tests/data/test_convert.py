import numpy as np
import pytest
import tensorflow as tf

from rnnseg.data.classes import table_from_rows
from rnnseg.data.convert import encode_labels, image_name, is_identity, lookup_table
from rnnseg.errors import UserError

CLASSES = table_from_rows(
    [
        {"name": "a", "index": 5},
        {"name": "b", "index": 7000},
        {"name": "ignore", "index": 0},
        {"name": "a", "index": 6},
    ],
    "here",
)


def test_every_value_has_its_label_and_unknown_values_have_none():
    table = lookup_table(CLASSES, "here")
    values = np.array([[5, 6, 7000], [0, 255, 1], [2, 253, 40000]])
    expected = np.array([[0, 0, 1], [255, 255, 254], [2, 253, 254]])
    np.testing.assert_array_equal(table[values], expected)
    assert table.dtype == np.uint8


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_labels_of_masks_of_all_types(dtype):
    table = lookup_table(CLASSES, "here")
    values = np.array([[5, 6, 0], [1, 2, 255]]).astype(dtype)
    png = encode_labels(tf.constant(values[..., np.newaxis]), table)
    labels = tf.io.decode_png(png).numpy()
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels[..., 0], table[values])


def test_values_outside_of_16_bits_have_no_class():
    png = encode_labels(tf.constant([[[-1], [5], [65536]]]), lookup_table(CLASSES, "here"))
    np.testing.assert_array_equal(tf.io.decode_png(png)[0, :, 0], [254, 0, 254])


def test_identity():
    assert is_identity(table_from_rows([{"name": "a"}, {"name": "b"}], "here"))
    with_void = [{"name": "a"}, {"name": "b"}, {"name": "ignore", "index": 255}]
    assert is_identity(table_from_rows(with_void, "here"))
    assert not is_identity(CLASSES)
    with_other_void = [{"name": "a"}, {"name": "b"}, {"name": "ignore"}]
    assert not is_identity(table_from_rows(with_other_void, "here"))


def test_no_label_is_left_for_unknown_values():
    rows = [{"name": str(number), "index": number + 1} for number in range(255)]
    with pytest.raises(UserError, match="255 classes, expected at most 254"):
        lookup_table(table_from_rows(rows, "here"), "here")


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("a.jpg", "a"),
        ("x/a.b.JPEG", "x/a.b"),
        ("a.b", "a.b"),
        ("a.png.png", "a.png"),
        ("", "t_00012"),
    ],
)
def test_names_of_images(file_name, name):
    found = image_name(tf.constant(file_name), "t", tf.constant(12, tf.int64))
    assert found.numpy().decode() == name
