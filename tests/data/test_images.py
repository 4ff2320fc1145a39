import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from rnnseg import UserError
from rnnseg.data import images
from rnnseg.data.images import decode_image, find_images, read_image

_LOSSLESS = {"lossless": True}


def test_images_are_found_by_file_folder_and_pattern(tmp_path):
    for name in ("b.jpg", "a.PNG", "c.txt", "sub/d.jpeg", "._b.jpg", "sub/._d.jpeg", "Thumbs.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def names(*arguments):
        found = find_images([str(tmp_path / each) for each in arguments])
        return [str(path.relative_to(tmp_path)) for path in found]

    assert names("") == ["a.PNG", "b.jpg"]
    assert names("b.jpg", "*", "sub") == ["b.jpg", "a.PNG", "sub/d.jpeg"]
    assert names("**/*.jpeg") == ["sub/d.jpeg"] == names("sub/*")
    for nothing in ("*.bmp", "missing.jpg", "._*"):
        with pytest.raises(UserError, match="no image found"):
            names(nothing)


def test_images_are_read_upright_as_rgb(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "plain.png")
    np.testing.assert_array_equal(read_image(tmp_path / "plain.png"), pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to see the image upright
    image.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), np.rot90(pixels, -1))
    image.convert("L").save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png").shape == (6, 9, 3)
    hidden = image.convert("RGBA")
    hidden.putalpha(Image.fromarray(np.uint8(255 * (np.arange(54).reshape(6, 9) > 20))))
    hidden.save(tmp_path / "alpha.png")
    shown = np.where(np.arange(54).reshape(6, 9, 1) > 20, pixels, 255)
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png"), shown)
    deep = (np.arange(54).reshape(6, 9) * 1000).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png")[..., 0], deep >> 8)


def test_unreadable_images_are_named(tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    Image.effect_noise((64, 64), 90).save(tmp_path / "cut.jpg")
    data = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    for name in ("text.jpg", "cut.jpg", "missing.jpg"):
        with pytest.raises(UserError, match=f"{name}: cannot be read as an image"):
            read_image(tmp_path / name)
    Image.fromarray(np.ones((9, 9), np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(UserError, match="float.tiff: a floating-point image"):
        read_image(tmp_path / "float.tiff")


def _png(rows, width, bits, color_type, key=None):
    """Makes a PNG of any kind; Pillow writes few of them."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, len(rows), bits, color_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    transparent = b"" if key is None else chunk(b"tRNS", key)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + transparent
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("bits", "row", "expected"),
    [
        (1, bytes([0b01100000]), [0, 255, 255, 0]),
        (2, bytes([0b00011011]), [0, 85, 170, 255]),
        (4, bytes([0x01, 0x23]), [0, 17, 34, 51]),
        (8, bytes([0, 1, 2, 3]), [0, 1, 2, 3]),
        (16, struct.pack(">4H", 256, 1, 2 << 8, 3 << 8), [1, 0, 2, 3]),
    ],
)
def test_a_transparent_grey_value_is_white_at_any_depth(bits, row, expected):
    expected = np.array(expected)
    image = decode_image(_png([row], 4, bits, 0))
    np.testing.assert_array_equal(image, np.repeat(expected[np.newaxis, :, np.newaxis], 3, -1))
    hidden = decode_image(_png([row], 4, bits, 0, struct.pack(">H", 1)))
    expected[1 if bits > 1 else slice(1, 3)] = 255
    np.testing.assert_array_equal(hidden, np.repeat(expected[np.newaxis, :, np.newaxis], 3, -1))


def test_a_transparent_colour_of_16_bits_is_compared_in_all_bits():
    key = np.array([0x1234, 0x5678, 0x9ABC], np.uint16)
    pixels = np.stack([key, key ^ [0, 0, 1], key ^ [0x8000, 0, 0], key])
    row = pixels.astype(">u2").tobytes()
    image = decode_image(_png([row, row], 4, 16, 2, struct.pack(">3H", *map(int, key))))
    expected = pixels >> 8
    expected[[0, 3]] = 255
    np.testing.assert_array_equal(image, [expected, expected])


def test_images_are_converted_in_bands_and_turned_as_pillow_turns_them(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_BAND", 20)
    generator = np.random.default_rng(0)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"):
        values = generator.integers(0, 256, (7, 9, 4), dtype=np.uint8)
        image = Image.fromarray(values).convert(mode if mode != "I;16" else "L")
        if mode == "I;16":
            image = Image.fromarray(values[..., 0] * np.uint16(257))
        shown = image if mode != "I;16" else Image.fromarray(values[..., 0])
        if mode in ("LA", "RGBA"):
            shown = Image.alpha_composite(Image.new("RGBA", (9, 7), "white"), shown.convert("RGBA"))
        for orientation in range(1, 9):
            exif = Image.Exif()
            exif[0x0112] = orientation
            image.save(tmp_path / "image.tiff", exif=exif)
            # Pillow turns it by metadata that are sound.
            expected = shown.copy()
            expected.getexif()[0x0112] = orientation
            expected = np.asarray(ImageOps.exif_transpose(expected).convert("RGB"))
            np.testing.assert_array_equal(read_image(tmp_path / "image.tiff"), expected)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_transparent_pixels_are_blended_with_white(tmp_path, mode):
    generator = np.random.default_rng(0)
    if mode == "P":
        indices = generator.integers(0, 256, (6, 9), dtype=np.uint8)
        palette = generator.integers(0, 256, (256, 3), dtype=np.uint8)
        alphas = generator.integers(0, 256, 256, dtype=np.uint8)
        image = Image.fromarray(indices)
        image.putpalette(palette.tobytes())
        image.save(tmp_path / "image.png", transparency=alphas.tobytes())
        colors, alpha = palette[indices].astype(int), alphas[indices][..., np.newaxis].astype(int)
    else:
        pixels = generator.integers(0, 256, (6, 9, len(mode)), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "image.png")
        colors, alpha = np.split(pixels.astype(int), [-1], -1)
    expected = np.round((colors * alpha + 255 * (255 - alpha)) / 255)
    expected = np.broadcast_to(expected, (6, 9, 3))
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), expected)


def test_of_several_images_in_a_file_the_first_is_read(tmp_path):
    first, second = (Image.new("RGB", (4, 3), color) for color in ("teal", "red"))
    for name, options in (("a.gif", {}), ("a.png", {}), ("a.tiff", {}), ("a.webp", _LOSSLESS)):
        first.save(tmp_path / name, save_all=True, append_images=[second], **options)
        with Image.open(tmp_path / name) as image:
            assert image.n_frames == 2
        assert (read_image(tmp_path / name) == (0, 128, 128)).all()


def test_images_that_people_have(cases):
    expected = read_image(cases / "bad-exif" / "good.jpg")
    for path in (cases / "bad-exif").iterdir():
        image = read_image(path)
        # Turned, where an orientation can be read.
        assert image.shape in ((97, 131, 3), (131, 97, 3)), path
        assert image.mean() == pytest.approx(expected.mean(), abs=1)
    for path in (cases / "png-trns").iterdir():
        image = Image.open(path).convert("RGBA")
        hidden = np.asarray(image)[..., 3] == 0
        assert hidden.any() and (read_image(path)[hidden] == 255).all()
    for path in (cases / "orientation-0" / "i").iterdir():
        np.testing.assert_array_equal(read_image(path), np.asarray(Image.open(path)))


def test_a_folder_with_the_ending_of_an_image_is_none(tmp_path):
    (tmp_path / "scan.jpg").mkdir()
    (tmp_path / "a.jpg").touch()
    assert find_images([str(tmp_path)]) == [tmp_path / "a.jpg"]
    assert find_images([str(tmp_path / "*.jpg")]) == [tmp_path / "a.jpg"]
