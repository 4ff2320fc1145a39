import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from data_prep.masks import MaskReader, encode_label
from rnnseg.errors import UserError

COLORS = [(0, 0, 0), (200, 10, 30), (10, 200, 30), (255, 255, 255)]
LABELS = np.array([[0, 1, 2, 3], [3, 2, 1, 0], [1, 1, 255, 2]], np.uint8)
BORDER = (224, 224, 192)


def _colored(labels=LABELS):
    table = np.zeros((256, 3), np.uint8)
    table[:4] = COLORS
    table[255] = BORDER
    return table[labels]


def _grey_png(path, rows, width, bits):
    """A grey PNG of any bit depth, written by hand: Pillow writes 1, 8 and 16 bits only."""

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
    assert not np.array_equal(decoded, LABELS)  # else the palette would prove nothing
    reader = MaskReader(4, ignore_indices=[255])
    for name in ("grey", "palette", "sixteen"):
        labels = reader.read(tmp_path / f"{name}.png")
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, LABELS, err_msg=name)


def test_sixteen_bit_values_keep_their_high_byte(tmp_path):
    Image.fromarray(np.array([[0, 256, 65535]], np.uint16)).save(tmp_path / "m.png")
    with pytest.raises(UserError, match="value 256, 65535 .first at column 1, row 0"):
        MaskReader(4).read(tmp_path / "m.png")
    labels = MaskReader(4, ignore_indices=[256, 65535]).read(tmp_path / "m.png")
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
    np.testing.assert_array_equal(MaskReader(4).read(tmp_path / "m.png"), [expected])


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_color_masks(tmp_path, mode):
    Image.fromarray(_colored()).convert(mode).save(tmp_path / "m.png")
    reader = MaskReader(4, colors=COLORS, ignore_colors=[BORDER])
    np.testing.assert_array_equal(reader.read(tmp_path / "m.png"), LABELS)


def test_the_encoding_color_looks_through_grey_and_palettes(tmp_path, save_mask):
    binary = np.array([[0, 255], [255, 0]], np.uint8)
    reader = MaskReader(2, colors=[(0, 0, 0), (255, 255, 255)], encoding="color")
    save_mask(tmp_path / "grey.png", binary)
    np.testing.assert_array_equal(reader.read(tmp_path / "grey.png"), binary // 255)
    # Index 0 is white here, so by colour it is class 1.
    save_mask(tmp_path / "palette.png", binary // 255, [255, 255, 255, 0, 0, 0])
    np.testing.assert_array_equal(reader.read(tmp_path / "palette.png"), 1 - binary // 255)


def test_a_class_can_be_ignored(tmp_path, save_mask):
    save_mask(tmp_path / "m.png", [[0, 1, 2]])
    labels = MaskReader(3, ignore_indices=[0]).read(tmp_path / "m.png")
    np.testing.assert_array_equal(labels, [[255, 1, 2]])


def test_an_unknown_value_is_named_with_its_place(tmp_path, save_mask):
    save_mask(tmp_path / "m.png", LABELS)
    with pytest.raises(UserError) as error:
        MaskReader(3, index_way_out="; try --ignore {value}").read(tmp_path / "m.png")
    assert str(error.value) == (
        f"{tmp_path / 'm.png'}: value 3, 255 (first at column 3, row 0) with 3 classes, expected "
        "0 to 2; try --ignore 3"
    )


def test_an_unknown_color_is_named_with_its_place(tmp_path):
    Image.fromarray(_colored()).save(tmp_path / "m.png")
    with pytest.raises(UserError) as error:
        MaskReader(4, colors=COLORS, color_way_out="; try {value}").read(tmp_path / "m.png")
    assert str(error.value) == (
        f"{tmp_path / 'm.png'}: colour 224 224 192 (first at column 2, row 2) is none of the "
        "4 classes' colours; try 224,224,192"
    )


def test_masks_of_the_wrong_kind(tmp_path):
    Image.fromarray(_colored()).save(tmp_path / "rgb.png")
    with pytest.raises(UserError, match="classes have no colours"):
        MaskReader(4).read(tmp_path / "rgb.png")
    with pytest.raises(UserError, match="mode RGB, expected class indices"):
        MaskReader(4, colors=COLORS, encoding="index").read(tmp_path / "rgb.png")
    Image.fromarray(LABELS).save(tmp_path / "lossy.jpg")
    with pytest.raises(UserError, match="JPEG mask, expected PNG"):
        MaskReader(4).read(tmp_path / "lossy.jpg")
    see_through = Image.fromarray(_colored()).convert("RGBA")
    see_through.putalpha(128)
    see_through.save(tmp_path / "alpha.png")
    with pytest.raises(UserError, match="without transparency"):
        MaskReader(4, colors=COLORS, ignore_colors=[BORDER]).read(tmp_path / "alpha.png")
    Image.fromarray(LABELS.astype(np.uint16)).save(tmp_path / "sixteen.png")
    with pytest.raises(UserError, match="of 16 bits, expected colours of 8 bits"):
        MaskReader(4, colors=COLORS, encoding="color").read(tmp_path / "sixteen.png")


def test_encoded_labels_are_grey_pngs():
    picture = Image.open(io.BytesIO(encode_label(LABELS)))
    assert (picture.format, picture.mode) == ("PNG", "L")
    np.testing.assert_array_equal(np.asarray(picture), LABELS)
