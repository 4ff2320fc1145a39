import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from data_prep.common import read_encoded_image, read_upright_image, some
from rnnseg.data.images import read_image
from rnnseg.errors import UserError

RGB = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def _encode(mode, **options):
    buffer = io.BytesIO()
    Image.fromarray(RGB).convert(mode).save(buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "JPEG"), ("L", "JPEG"), ("RGB", "PNG"), ("L", "PNG"), ("P", "PNG"), ("1", "PNG")],
)
def test_usable_images_decode_alike_in_pillow_and_tensorflow(tmp_path, mode, kind):
    import tensorflow as tf

    path = tmp_path / "image"
    path.write_bytes(_encode(mode, format=kind))
    data, size = read_encoded_image(path)
    assert data == path.read_bytes()
    assert size == (50, 40)
    decoded = tf.io.decode_image(data, channels=3, expand_animations=False).numpy()
    expected = np.asarray(Image.open(path).convert("RGB"))
    # TensorFlow decodes JPEG files by a faster transform unless it is told otherwise.
    tolerance = 8 if kind == "JPEG" else 0
    assert np.abs(decoded.astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_encode("F", format="TIFF"), "a floating-point image, expected 8 or 16 bits"),
        (b"", "not a known image format"),
        (b"hello", "not a known image format"),
        (_encode("RGB", format="JPEG")[:-20], "truncated"),
        (_encode("RGB", format="JPEG")[:900], "truncated"),
        (_encode("RGB", format="PNG")[:-2], "truncated"),
        (_encode("RGB", format="PNG")[:-12], "truncated"),
        (_encode("RGB", format="PNG")[:2000], "truncated"),
    ],
)
def test_images_that_cannot_be_used(tmp_path, data, message):
    path = tmp_path / "image.jpg"
    path.write_bytes(data)
    with pytest.raises(UserError) as error:
        read_encoded_image(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("CMYK", {"format": "JPEG"}),
        ("RGBA", {"format": "PNG"}),
        ("LA", {"format": "PNG"}),
        ("P", {"format": "PNG", "transparency": 0}),
        ("L", {"format": "PNG", "transparency": 7}),
        ("RGB", {"format": "PNG", "transparency": (1, 2, 3)}),
        ("I;16", {"format": "PNG"}),
        ("RGB", {"format": "BMP"}),
        ("RGB", {"format": "WEBP", "lossless": True}),
        ("P", {"format": "GIF"}),
    ],
)
def test_images_that_decoders_read_differently_become_rgb(tmp_path, mode, options):
    path = tmp_path / "image"
    path.write_bytes(_encode(mode, **options))
    data, size = read_encoded_image(path)
    assert data != path.read_bytes() and size == (50, 40)
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.mode) == ("PNG", "RGB") and not image.has_transparency_data
    np.testing.assert_array_equal(np.asarray(image), read_image(path))


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read_encoded_image(tmp_path / "missing.jpg")


def test_some():
    assert some(["a", "b"]) == "a, b"
    assert some(list("abcde"), 2) == "a, b and 3 more"


def test_images_with_an_exif_orientation(tmp_path):
    path = tmp_path / "image.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated to the right
    path.write_bytes(_encode("RGB", format="JPEG", exif=exif))
    with pytest.raises(UserError, match="EXIF orientation 6"):
        read_encoded_image(path)
    assert read_encoded_image(path, as_stored=True) == (path.read_bytes(), (50, 40))


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_turned_images_become_upright(tmp_path, orientation):
    path = tmp_path / "image.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.write_bytes(_encode("RGB", format="JPEG", exif=exif))
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    # Labels of the upright size stay as they are, those of the stored size are turned, too.
    for label_size, turned in (((40, 50), 1), ((50, 40), orientation), ((7, 7), 1)):
        data, size, label_orientation = read_upright_image(path, label_size)
        assert (size, label_orientation) == ((40, 50), turned)
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), upright)


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_labels_that_may_be_turned_or_not(tmp_path, orientation):
    path = tmp_path / "image.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.write_bytes(_encode("RGB", format="JPEG", exif=exif))
    with pytest.raises(UserError, match=f"EXIF orientation {orientation}.*does not tell whether"):
        read_upright_image(path, (50, 40))


@pytest.mark.parametrize("value", [0, 1, 9, 65535])
def test_an_orientation_that_is_none_counts_as_stored(tmp_path, value):
    path = tmp_path / "image.jpg"
    exif = Image.Exif()
    exif[0x0112] = value
    path.write_bytes(_encode("RGB", format="JPEG", exif=exif))
    assert read_encoded_image(path) == (path.read_bytes(), (50, 40))
    assert read_upright_image(path, (50, 40)) == (path.read_bytes(), (50, 40), 1)


def test_images_that_are_too_large(tmp_path):
    # Rows of one colour compress to a few bytes, so the file is small.
    path = tmp_path / "huge.png"
    Image.new("1", (20_000, 20_000)).save(path)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(UserError) as error:
        read_encoded_image(path)
    assert str(error.value).startswith(f"{path}: the image is too large, expected at most ")
    assert "cut it into tiles" in str(error.value)


def test_large_images_are_read_without_a_warning(tmp_path, recwarn):
    path = tmp_path / "large.png"
    Image.new("1", (10_000, 10_000)).save(path)
    assert read_encoded_image(path)[1] == (10_000, 10_000)
    assert not recwarn.list
