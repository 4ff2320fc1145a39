import av
import numpy as np
import pytest
from PIL import Image

from rnnseg.data.images import read_image
from rnnseg.video import colors
from rnnseg.video.sources import open_frames

PQ, HLG, BT709, BT2020, P3 = 16, 18, 1, 9, 12


def srgb(light):
    """Returns the sRGB values, 0-255, of light, in which 1 is white."""
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def frame_of(codes, transfer, primaries):
    """Returns a frame of RGB codes of 0-1."""
    planes = np.rint(65535 * np.asarray(codes)).astype(np.uint16)
    frame = av.VideoFrame.from_ndarray(planes, format="gbrp16le")
    frame.color_trc, frame.color_primaries = transfer, primaries
    return frame


def to_bt2020(light):
    """Converts linear RGB of BT.709 by the matrix that BT.2087-0 prints."""
    return light @ [[0.6274, 0.0691, 0.0164], [0.3293, 0.9195, 0.0880], [0.0433, 0.0114, 0.8956]]


@pytest.fixture
def light():
    """Light of BT.709's primaries up to white, in every combination of three values."""
    steps = np.array([0.02, 0.3, 1.0])
    return np.stack(np.meshgrid(*[steps] * 3), -1).reshape(9, 3, 3)


def test_published_values_of_the_transfer_functions():
    # BT.2408-7, table 1: reference white and grey cards, in percent of the signal; ST 2084's ends.
    for codes, light in ((0.58, 203), (0.38, 26), (0, 0), (1, 10000), (0.508, 100)):
        assert colors.pq_light(np.array(codes)) == pytest.approx(light, rel=0.03)
    for codes, light in ((0.75, 203), (0.38, 26), (0, 0), (1, 1000)):
        assert colors.hlg_light(np.array(codes)) == pytest.approx(light, rel=0.03)
    light = np.geomspace(0.001, 10000)
    np.testing.assert_allclose(colors.pq_light(colors.pq_codes(light)), light, rtol=1e-9)


def test_the_matrix_is_the_published_one(light):
    expected = light @ colors.matrix_to_bt709(BT2020).T
    np.testing.assert_allclose(to_bt2020(expected), light, atol=2e-4)
    np.testing.assert_allclose(colors.matrix_to_bt709(BT709), np.eye(3), atol=1e-12)
    for primaries in (BT2020, P3):  # white stays white
        np.testing.assert_allclose(colors.matrix_to_bt709(primaries).sum(1), 1, atol=1e-9)


def hlg_codes(light):
    """Returns the HLG codes of light in cd/m2 on a display of 1000 cd/m2, channel by channel."""
    scene = (light / 1000) ** (1 / 1.2)
    logarithm = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), logarithm)


@pytest.mark.parametrize("transfer, encode", [(PQ, colors.pq_codes), (HLG, hlg_codes)])
def test_what_standard_range_can_show_keeps_its_colours(light, transfer, encode):
    for primaries, coded in ((BT2020, to_bt2020(light)), (BT709, light), (2, to_bt2020(light))):
        frame = frame_of(encode(203 * coded), transfer, primaries)
        image = colors.FrameColors().rgb(frame)
        assert image.dtype == np.uint8
        np.testing.assert_allclose(image, srgb(light), atol=1.01)


def test_wide_gamuts_of_standard_range(light):
    codes = srgb(to_bt2020(light)) / 255
    image = colors.FrameColors().rgb(frame_of(codes, BT709, BT2020))
    np.testing.assert_allclose(image, srgb(light), atol=1.01)


def test_highlights_are_compressed_and_stay_in_order():
    grey = np.geomspace(0.01, 20, 60)
    linear = np.repeat(grey, 3).reshape(-1, 3).astype(np.float32)
    mapped = linear.copy()
    colors.compress_highlights(mapped, 20.0)
    assert (np.diff(mapped[:, 0]) > 0).all() and mapped.max() == pytest.approx(1, abs=1e-3)
    np.testing.assert_array_equal(mapped[grey < 0.1], linear[grey < 0.1])
    # BT.2390-11, section 5.4.1, with source and target written out: the middle of the knee.
    source, target = colors.pq_codes(20 * 203.0), colors.pq_codes(203.0)
    knee = 1.5 * target / source - 0.5
    middle = (1 + knee) / 2
    expected = 0.5 * knee + 0.125 * (1 - knee) + 0.5 * target / source
    one = np.full((1, 3), colors.pq_light(middle * source) / 203)
    colors.compress_highlights(one, 20.0)
    np.testing.assert_allclose(colors.pq_codes(203 * one) / source, expected, rtol=1e-4)
    # The ratio of the channels, and with it the hue, is kept.
    orange = np.array([[4.0, 2.0, 1.0]])
    colors.compress_highlights(orange, 20.0)
    np.testing.assert_allclose(orange[0] / orange[0, 2], [4, 2, 1])


def test_the_peak_rises_at_once_and_falls_slowly():
    def grey(light):
        return frame_of(np.full((8, 8, 3), colors.pq_codes(203.0 * light)), PQ, BT2020)

    video = colors.FrameColors()
    alone = int(colors.FrameColors().rgb(grey(1.0))[0, 0, 0])
    assert alone == 255
    assert video.rgb(grey(8.0))[0, 0, 0] == 255
    after = [int(video.rgb(grey(1.0))[0, 0, 0]) for _ in range(40)]
    assert after[0] < 230 and after == sorted(after) and after[-1] > 250


def test_bands_make_no_difference(light, monkeypatch):
    codes = colors.pq_codes(203 * np.random.default_rng(0).uniform(0, 4, (37, 20, 3)))
    whole = colors.FrameColors().rgb(frame_of(codes, PQ, BT2020))
    monkeypatch.setattr(colors, "_BAND", 100)
    np.testing.assert_array_equal(colors.FrameColors().rgb(frame_of(codes, PQ, BT2020)), whole)


def write_ten_bits(path, transfer, primaries, matrix=9):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace = transfer, primaries, matrix
        frame = av.VideoFrame(64, 48, "yuv420p10le")
        for plane, code in zip(frame.planes, (64 + round(876 * 0.5807), 512, 512), strict=True):
            plane.update(np.full(plane.buffer_size // 2, code, np.uint16).tobytes())
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    "transfer, matrix, note, problem",
    [
        (PQ, 9, "HDR (PQ, BT.2020) is tone-mapped", None),
        (HLG, 9, "HDR (HLG, BT.2020) is tone-mapped", None),
        (14, 9, "the colours of BT.2020 are converted", None),
        (PQ, 14, None, "its colours are coded as ICtCp"),
        (BT709, 8, None, "its colours are coded as YCgCo"),
    ],
)
def test_files_tell_what_is_done_in_one_line(tmp_path, transfer, matrix, note, problem):
    path = write_ten_bits(tmp_path / "clip.mp4", transfer, BT2020, matrix)
    with open_frames(path) as source:
        (frame,) = source.frames
    if note is not None:
        (line,) = source.notes
        assert line.startswith(f"{path}: {note}") and source.problems == []
        if transfer == PQ:  # the code of reference white
            assert frame.image.min() >= 254
    else:
        (line,) = source.problems
        assert line.startswith(f"{path}: {problem}") and source.notes == []


@pytest.mark.parametrize(
    "pixels, code, full",
    [("yuv420p10le", 940, 1), ("yuv420p10le", 1023, 2), ("yuv444p12le", 3760, 1)],
)
def test_codes_of_all_ranges_and_depths_end_at_white(pixels, code, full):
    frame = av.VideoFrame(64, 48, pixels)
    grey = 2 ** (frame.format.components[0].bits - 1)
    for plane, value in zip(frame.planes, (code, grey, grey), strict=True):
        plane.update(np.full(plane.buffer_size // 2, value, np.uint16).tobytes())
    frame.color_trc, frame.color_primaries, frame.color_range = HLG, BT2020, full
    video = colors.FrameColors()
    assert video.rgb(frame).min() == 255
    assert video._peak == pytest.approx(1000 / 203, rel=2e-3)


def test_colors_that_are_reserved_are_taken_for_unknown_ones():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    expected = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv444p")
    frame = av.VideoFrame.from_ndarray(expected.to_ndarray(), format="yuv444p")
    frame.color_trc, frame.color_primaries, frame.colorspace = 3, 3, 3
    assert colors.describe_colors(frame) == (None, None)
    found = colors.FrameColors().rgb(frame)
    np.testing.assert_array_equal(found, expected.to_ndarray(format="rgb24"))


def test_standard_video_is_left_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    assert colors.describe_colors(frame) == (None, None)
    np.testing.assert_array_equal(colors.FrameColors().rgb(frame), image)


def test_an_hlg_video_looks_like_its_standard_version(cases):
    hdr, standard = (_frames(cases / "hdr" / name) for name in ("hlg.mp4", "sdr.mp4"))
    difference = np.abs(hdr.astype(int) - standard)
    # Both are compressed, with colours at half resolution, so that edges differ.
    assert np.median(difference) <= 1 and difference.mean() < 3


def _frames(path):
    with open_frames(path) as source:
        return np.array([frame.image for frame in source.frames])


@pytest.mark.parametrize("codec, pixels", [("png", "rgba"), ("qtrle", "argb")])
def test_transparent_frames_are_blended_with_white(tmp_path, codec, pixels):
    """By the rule of images: an image file and a video of it give the same."""
    image = np.random.default_rng(0).integers(0, 256, (16, 24, 4), np.uint8)
    image[:8, :, 3], image[8:12, :, 3] = 0, 255
    Image.fromarray(image).save(tmp_path / "image.png")
    with av.open(str(tmp_path / "clip.mov"), "w") as container:
        stream = container.add_stream(codec, 10)
        stream.width, stream.height, stream.pix_fmt = 24, 16, pixels
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgba")))
        container.mux(stream.encode(None))
    (frame,) = _frames(tmp_path / "clip.mov")
    assert (frame[:8] == 255).all()
    np.testing.assert_array_equal(frame, read_image(tmp_path / "image.png"))
