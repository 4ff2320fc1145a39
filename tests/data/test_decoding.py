import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from rnnseg.data import images
from rnnseg.data.decoding import decode_image, decode_window

# Noise of few pixels, so that colour at half the width differs from column to column.
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 53, 3), dtype=np.uint8)


def _value(mode):
    """Returns a value that occurs in the pixels."""
    return Image.fromarray(PIXELS).convert(mode).getpixel((3, 4))


JPEG = {"subsampling": 0}, {"subsampling": 2}, {"progressive": True}
FILES = [
    *(("JPEG", "RGB", options) for options in JPEG),
    *(("JPEG", mode, {}) for mode in ("L", "CMYK")),
    *(("PNG", mode, {}) for mode in ("RGB", "L", "P", "1", "RGBA", "LA", "I;16")),
    ("PNG", "RGB", {"transparency": tuple(map(int, PIXELS[3, 4]))}),
    *(("PNG", mode, {"transparency": _value(mode)}) for mode in ("L", "P")),
    *((kind, "RGB", {}) for kind in ("BMP", "GIF", "TIFF", "WEBP")),
]


def _encode(kind, mode, options):
    image = Image.fromarray(PIXELS).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(PIXELS[..., 0]))
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("kind", "mode", "options"), FILES)
def test_graphs_see_the_colours_of_files(kind, mode, options):
    data = _encode(kind, mode, options)
    expected = images.decode_image(data)
    decoded = decode_image(tf.constant(data))
    np.testing.assert_array_equal(decoded, expected)
    place = [tf.constant(each) for each in ((5, 7), (20, 31), PIXELS.shape[:2])]
    np.testing.assert_array_equal(decode_window(tf.constant(data), *place), expected[5:25, 7:38])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_transparent_pixels_agree_with_tensorflows_opacities(mode):
    options = {"transparency": _value(mode)} if mode in ("P", "L") else {}
    data = _encode("PNG", mode, options)
    rgba = tf.io.decode_png(data, channels=4).numpy().astype(float)
    colors, alpha = np.split(rgba, [3], -1)
    assert alpha.min() < 255
    expected = np.round((colors * alpha + 255 * (255 - alpha)) / 255)
    np.testing.assert_array_equal(images.decode_image(data), expected)


def test_pipelines_decode_files_of_all_kinds():
    files = [_encode(*each) for each in FILES]
    data = tf.data.Dataset.from_tensor_slices(files).map(decode_image, num_parallel_calls=2)
    assert data.element_spec.shape.as_list() == [None, None, 3]
    for file, image in zip(files, data.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(image, images.decode_image(file))


def test_damaged_metadata_do_not_matter():
    data = _encode("PNG", "RGB", {})
    text = b"tEXt" + b"a\0b"
    chunk = struct.pack(">I", 3) + text + struct.pack(">I", zlib.crc32(text) ^ 1)
    np.testing.assert_array_equal(decode_image(data[:33] + chunk + data[33:]), PIXELS)
    with pytest.raises(Exception, match="cannot be read as an image"):
        decode_image(tf.constant(b"hello"))
