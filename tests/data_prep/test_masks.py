import io
import pathlib
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from data_prep.masks import MaskReader
from rnnseg.data.classes import ClassTable
from rnnseg.data.images import encode_png
from rnnseg.errors import UserError

COLORS = [(0, 0, 0), (200, 10, 30), (10, 200, 30), (255, 255, 255)]
LABELS = np.array([[0, 1, 2, 3], [3, 2, 1, 0], [1, 1, 255, 2]], np.uint8)
BORDER = (224, 224, 192)


def _table(num_classes=4, ignore=(), colors=None, ignore_colors=()):
    """Makes a table in which every value is a class index."""
    values = {index: index for index in range(num_classes)}
    color_values = None
    if colors is not None:
        color_values = {color: index for index, color in enumerate(colors)}
        color_values |= dict.fromkeys(ignore_colors, 255)
    names = tuple(f"class {index}" for index in range(num_classes))
    return ClassTable(names, colors, values | dict.fromkeys(ignore, 255), color_values)


def _colored(labels=LABELS):
    table = np.zeros((256, 3), np.uint8)
    table[:4] = COLORS
    table[255] = BORDER
    return table[labels]


def _grey_png(path, rows, width, bits):
    """Writes a grey PNG of any bit depth; Pillow only writes 1, 8 and 16 bits."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, len(rows), bits, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def test_grey_palette_and_sixteen_bit_masks_agree(tmp_path, save_mask):
    save_mask(tmp_path / "grey.png", LABELS)
    palette = [value for index in range(256) for value in (255 - index, index, 7)]
    save_mask(tmp_path / "palette.png", LABELS, palette)
    Image.fromarray(LABELS.astype(np.uint16)).save(tmp_path / "sixteen.png")
    decoded = np.asarray(Image.open(tmp_path / "palette.png").convert("L"))
    assert not np.array_equal(decoded, LABELS)  # else the palette would not test anything
    reader = MaskReader(_table(4, [255]))
    for name in ("grey", "palette", "sixteen"):
        labels = reader.read(tmp_path / f"{name}.png")
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, LABELS, err_msg=name)


def test_sixteen_bit_values_keep_their_high_byte(tmp_path):
    Image.fromarray(np.array([[0, 256, 65535]], np.uint16)).save(tmp_path / "m.png")
    with pytest.raises(UserError, match="value 256, 65535 .first at column 1, row 0"):
        MaskReader(_table(4)).read(tmp_path / "m.png")
    labels = MaskReader(_table(4, [256, 65535])).read(tmp_path / "m.png")
    np.testing.assert_array_equal(labels, [[0, 255, 255]])


@pytest.mark.parametrize(
    ("bits", "row", "expected"),
    [
        (1, bytes([0b01100000]), [0, 1, 1, 0]),
        (2, bytes([0b00011011]), [0, 1, 2, 3]),
        (4, bytes([0x01, 0x23]), [0, 1, 2, 3]),
    ],
)
def test_grey_masks_of_few_bits_are_not_stretched(tmp_path, bits, row, expected):
    _grey_png(tmp_path / "m.png", [row], 4, bits)
    np.testing.assert_array_equal(MaskReader(_table(4)).read(tmp_path / "m.png"), [expected])


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_color_masks(tmp_path, mode):
    Image.fromarray(_colored()).convert(mode).save(tmp_path / "m.png")
    reader = MaskReader(_table(4, (), COLORS, [BORDER]))
    np.testing.assert_array_equal(reader.read(tmp_path / "m.png"), LABELS)


def test_the_encoding_color_applies_to_grey_and_palette_masks(tmp_path, save_mask):
    binary = np.array([[0, 255], [255, 0]], np.uint8)
    reader = MaskReader(_table(2, colors=[(0, 0, 0), (255, 255, 255)]), "color")
    save_mask(tmp_path / "grey.png", binary)
    np.testing.assert_array_equal(reader.read(tmp_path / "grey.png"), binary // 255)
    # Index 0 is white here, so by colour it is class 1.
    save_mask(tmp_path / "palette.png", binary // 255, [255, 255, 255, 0, 0, 0])
    np.testing.assert_array_equal(reader.read(tmp_path / "palette.png"), 1 - binary // 255)


def test_a_class_can_be_ignored(tmp_path, save_mask):
    save_mask(tmp_path / "m.png", [[0, 1, 2]])
    labels = MaskReader(_table(3, [0])).read(tmp_path / "m.png")
    np.testing.assert_array_equal(labels, [[255, 1, 2]])


def test_values_and_colors_of_a_table(tmp_path, save_mask):
    table = ClassTable(
        names=("a", "b"),
        colors=None,
        values={7: 1, 300: 0, 0: 255, 8: 1},
        color_values={(1, 2, 3): 1, (3, 2, 1): 0, (0, 0, 0): 255, (4, 4, 4): 1},
    )
    Image.fromarray(np.array([[7, 300], [0, 8]], np.uint16)).save(tmp_path / "index.png")
    colors = np.array([[[1, 2, 3], [3, 2, 1]], [[0, 0, 0], [4, 4, 4]]], np.uint8)
    Image.fromarray(colors).save(tmp_path / "color.png")
    for name in ("index", "color"):
        labels = MaskReader(table).read(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(labels, [[1, 0], [255, 1]], err_msg=name)
    save_mask(tmp_path / "m.png", [[1]])
    with pytest.raises(UserError, match="with 2 classes, expected 0, 7 to 8, 300$"):
        MaskReader(table).read(tmp_path / "m.png")


def _records_label(path, table, **options):
    """Returns the result of `read_label` after checking that it agrees with `read`."""
    reader = MaskReader(table, **options)
    data, size = reader.read_label(path)
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.mode, image.size, data[24]) == ("PNG", "L", size, 8)
    np.testing.assert_array_equal(np.asarray(image), reader.read(path))
    return data, size


def test_masks_that_already_are_labels_are_unchanged(tmp_path):
    path = tmp_path / "m.png"
    # Another compression than that of new labels, so that encoding them again would be noticed.
    Image.fromarray(LABELS).save(path, compress_level=0)
    assert path.read_bytes() != encode_png(LABELS)
    data, size = _records_label(path, _table(4, [255]))
    assert data == path.read_bytes() and size == (4, 3)
    # For the values of this mask, in which 0 does not occur, this table is the same.
    Image.fromarray(LABELS[:, 1:3]).save(path, compress_level=0)
    assert _records_label(path, _table(4, [0, 255]))[0] == path.read_bytes()


@pytest.mark.parametrize(
    "kind", ["value", "palette", "sixteen", "bits", "empty", "colour", "transparent"]
)
def test_other_masks_are_encoded_again(tmp_path, save_mask, kind):
    path, table, options = tmp_path / "m.png", _table(4, [255]), {}
    save_mask(path, LABELS, [0] * 768 if kind == "palette" else None)
    expected = LABELS
    if kind == "value":
        table = _table(4, [255, 2])
        expected = np.where(LABELS == 2, 255, LABELS)
    elif kind == "sixteen":
        Image.fromarray(LABELS.astype(np.uint16)).save(path)
    elif kind == "bits":
        _grey_png(path, [bytes([0x01, 0x23])], 4, 4)
        expected = [[0, 1, 2, 3]]
    elif kind == "empty":  # has 4 bits, too, but equal values
        _grey_png(path, [bytes([0, 0])], 4, 4)
        expected = [[0, 0, 0, 0]]
    elif kind == "colour":  # the colours of the two classes are swapped
        Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8)).save(path)
        table, options = _table(2, colors=[(1, 1, 1), (0, 0, 0)]), {"encoding": "color"}
        expected = [[1, 0], [0, 1]]
    elif kind == "transparent":
        Image.fromarray(LABELS).save(path, transparency=1)
    data, _ = _records_label(path, table, **options)
    assert data != path.read_bytes()
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), expected)


def test_any_object_with_read_bytes_can_be_read(tmp_path, save_mask):
    class Member:
        def __init__(self, path: pathlib.Path):
            self.read_bytes = path.read_bytes

        def __str__(self):
            return "archive.zip/m.png"

    save_mask(tmp_path / "m.png", LABELS)
    reader = MaskReader(_table(4, [255]))
    np.testing.assert_array_equal(reader.read(Member(tmp_path / "m.png")), LABELS)
    with pytest.raises(UserError, match="^archive.zip/m.png: value 255"):
        MaskReader(_table(4)).read_label(Member(tmp_path / "m.png"))


def test_pickled_readers_are_small_and_read_the_same(tmp_path):
    Image.fromarray(_colored()).save(tmp_path / "m.png")
    reader = MaskReader(_table(4, (), COLORS, [BORDER]), "color", "; index", "; color {value}")
    before = reader.read(tmp_path / "m.png")  # makes the lookup tables
    pickled = pickle.dumps(reader)
    assert len(pickled) < 2000
    again = pickle.loads(pickled)
    np.testing.assert_array_equal(again.read(tmp_path / "m.png"), before)
    Image.new("RGB", (1, 1), (9, 8, 7)).save(tmp_path / "m.png")
    with pytest.raises(UserError, match="; color 9,8,7$"):
        again.read(tmp_path / "m.png")


def test_an_unknown_value_is_named_with_its_position(tmp_path, save_mask):
    save_mask(tmp_path / "m.png", LABELS)
    with pytest.raises(UserError) as error:
        MaskReader(_table(3), index_way_out="; try --ignore {value}").read(tmp_path / "m.png")
    assert str(error.value) == (
        f"{tmp_path / 'm.png'}: value 3, 255 (first at column 3, row 0) with 3 classes, expected "
        "0 to 2; try --ignore 3"
    )


def test_an_unknown_color_is_named_with_its_position(tmp_path):
    Image.fromarray(_colored()).save(tmp_path / "m.png")
    with pytest.raises(UserError) as error:
        MaskReader(_table(4, colors=COLORS), color_way_out="; try {value}").read(tmp_path / "m.png")
    assert str(error.value) == (
        f"{tmp_path / 'm.png'}: colour 224 224 192 (first at column 2, row 2) is none of the "
        "4 classes' colours; try 224,224,192"
    )


def test_masks_of_the_wrong_encoding(tmp_path):
    Image.fromarray(_colored()).save(tmp_path / "rgb.png")
    with pytest.raises(UserError, match="classes have no colours"):
        MaskReader(_table(4)).read(tmp_path / "rgb.png")
    with pytest.raises(UserError, match="mode RGB, expected class indices"):
        MaskReader(_table(4, colors=COLORS), encoding="index").read(tmp_path / "rgb.png")
    Image.fromarray(LABELS).save(tmp_path / "lossy.jpg")
    with pytest.raises(UserError, match="JPEG mask, expected PNG"):
        MaskReader(_table(4)).read(tmp_path / "lossy.jpg")
    see_through = Image.fromarray(_colored()).convert("RGBA")
    see_through.putalpha(128)
    see_through.save(tmp_path / "alpha.png")
    with pytest.raises(UserError, match="without transparency"):
        MaskReader(_table(4, (), COLORS, [BORDER])).read(tmp_path / "alpha.png")
    # The same for a transparent colour, in any mode, and only if it occurs.
    reader = MaskReader(_table(4, (), COLORS, [BORDER]), "color")
    for mode, transparency in (("RGB", COLORS[1]), ("P", 0), ("L", 0)):
        Image.fromarray(_colored()).convert(mode).save(
            tmp_path / "key.png", transparency=transparency
        )
        with pytest.raises(UserError, match="with transparent pixels, expected colours"):
            reader.read(tmp_path / "key.png")
    Image.fromarray(_colored()).save(tmp_path / "key.png", transparency=(1, 2, 3))
    np.testing.assert_array_equal(reader.read(tmp_path / "key.png"), LABELS)
    Image.fromarray(LABELS.astype(np.uint16)).save(tmp_path / "sixteen.png")
    with pytest.raises(UserError, match="of 16 bits, expected colours of 8 bits"):
        MaskReader(_table(4, colors=COLORS), encoding="color").read(tmp_path / "sixteen.png")


def test_encoded_labels_are_grey_pngs():
    image = Image.open(io.BytesIO(encode_png(LABELS)))
    assert (image.format, image.mode) == ("PNG", "L")
    np.testing.assert_array_equal(np.asarray(image), LABELS)
