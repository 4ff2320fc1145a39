"""Encoding of video files, frame by frame, with the audio of their source."""

import os
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import Colorspace

from rnnseg.video.sources import FrameSource, open_container

# Encoders in the order of preference; a build of FFmpeg may lack some. Their options: a constant
# quality that blurs no border, and speed, since segmentation needs the processor.
_ENCODERS = {
    "libx264": {"crf": "20", "preset": "veryfast"},
    "libopenh264": {},
    "mpeg4": {"qmin": "2", "qmax": "5"},
}

# MPEG-4 divides a second into at most 65535 steps; 60000 steps hold all usual rates.
_MOST_STEPS, _USUAL_STEPS = 65535, 60000

_BT709 = 1  # the number of BT.709 in ITU-T H.273, for primaries, transfer and matrix


class VideoFile:
    """An .mp4 file with H.264 (MPEG-4 if that is missing) and a copy of the audio of its source.

    A context manager; the file is complete at the end of its block.

    Args:
      path: the file to write.
      source: the source of the frames. Its problems get a note of audio that cannot be copied.
    """

    def __init__(self, path: str | os.PathLike, source: FrameSource):
        self._source = source
        self._time_base = source.time_base
        if self._time_base.denominator > _MOST_STEPS:
            self._time_base = Fraction(1, _USUAL_STEPS)
        self._container = av.open(
            f"file:{path}", "w", format="mp4", options={"movflags": "faststart"}
        )
        self._stream: Any = None
        self._audio: _Audio | None = None
        self._last = -1
        self._complete = False

    def complete(self) -> None:
        """Marks the video as complete, so that audio after the last frame is copied, too."""
        self._complete = True

    def write(self, image: np.ndarray, time: Fraction) -> None:
        """Adds a frame.

        Args:
          image: RGB, uint8 `(height, width, 3)`; scaled to the size of the first frame.
          time: the time at which it is shown, in seconds.
        """
        # The colour planes have half the size, so that sides have to be even.
        height, width = image.shape[:2]
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._stream is None:
            self._begin(*image.shape[:2])
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
            self._stream.width, self._stream.height, "yuv420p", dst_colorspace=Colorspace.ITU709
        )
        self._last = max(round(time / self._time_base), self._last + 1)
        frame.pts, frame.time_base = self._last, self._time_base
        self._container.mux(self._stream.encode(frame))
        if self._audio is not None:
            self._audio.copy(time)

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._stream is not None:
                self._container.mux(self._stream.encode(None))
                if self._audio is not None and self._complete:
                    self._audio.copy()
        finally:
            if self._audio is not None:
                self._audio.close()
            self._container.close()

    def _begin(self, height, width):
        name = next(name for name in _ENCODERS if name in av.codecs_available)
        stream = self._container.add_stream(name, self._source.rate, options=_ENCODERS[name])
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = self._time_base
        context.sample_aspect_ratio = self._source.pixel_aspect
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        if self._source.has_audio:
            self._audio = _Audio(self._source, self._container)
        self._stream = stream


class _Audio:
    """Copies the audio of a file unchanged, up to the present time of the video.

    It opens the file a second time, so that the reader of frames need not keep audio packets.
    """

    def __init__(self, source: FrameSource, output: OutputContainer):
        assert source.origin is not None  # what has audio is a file
        self._input = open_container(source.origin)
        self._output = output
        self._start = Fraction(self._input.start_time or 0, av.time_base)
        self._copies: dict[int, Any] = {}
        self._last: dict[int, int] = {}
        for stream in self._input.streams.audio:
            # There is none for a codec that FFmpeg does not know.
            codec = stream.codec_context.name if stream.codec_context else "an unknown codec"
            if codec in output.supported_codecs:
                self._copies[stream.index] = output.add_stream_from_template(stream)
            else:
                source.problems.append(f"{source.origin}: .mp4 cannot hold its audio ({codec})")
        streams = [self._input.streams[index] for index in self._copies]
        self._packets = self._input.demux(streams) if streams else iter(())
        self._next = self._read()

    def copy(self, until: Fraction | None = None) -> None:
        """Copies the audio that begins by a time, in seconds of the video; None for all of it."""
        while self._next is not None:
            packet = self._next
            if until is not None and packet.dts * packet.time_base - self._start > until:
                return
            index, shift = packet.stream.index, round(self._start / packet.time_base)
            packet.dts -= shift
            if packet.pts is not None:
                packet.pts -= shift
            packet.stream = self._copies[index]
            self._output.mux(packet)
            self._next = self._read()

    def close(self) -> None:
        """Closes the file."""
        self._input.close()

    def _read(self):
        """Returns the next packet that can be copied, or None at the end."""
        while True:
            try:
                packet = next(self._packets, None)
            except av.FFmpegError:
                return None  # the reader of frames reports that the file is damaged
            if packet is None:
                return None
            # Skips the empty packet at the end, and packets that would go back in time.
            index = packet.stream.index
            if packet.dts is not None and packet.dts > self._last.get(index, packet.dts - 1):
                self._last[index] = packet.dts
                return packet
