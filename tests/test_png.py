import numpy as np
import pytest
from PIL import Image

from rnnseg.png import write_png


@pytest.mark.parametrize("step", [1, 7, 50])
def test_pillow_reads_what_is_written_in_bands(tmp_path, step):
    rows, columns = np.mgrid[:40, :31]
    smooth = np.stack([3 * rows, rows + 5 * columns, columns], -1).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (40, 31, 3), dtype=np.uint8)
    for image in (smooth, noise, smooth[:1], smooth[:, :1]):
        bands = (image[top : top + step] for top in range(0, len(image), step))
        write_png(tmp_path / "image.png", image.shape[:2], bands)
        with Image.open(tmp_path / "image.png") as found:
            assert (found.format, found.mode) == ("PNG", "RGB")
            np.testing.assert_array_equal(np.asarray(found), image)


def test_files_are_as_small_as_those_of_pillow(tmp_path):
    rows, columns = np.mgrid[:200, :200]
    image = np.stack([rows * columns // 90, rows + columns, columns // 3 + rows], -1)
    image = (image + np.random.default_rng(0).integers(0, 4, image.shape)).astype(np.uint8)
    write_png(tmp_path / "own.png", (200, 200), [image])
    Image.fromarray(image).save(tmp_path / "other.png")
    own, other = ((tmp_path / name).stat().st_size for name in ("own.png", "other.png"))
    assert own < 1.1 * other < 0.8 * image.size
