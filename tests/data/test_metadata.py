import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from rnnseg.data.images import decode_image, read_image
from rnnseg.data.metadata import is_plain, split_metadata

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
FORMATS = {"JPEG": {}, "PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}}


def _exif(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x011A] = 72.0
    exif[0x010F] = "a maker"
    exif.get_ifd(0x8769)[0x9204] = -0.5
    return exif.tobytes()


def _encode(kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, kind, **FORMATS[kind], **options)
    return buffer.getvalue()


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _with_chunk(png, kind, data):
    """Puts a chunk behind the header of a PNG."""
    return png[:33] + _chunk(kind, data) + png[33:]


def _turned(tmp_path, data):
    """Returns the orientation with which a file of `PIXELS` is read."""
    (tmp_path / "image").write_bytes(data)
    stored = decode_image(data)
    image = read_image(tmp_path / "image")
    for orientation in range(1, 9):
        expected = Image.fromarray(stored)
        expected.getexif()[0x0112] = orientation
        expected = np.asarray(ImageOps.exif_transpose(expected))
        if expected.shape == image.shape and (expected == image).all():
            return orientation
    raise AssertionError("no orientation fits")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("orientation", range(11))
def test_orientations_of_healthy_files(tmp_path, kind, orientation):
    data = _encode(kind, exif=_exif(orientation))
    assert _turned(tmp_path, data) == (orientation if 1 <= orientation <= 8 else 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_data_leave_the_pixels_alone(tmp_path, kind):
    generator = np.random.default_rng(1)
    healthy = _exif(6)
    expected = decode_image(_encode(kind))
    for _ in range(150):
        exif = bytearray(healthy)
        for place in generator.integers(6, len(exif), generator.integers(1, 9)):
            exif[place] = generator.choice([0, 1, 2, 255, generator.integers(256)])
        exif = bytes(exif[: generator.integers(len(exif) // 2, 2 * len(exif))])
        data = _encode(kind, exif=exif)
        np.testing.assert_array_equal(decode_image(data), expected)
        assert 1 <= _turned(tmp_path, data) <= 8


@pytest.mark.parametrize("order", ["<", ">"])
def test_no_other_entry_matters(tmp_path, order):
    # All types, those that exist and others, in entries that Pillow reads when it opens a file, and
    # with counts and places that lead out of the file.
    for tag in (0x0100, 0x011A, 0x0128, 0x8769, 0x8825, 0x9204):
        for kind in range(20):
            for count, place in ((1, 0), (1, 0xFFFF), (0xFFFFFFFF, 8), (0, 0)):
                entries = [
                    (tag, kind, count, place),
                    (0x0112, 3, 1, 6 if order == "<" else 6 << 16),
                ]
                exif = struct.pack(order + "2sHIH", *_begin(order), 8, 2)
                for entry in entries:
                    exif += struct.pack(order + "HHII", *entry)
                data = _encode("JPEG", exif=b"Exif\0\0" + exif + bytes(4))
                assert split_metadata(data)[1] == 6, (tag, kind, count, place)
    assert _turned(tmp_path, data) == 6


def _begin(order):
    return (b"II", 42) if order == "<" else (b"MM", 42)


def test_orientations_in_texts(tmp_path):
    tiff = _exif(6).removeprefix(b"Exif\0\0")
    profile = b"\nexif\n%8d\n%s\n" % (len(tiff) + 6, (b"Exif\0\0" + tiff).hex().encode())
    xmp = '<rdf:Description tiff:Orientation="8"/>'
    for keyword in (b"Raw profile type exif", b"Raw profile type APP1"):
        for kind, text in ((b"tEXt", profile), (b"zTXt", b"\0" + zlib.compress(profile))):
            data = _with_chunk(_encode("PNG"), kind, keyword + b"\0" + text)
            assert _turned(tmp_path, data) == 6
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp)
    assert _turned(tmp_path, _encode("PNG", pnginfo=info)) == 8
    assert _turned(tmp_path, _encode("JPEG", xmp=xmp.encode())) == 8
    assert _turned(tmp_path, _encode("WEBP", xmp=xmp.encode())) == 8
    # The EXIF data come first.
    assert _turned(tmp_path, _encode("PNG", pnginfo=info, exif=_exif(3))) == 3
    for text in (b"", b"no digits", b"\nexif\n   20\n6227457869660000", b"\n\n\nabc"):
        data = _with_chunk(_encode("PNG"), b"tEXt", b"Raw profile type exif\0" + text)
        assert _turned(tmp_path, data) == 1


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (b"pHYs", b"\0"),
        (b"iCCP", b"x"),
        (b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 22))),
        (b"gAMA", b""),
        (b"cHRM", b"\1"),
        (b"acTL", b""),
        (b"tIME", b"never"),
    ],
)
def test_damaged_chunks_of_png_files(kind, content):
    np.testing.assert_array_equal(decode_image(_with_chunk(_encode("PNG"), kind, content)), PIXELS)
    wrong_sum = bytearray(_with_chunk(_encode("PNG"), kind, content))
    wrong_sum[33 + 8 + len(content)] ^= 1
    np.testing.assert_array_equal(decode_image(bytes(wrong_sum)), PIXELS)


@pytest.mark.parametrize("content", [b"", b"JFIF\0", b"MPF\0II*\0\0\0\0\0\0", b"Exif\0\0", b"ICC"])
@pytest.mark.parametrize("marker", [0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE])
def test_damaged_segments_of_jpeg_files(content, marker):
    data = _encode("JPEG")
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
    np.testing.assert_array_equal(
        decode_image(data[:2] + segment + data[2:]), np.asarray(Image.open(io.BytesIO(data)))
    )


def test_plain_files():
    for kind, mode, options, plain in (
        ("JPEG", "RGB", {}, True),
        ("JPEG", "L", {"progressive": True, "exif": _exif(6)}, True),
        ("JPEG", "CMYK", {}, False),
        ("PNG", "1", {}, True),
        ("PNG", "P", {}, True),
        ("PNG", "P", {"transparency": 0}, False),
        ("PNG", "RGB", {"transparency": (1, 2, 3)}, False),
        ("PNG", "LA", {}, False),
        ("PNG", "RGBA", {}, False),
        ("PNG", "I;16", {}, False),
        ("GIF", "P", {}, False),
        ("BMP", "RGB", {}, False),
    ):
        buffer = io.BytesIO()
        Image.fromarray(PIXELS).convert(mode).save(buffer, kind, **options)
        assert is_plain(buffer.getvalue()) == plain, (kind, mode)
    for damaged in (b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"hello"):
        is_plain(damaged)
        assert split_metadata(damaged) == (damaged, 1)
