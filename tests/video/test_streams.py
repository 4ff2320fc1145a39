import types

import av
import numpy as np
import pytest
from av.stream import Disposition

from rnnseg import UserError
from rnnseg.video.sources import open_frames
from rnnseg.video.streams import choose_stream


def write(path, *streams):
    """Writes a video of one frame in several streams: a codec, a size and a disposition each."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        added = []
        for codec, size, disposition in streams:
            stream = container.add_stream(codec, 10)
            stream.width = stream.height = size
            stream.pix_fmt = "yuvj444p" if codec == "mjpeg" else "yuv420p"
            stream.disposition = disposition
            added.append(stream)
        for stream in added:
            image = rng.integers(0, 256, (stream.height, stream.width, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
    return path


def read(path, stream=None):
    with open_frames(path, stream) as source:
        return [frame.image.shape[0] for frame in source.frames], source


PLAIN = Disposition(0)


@pytest.mark.parametrize(
    "streams, chosen",
    [
        ([(32, PLAIN), (64, PLAIN), (48, PLAIN)], 64),
        ([(32, Disposition.default), (64, PLAIN)], 32),
        ([(32, Disposition.default), (64, Disposition.default)], 64),
        ([(64, PLAIN), (64, PLAIN)], 64),
    ],
)
def test_takes_the_stream_that_a_player_shows_and_tells(tmp_path, streams, chosen):
    path = write(tmp_path / "clip.mkv", *(("libx264", *each) for each in streams))
    sizes, source = read(path)
    assert sizes == [chosen] and not source.problems
    (note,) = source.notes
    number = [size for size, _ in streams].index(chosen)
    assert f"segmenting stream {number} (h264, {chosen}x{chosen}), not " in note
    assert note.endswith("choose by --stream")
    for number, (size, _) in enumerate(streams):
        sizes, source = read(path, number)
        assert sizes == [size] and source.notes == []


def test_a_cover_is_no_video(tmp_path):
    cover = "mjpeg", 96, Disposition.attached_pic
    path = write(tmp_path / "both.mp4", cover, ("libx264", 32, PLAIN))
    sizes, source = read(path)
    assert sizes == [32] and "96x96, attached image)" in source.notes[0]
    path = write(tmp_path / "cover.mp4", cover)
    with pytest.raises(UserError, match=r"cover\.mp4 has no video; its attached image is stream 0"):
        read(path)
    assert read(path, 0)[0] == [96]


def test_the_order_in_the_file_does_not_count():
    """PyAV writes a cover last; other programs write it first."""

    def stream(index, disposition, size):
        codec = types.SimpleNamespace(name="codec")
        return types.SimpleNamespace(
            index=index, disposition=disposition, width=size, height=size, codec_context=codec
        )

    cover, thumbnails = Disposition.attached_pic, Disposition.timed_thumbnails
    videos = [stream(0, cover, 900), stream(2, thumbnails, 900), stream(3, PLAIN, 32)]
    container = types.SimpleNamespace(streams=types.SimpleNamespace(video=videos))
    assert choose_stream("clip.mp4", container)[0] is videos[2]
    videos[2].codec_context = None
    with pytest.raises(UserError, match=r"clip\.mp4: stream 3 has a codec that"):
        choose_stream("clip.mp4", container)


def test_a_stream_that_is_none_is_refused(tmp_path):
    path = write(tmp_path / "clip.mkv", ("libx264", 32, PLAIN), ("libx264", 48, PLAIN))
    message = r"clip\.mkv: --stream 2: expected .*: 0 \(h264, 32x32\), 1 \(h264, 48x48\)$"
    with pytest.raises(UserError, match=message):
        read(path, 2)
    with pytest.raises(UserError, match="is a folder, and only video files"):
        read(tmp_path, 0)
    with pytest.raises(UserError, match="63 is a webcam, and only video files"):
        read("63", 0)
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "no.mp4", 0)


def test_a_cover_before_the_video(cases):
    sizes, source = read(cases / "cover-art-first" / "cover_first.mp4")
    assert sizes == [112] * 15 and source.count == 15
