import struct
import types
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from rnnseg import UserError
from rnnseg.video import sources
from rnnseg.video.sources import open_frames
from tests.video import clips


def frames_of(path):
    with open_frames(path) as source:
        return list(source.frames), source


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_reads_all_frames_of_a_file_with_their_times(tmp_path, ending):
    path = clips.write(tmp_path / f"clip.{ending}", clips.scene(8), rate=10, sound=True)
    frames, source = frames_of(path)
    expected, _ = clips.read(path)
    assert len(frames) == 8 and source.rate == 10 and source.has_audio and not source.problems
    for number, (frame, image) in enumerate(zip(frames, expected, strict=True)):
        np.testing.assert_array_equal(frame.image, image)
        # Transport streams and Matroska round times; the audio of a stream may begin first.
        assert frame.time - frames[0].time == pytest.approx(number / 10, abs=0.001)
        assert 0 <= frames[0].time < 0.1


def test_keeps_a_variable_rate(tmp_path):
    times = [0, 40, 300, 310, 1000]
    path = clips.write(tmp_path / "clip.mkv", clips.scene(5), times=times)
    frames, _ = frames_of(path)
    assert [frame.time for frame in frames] == [Fraction(time, 1000) for time in times]


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_turns_frames_upright(tmp_path, degrees):
    path = clips.write(tmp_path / "clip.mp4", clips.scene(2), rotation=degrees)
    frames, _ = frames_of(path)
    stored, _ = clips.read(path)
    np.testing.assert_array_equal(frames[0].image, np.rot90(stored[0], degrees // 90))


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_gives_what_can_be_read_of_a_truncated_file(tmp_path, ending):
    noise = np.random.default_rng(0).integers(0, 256, (50, 48, 64, 3)).astype(np.uint8)
    path = clips.write(tmp_path / f"clip.{ending}", noise, options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames, source = frames_of(path)
    assert 10 < len(frames) < 40
    (problem,) = source.problems
    stated = " of 50" if ending == "mp4" else ""
    assert f"is damaged or cut off: {len(frames)}{stated} frames could be read" in problem
    assert "of 2.0 seconds" in problem


def test_a_few_missing_frames_are_told_where_the_file_lists_them(tmp_path):
    path = clips.write(tmp_path / "clip.mp4", clips.scene(50), options={"movflags": "faststart"})
    with av.open(str(path)) as container:
        last = container.streams.video[0].index_entries[44]
    path.write_bytes(path.read_bytes()[: last.pos + last.size])  # not in the middle of one
    frames, source = frames_of(path)
    assert len(frames) == 45
    (problem,) = source.problems
    assert problem.startswith(f"{path} is damaged or cut off: 45 of 50 frames could be read, 1.")


def cut_between_key_frames(path):
    """Cuts a video half a second after a key frame; an edit list hides the frames in between."""
    whole = clips.write(path.with_name("whole.mp4"), clips.scene(50))
    with av.open(str(whole)) as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        shift = round(0.5 / source.streams.video[0].time_base)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = stream
                container.mux(packet)


@pytest.mark.parametrize(
    "name, make, count",
    [
        ("clip.mov", lambda path: clips.write(path, clips.scene(20), sound=True), 20),
        ("cut.mp4", cut_between_key_frames, 37),
        (
            "variable.mp4",
            lambda path: clips.write(path, clips.scene(5), times=[0, 40, 300, 310, 2000]),
            5,
        ),
        (
            "fragments.mp4",
            lambda path: clips.write(
                path, clips.scene(20), options={"movflags": "frag_every_frame+empty_moov"}
            ),
            20,
        ),
    ],
)
def test_of_a_whole_file_nothing_is_missing(tmp_path, name, make, count):
    make(tmp_path / name)
    frames, source = frames_of(tmp_path / name)
    assert len(frames) == count and source.problems == []


@pytest.mark.parametrize(
    "name, count",
    [("udacity_lanelines_solidWhiteRight.mp4", 221), ("udacity_vehicle_test_video.mp4", 38)],
)
def test_of_real_videos_nothing_is_missing(real_data, name, count):
    with open_frames(real_data / "videos" / name) as source:
        assert sum(1 for _ in source.frames) == count
    assert source.problems == []


def test_goes_on_behind_a_damaged_part(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (50, 48, 64, 3)).astype(np.uint8)
    path = clips.write(tmp_path / "clip.mp4", noise, options={"movflags": "faststart"})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    path.write_bytes(content)
    frames, source = frames_of(path)
    assert frames[-1].time > 1.8 and len(source.problems) == 1


def test_images_of_a_folder_come_by_name(tmp_path):
    for name in ("b", "c", "a"):
        Image.new("RGB", (20, 10), (ord(name), 0, 0)).save(tmp_path / f"{name}.png")
    (tmp_path / "bb.jpg").write_text("no image")
    frames, source = frames_of(tmp_path)
    assert [frame.name for frame in frames] == ["a", "b", "c"]
    assert [frame.image[0, 0, 0] for frame in frames] == [97, 98, 99]
    assert [25 * frame.time for frame in frames] == [0, 1, 3]
    (problem,) = source.problems
    assert "bb.jpg" in problem and "cannot be read" in problem and problem.endswith("; skipped")


def test_images_of_a_folder_with_damaged_metadata_and_hidden_files(tmp_path):
    image = Image.new("RGB", (20, 10), (9, 0, 0))
    # An entry of the type of another one, for which Pillow raises errors of several classes.
    exif = struct.pack("<2sHIHHHIIHHII", b"II", 42, 8, 2, 0x128, 5, 1, 0, 0x112, 3, 1, 6)
    image.save(tmp_path / "a.jpg", exif=b"Exif\0\0" + exif + bytes(4))
    image.save(tmp_path / "b.png")
    (tmp_path / "._a.jpg").write_text("no image")
    frames, source = frames_of(tmp_path)
    assert [frame.image.shape for frame in frames] == [(20, 10, 3), (10, 20, 3)]
    assert source.problems == []


def test_images_of_a_folder_that_people_have(cases):
    frames, source = frames_of(cases / "bad-exif")
    assert len(frames) == len([*(cases / "bad-exif").iterdir()]) and source.problems == []
    frames, source = frames_of(cases / "hidden-files")
    assert [frame.name for frame in frames] == ["b"] and source.problems == []


def test_a_damaged_length_in_the_tags_is_no_length(tmp_path):
    path = clips.write(tmp_path / "clip.mkv", clips.scene(3), rate=10)
    length, damaged = b"00:00:00.300000000", b"1/0:xx:..300000000"
    data = path.read_bytes()
    assert length in data
    path.write_bytes(data.replace(length, damaged))
    frames, source = frames_of(path)
    assert len(frames) == 3 and source.problems == []


@pytest.mark.parametrize("tag", ["alpha_mode", "ALPHA_MODE"])
def test_tags_in_upper_or_lower_case(tag):
    context = types.SimpleNamespace(name="vp9")
    stream = types.SimpleNamespace(metadata={tag: "1"}, codec_context=context)
    assert sources._alpha_decoder(stream).name == "libvpx-vp9"
    stream.metadata = {tag: "0"}
    assert sources._alpha_decoder(stream) is None


@pytest.mark.parametrize(
    ("codec", "pixels", "ending"),
    [
        ("qtrle", "argb", "mov"),
        ("ffv1", "bgra", "mkv"),
        ("prores_ks", "yuva444p10le", "mov"),
        ("libvpx", "yuva420p", "webm"),
        ("libvpx-vp9", "yuva420p", "webm"),
    ],
)
def test_transparent_pixels_are_blended_with_white(tmp_path, codec, pixels, ending):
    rgba = np.zeros((48, 64, 4), np.uint8)
    rgba[..., 0] = 200
    rgba[:24, :, 3] = 255
    rgba[24:, :32, 3] = 128  # the rest is transparent
    path = tmp_path / f"clip.{ending}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        stream.options = {"profile": "4444"} if codec == "prores_ks" else {}
        if "vpx" in codec:
            stream.options = {"auto-alt-ref": "0"}
        frame = av.VideoFrame.from_ndarray(rgba, format="rgba")
        for packet in (*stream.encode(frame), *stream.encode()):
            container.mux(packet)
    frames, source = frames_of(path)
    assert source.problems == []
    for row, column, expected in (
        (5, 5, (200, 0, 0)),
        (40, 10, (227, 127, 127)),
        (40, 50, (255, 255, 255)),
    ):
        np.testing.assert_allclose(frames[0].image[row, column], expected, atol=3)


def test_numbers_in_names_count_by_their_value(tmp_path):
    names = ["1", "2", "09", "9", "10", "a1b2", "a1b10", "a2", "b"]
    for name in names:
        Image.new("RGB", (20, 10)).save(tmp_path / f"{name}.png")
    frames, _ = frames_of(tmp_path)
    assert [frame.name for frame in frames] == names


def sound_only(path):
    with av.open(str(path), "w") as container:
        audio = container.add_stream("aac", 16000, layout="mono")
        chunk = av.AudioFrame.from_ndarray(np.zeros((1, 1024), "f4"), format="fltp", layout="mono")
        chunk.sample_rate, chunk.pts = 16000, 0
        container.mux(audio.encode(chunk))
        container.mux(audio.encode(None))


def header_only(path):
    clips.write(path, clips.scene(20), options={"movflags": "faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"mdat") + 8])


@pytest.mark.parametrize(
    "name, make, message",
    [
        ("text.txt", lambda path: path.write_text("hello\n" * 100), "has no video"),
        ("text.mp4", lambda path: path.write_text("hello\n" * 100), "cannot be read as a video"),
        ("empty.mp4", lambda path: path.touch(), "cannot be read as a video"),
        ("sound.mp4", sound_only, "has no video"),
        ("header.mp4", header_only, "has no frame that can be read"),
        ("nothing.mp4", lambda path: None, "no such file; expected a video"),
        ("folder", lambda path: path.mkdir(), "no image found"),
    ],
)
def test_what_is_no_video_is_refused_in_one_line(tmp_path, name, make, message):
    make(tmp_path / name)
    with pytest.raises(UserError, match=message) as raised:
        frames_of(tmp_path / name)
    assert name in str(raised.value) and "\n" not in str(raised.value)


def test_a_number_is_a_webcam():
    with pytest.raises(UserError, match="webcam 63: not found"):
        frames_of("63")
