import itertools

import numpy as np
import pytest

from rnnseg.video.orientation import from_matrix
from rnnseg.video.sources import open_frames
from tests.video import clips

# All matrices that put every axis on an axis, in either direction.
EIGHT = [
    (first, 0, 0, second) if not swapped else (0, first, second, 0)
    for swapped, first, second in itertools.product((False, True), (1, -1), (1, -1))
]


def shown(image, matrix):
    """Returns an image, pixel by pixel, as the definition of a matrix a, b, c, d says."""
    a, b, c, d = matrix
    y, x = np.indices(image.shape[:2])
    columns, rows = a * x + c * y, b * x + d * y
    columns, rows = columns - columns.min(), rows - rows.min()
    result = np.zeros((rows.max() + 1, columns.max() + 1, 3), image.dtype)
    result[rows, columns] = image
    return result


def write(path, matrix, scale=1.0):
    """Writes a video whose track has a display matrix a, b, c, d."""
    clips.write(path, clips.scene(2))
    content = path.read_bytes()
    a, b, c, d = (round(65536 * scale * each) for each in matrix)
    identity = np.array([65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30], ">i4").tobytes()
    # The first matrix is that of the movie.
    track = content.index(identity, content.index(b"tkhd"))
    new = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], ">i4").tobytes()
    path.write_bytes(content[:track] + new + content[track + len(new) :])
    return path


@pytest.mark.parametrize("matrix", EIGHT)
@pytest.mark.parametrize("scale", [1, 0.5])
def test_frames_are_shown_as_the_matrix_says(tmp_path, matrix, scale):
    path = write(tmp_path / "clip.mp4", matrix, scale)
    stored, _ = clips.read(path)
    with open_frames(path) as source:
        frames = [frame.image for frame in source.frames]
    assert source.problems == [] and len(frames) == 2
    for frame, image in zip(frames, stored, strict=True):
        np.testing.assert_array_equal(frame, shown(image, matrix))
        assert frame.flags.c_contiguous


@pytest.mark.parametrize(
    "matrix, what",
    [
        ((0.7071, 0.7071, -0.7071, 0.7071), "turns by 45 degrees clockwise"),
        ((0.9848, -0.1736, 0.1736, 0.9848), "turns by -10 degrees clockwise"),
        ((1, 0, 0.5, 1), "shears"),
        ((1, 0, 0, 0), "shows nothing"),
    ],
)
def test_other_matrices_are_told_and_left_alone(tmp_path, matrix, what):
    path = write(tmp_path / "clip.mp4", matrix)
    stored, _ = clips.read(path)
    with open_frames(path) as source:
        frames = [frame.image for frame in source.frames]
    (problem,) = source.problems
    assert problem.startswith(f"{path}: its display matrix {what}; ")
    np.testing.assert_array_equal(frames, stored)


def test_rounded_matrices_are_not_odd():
    turned = from_matrix(np.array([12, 65536, 0, -65530, 300, 0, 0, 0, 1 << 30]))
    assert turned == from_matrix(np.array([0, 1, 0, -1, 0, 0, 0, 0, 1]))
    assert turned.transposed and turned.problem is None


def test_a_mirrored_video(cases):
    with open_frames(cases / "mirrored-video" / "m_hflip.mp4") as source:
        mirrored = [frame.image for frame in source.frames]
    stored, _ = clips.read(cases / "mirrored-video" / "m_hflip.mp4")
    np.testing.assert_array_equal(mirrored, np.flip(stored, 2))
