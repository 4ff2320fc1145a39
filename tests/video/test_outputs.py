import os
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from rnnseg import UserError, visualize
from rnnseg.locks import hold_beside
from rnnseg.video.outputs import draw, open_output
from rnnseg.video.sources import Frame, FrameSource, open_frames
from tests.video import clips

COLORS = ((200, 30, 30), (30, 200, 30), (30, 30, 200))


def copy(path, out, view=None, stop_after=None, **options):
    """Writes a video with random class maps; returns these and the source."""
    rng = np.random.default_rng(0)
    maps = []
    with open_frames(path) as source, open_output(out, source, view, **options) as output:
        for frame in source.frames:
            height, width = frame.image.shape[:2]
            cells = rng.integers(0, 3, (height // 16 + 1, width // 16 + 1), np.int32)
            maps.append(cells.repeat(16, 0).repeat(16, 1)[:height, :width])
            output.write(frame, maps[-1], COLORS)
            if len(maps) == stop_after:
                break
        else:
            output.complete()
    return maps, source


def test_a_video_keeps_frames_rate_and_audio(tmp_path):
    rate = Fraction(30000, 1001)
    path = clips.write(tmp_path / "in.mp4", clips.scene(9), rate, sound=True)
    maps, source = copy(path, tmp_path / "out.mp4", "classes")
    images, times = clips.read(tmp_path / "out.mp4")
    assert times == clips.read(path)[1] and times[1] == pytest.approx(1001 / 30000)
    assert clips.read_sound(tmp_path / "out.mp4") == clips.read_sound(path)
    assert not source.problems
    with open_frames(tmp_path / "out.mp4") as written:
        assert len(list(written.frames)) == 9 and not written.problems
    for image, classes in zip(images, maps, strict=True):
        error = np.abs(image.astype(int) - visualize.colorize(classes, COLORS))
        assert np.median(error) <= 3 and error.mean() < 20
    with av.open(str(tmp_path / "out.mp4")) as container:
        (video,) = container.streams.video
        assert video.codec_context.name == "h264" and video.codec_context.pix_fmt == "yuv420p"
        assert video.average_rate == rate


def test_a_video_keeps_a_variable_rate(tmp_path):
    times = [0, 40, 300, 310, 1000]
    path = clips.write(tmp_path / "in.mkv", clips.scene(5), times=times)
    copy(path, tmp_path / "out.mp4")
    assert [1000 * time for time in clips.read(tmp_path / "out.mp4")[1]] == times


def test_audio_and_frames_stay_together_where_a_file_does_not_begin_at_zero(tmp_path):
    path = clips.write(tmp_path / "in.ts", clips.scene(9), sound=True)
    copy(path, tmp_path / "out.mp4")
    starts = [
        (clips.read(each)[1][0], clips.read_sound(each)[0][0])
        for each in (path, tmp_path / "out.mp4")
    ]
    (frame_before, sound_before), (frame, sound) = starts
    assert frame_before > 0 and min(frame, sound) == 0
    assert frame - sound == pytest.approx(frame_before - sound_before, abs=0.001)


def test_where_somebody_stops_the_audio_ends_too(tmp_path):
    path = clips.write(tmp_path / "in.mp4", clips.scene(25), sound=True)
    copy(path, tmp_path / "out.mp4", stop_after=10)
    assert len(clips.read(tmp_path / "out.mp4")[0]) == 10
    sound, whole = clips.read_sound(tmp_path / "out.mp4"), clips.read_sound(path)
    assert sound == whole[: len(sound)] and sound[-1][0] < 0.4 < whole[len(sound) + 1][0]


def test_audio_that_does_not_fit_is_left_out_and_told(tmp_path):
    path = tmp_path / "in.avi"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", 25)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        audio = container.add_stream("pcm_mulaw", 16000, layout="mono")
        example = av.VideoFrame.from_ndarray(clips.scene(1)[0].copy(), format="rgb24")
        container.mux([*video.encode(example), *video.encode(None)])
        chunk = av.AudioFrame.from_ndarray(np.zeros((1, 1024), "i2"), format="s16", layout="mono")
        chunk.sample_rate, chunk.pts = 16000, 0
        container.mux([*audio.encode(chunk), *audio.encode(None)])
    _, source = copy(path, tmp_path / "out.mp4")
    assert source.problems == [f"{path}: .mp4 cannot hold its audio (pcm_mulaw)"]
    assert len(clips.read(tmp_path / "out.mp4")[0]) == 1


def test_images_of_odd_and_of_several_sizes_become_a_video(tmp_path):
    (tmp_path / "in").mkdir()
    for number, size in enumerate([(65, 49), (65, 49), (40, 80)]):
        Image.new("RGB", size, (10, 120, 230)).save(tmp_path / "in" / f"{number}.png")
    copy(tmp_path / "in", tmp_path / "out.mp4", "side")
    images, times = clips.read(tmp_path / "out.mp4")
    assert [image.shape for image in images] == 3 * [(50, 130, 3)]
    assert times == [0, 0.04, 0.08]
    assert np.abs(images[0][:48, :64].astype(int) - (10, 120, 230)).max() <= 4


def test_a_folder_has_lossless_class_maps_or_images(tmp_path):
    path = clips.write(tmp_path / "in.mp4", clips.scene(3))
    maps, _ = copy(path, tmp_path / "classes")
    files = sorted((tmp_path / "classes").iterdir())
    assert [file.name for file in files] == ["000000.png", "000001.png", "000002.png"]
    for file, classes in zip(files, maps, strict=True):
        with Image.open(file) as example:
            assert example.mode == "P"
            np.testing.assert_array_equal(np.asarray(example), classes)
            colored = np.asarray(example.convert("RGB"))
        np.testing.assert_array_equal(colored, visualize.colorize(classes, COLORS))
    maps, _ = copy(path, tmp_path / "drawn", "overlay")
    image = np.asarray(Image.open(tmp_path / "drawn" / "000002.png"))
    original = clips.read(path)[0][2]
    np.testing.assert_array_equal(image, visualize.overlay(original, maps[2], COLORS))


def test_views():
    image = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    classes = np.arange(30).reshape(5, 6) % 3
    colored = visualize.colorize(classes, COLORS)
    np.testing.assert_array_equal(colored, np.uint8(COLORS)[classes])
    np.testing.assert_array_equal(draw("classes", image, classes, COLORS), colored)
    side = draw("side", image, classes, COLORS)
    np.testing.assert_array_equal(side, np.concatenate([image, colored], 1))
    for colors in (COLORS, ((0, 0, 0), *COLORS[1:])):
        blended = draw("overlay", image, classes, colors)
        np.testing.assert_array_equal(blended, visualize.overlay(image, classes, colors))


@pytest.mark.parametrize("out", ["out.mp4", "out"])
def test_after_an_error_nothing_is_left(tmp_path, out):
    path = clips.write(tmp_path / "in.mp4", clips.scene(3), sound=True)
    with pytest.raises(KeyboardInterrupt):
        with open_frames(path) as source, open_output(tmp_path / out, source) as output:
            output.write(next(source.frames), np.zeros((48, 64), np.int32), COLORS)
            raise KeyboardInterrupt
    assert [file.name for file in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize(
    "out, message",
    [
        ("in.mp4", "in.mp4 is the input"),
        ("there.mp4", "already exists"),
        ("out.avi", "expected a name that ends in .mp4, or a folder"),
        ("full", "is not empty"),
        ("pipe", "is not a folder"),
        ("in.mp4/out", "cannot be written"),
        ("in.mp4/out.mp4", "cannot be written"),
    ],
)
def test_outputs_that_cannot_be_written_are_refused(tmp_path, out, message):
    path = clips.write(tmp_path / "in.mp4", clips.scene(2))
    before = path.read_bytes()
    (tmp_path / "there.mp4").write_text("kept")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=message):
        copy(path, tmp_path / out)
    assert path.read_bytes() == before and (tmp_path / "there.mp4").read_text() == "kept"


def test_an_older_video_is_replaced_where_that_is_wanted(tmp_path):
    path = clips.write(tmp_path / "in.mp4", clips.scene(2))
    (tmp_path / "out.mp4").write_text("old")
    copy(path, tmp_path / "out.mp4", overwrite=True)
    assert len(clips.read(tmp_path / "out.mp4")[0]) == 2


@pytest.mark.parametrize("view", ["classes", "overlay"])
def test_a_folder_is_replaced_with_all_frames_of_an_earlier_call(tmp_path, view):
    path, out = clips.write(tmp_path / "in.mp4", clips.scene(3)), tmp_path / "out"
    copy(path, out, view)
    before = sorted(out.iterdir())
    with pytest.raises(UserError, match="out is not empty: .* by --overwrite"):
        copy(path, out, view)
    copy(path, out, view, stop_after=2, overwrite=True)
    assert sorted(out.iterdir()) == before[:2]
    # What somebody else made is kept.
    Image.new("L", (4, 4)).save(out / "own.png")
    with pytest.raises(UserError, match="own.png is no frame of an earlier call"):
        copy(path, out, view, overwrite=True)
    assert (out / "own.png").exists() and len(list(out.iterdir())) == 3


@pytest.mark.parametrize("out", ["out.mp4", "out"])
def test_one_process_at_a_time_writes_a_video(tmp_path, out):
    path = clips.write(tmp_path / "in.mp4", clips.scene(2))
    with hold_beside(tmp_path / out), pytest.raises(UserError, match=f"{out} is being written by"):
        copy(path, tmp_path / out)
    assert [file.name for file in tmp_path.iterdir()] == ["in.mp4"]


def test_audio_of_an_unknown_codec_is_left_out(tmp_path):
    path = clips.write(tmp_path / "in.mp4", clips.scene(2), sound=True)
    # The names of AAC, in the sample description and in its descriptor.
    data = (
        path.read_bytes().replace(b"mp4a", b"xyzw").replace(b"\x80\x17@\x15", b"\x80\x17\x99\x15")
    )
    path.write_bytes(data)
    with open_frames(path) as source, open_output(tmp_path / "out.mp4", source) as output:
        for frame in source.frames:
            output.write(frame, np.zeros((48, 64), np.int32), COLORS)
        output.complete()
    assert source.problems == [f"{path}: .mp4 cannot hold its audio (an unknown codec)"]
    assert len(clips.read(tmp_path / "out.mp4")[0]) == 2


def test_a_build_without_h264_writes_mpeg4(tmp_path, monkeypatch):
    path = clips.write(tmp_path / "in.ts", clips.scene(5))
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    copy(path, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    _, times = clips.read(tmp_path / "out.mp4")
    np.testing.assert_allclose([float(time) for time in times], np.arange(5) / 25, atol=0.001)


def test_pixels_that_are_not_square_stay_so(tmp_path):
    source = FrameSource(iter(()), Fraction(25), Fraction(1, 25), pixel_aspect=Fraction(4, 3))
    with open_output(tmp_path / "out.mp4", source) as output:
        frame = Frame(clips.scene(1)[0], Fraction(0), "0")
        output.write(frame, np.zeros((48, 64), np.int32), COLORS)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
