import numpy as np
import pytest
from PIL import Image

from rnnseg import UserError
from rnnseg.data.images import find_images, read_image


def test_images_are_found_by_file_folder_and_pattern(tmp_path):
    for name in ("b.jpg", "a.PNG", "c.txt", "sub/d.jpeg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def names(*arguments):
        found = find_images([str(tmp_path / each) for each in arguments])
        return [str(path.relative_to(tmp_path)) for path in found]

    assert names("") == ["a.PNG", "b.jpg"]
    assert names("b.jpg", "*", "sub") == ["b.jpg", "a.PNG", "sub/d.jpeg"]
    assert names("**/*.jpeg") == ["sub/d.jpeg"]
    for nothing in ("*.bmp", "missing.jpg"):
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
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png")[..., 0], deep // 257)


def test_unreadable_images_are_named(tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    Image.effect_noise((64, 64), 90).save(tmp_path / "cut.jpg")
    data = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    for name in ("text.jpg", "cut.jpg", "missing.jpg"):
        with pytest.raises(UserError, match=f"{name} cannot be read as an image"):
            read_image(tmp_path / name)
    Image.fromarray(np.ones((9, 9), np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(UserError, match="float.tiff: a floating-point image"):
        read_image(tmp_path / "float.tiff")
