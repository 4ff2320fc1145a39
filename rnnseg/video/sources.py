"""Frames of a video file, of a webcam, or of a folder of images, one at a time."""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import re
import time
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer

from rnnseg._renamed import RenamedAttribute, renamed_attributes
from rnnseg.errors import UserError
from rnnseg.video.colors import FrameColors, describe_colors
from rnnseg.video.orientation import orientation_of
from rnnseg.video.streams import choose_stream

__getattr__ = renamed_attributes(__name__, {"Source": "FrameSource"})

# The rate of the images of a folder, and of a file or a webcam that does not state its own.
_USUAL_RATE = Fraction(25)

# In most formats, the stated length of a file may be wrong by some frames. Only if more than this
# is missing, the file is reported as damaged.
_MISSING_SECONDS = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """A frame.

    Attributes:
      image: RGB, uint8 `(height, width, 3)`, upright.
      time: the time at which it is shown, in seconds from the beginning.
      name: the name for a file of its own, without an ending.
    """

    image: np.ndarray
    time: Fraction
    name: str


@dataclasses.dataclass(eq=False)
class FrameSource:
    """A source of frames.

    Attributes:
      frames: all frames, to be iterated over once; only the current one is in memory.
      rate: the average number of frames per second.
      time_base: the unit of all times, in seconds.
      count: the number of frames; None if it is not known beforehand.
      pixel_aspect: the width of a pixel divided by its height.
      origin: the file or the folder; None for a webcam.
      has_audio: True if the file has audio.
      endless: True if frames keep coming until somebody stops.
      problems: one line for each problem in reading, so far.
      notes: one line for each thing that was chosen or converted and that users should know of.
    """

    frames: Iterator[Frame]
    rate: Fraction
    time_base: Fraction
    count: int | None = None
    pixel_aspect: Fraction = Fraction(1)
    origin: pathlib.Path | None = None
    has_audio: bool = False
    endless: bool = False
    problems: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    sound = RenamedAttribute("has_audio")


@contextlib.contextmanager
def open_frames(name: str | os.PathLike, stream: int | None = None) -> Iterator[FrameSource]:
    """Opens a video file, a folder of images (sorted by name, numbers by value), or a webcam.

    Args:
      name: a path, or the number of a webcam, such as "0".
      stream: the number of the video stream in a file with several, as `ffprobe` counts; None for
        the one that a player would show (`rnnseg.video.streams`).

    Yields:
      The source.

    Raises:
      UserError: no such file or stream, or a file that cannot be read as a video.
    """
    path = pathlib.Path(name)
    is_webcam = not path.exists() and str(name).isdecimal()
    if stream is not None and (path.is_dir() or is_webcam):
        kind = "a webcam" if is_webcam else "a folder"
        raise UserError(
            f"--stream {stream}: {name} is {kind}, and only video files have several streams: "
            "leave it out"
        )
    if path.is_dir():
        yield _folder(path)
    elif path.exists():
        with open_container(path) as container:
            yield _file(path, container, stream)
    elif is_webcam:
        with _webcam(int(str(name))) as source:
            yield source
    else:
        raise UserError(
            f"{name}: no such file; expected a video, a folder of images or the number of a webcam"
        )


def open_container(path: pathlib.Path) -> InputContainer:
    """Opens a video file.

    Args:
      path: the file.

    Returns:
      A PyAV container, a context manager that closes it.

    Raises:
      UserError: the file is no video.
    """
    try:
        # Without "file:", FFmpeg takes the part of a path before a colon for a protocol.
        container = av.open(f"file:{path}")
    except (av.FFmpegError, LookupError) as error:  # PyAV fails on a container without a format
        raise UserError(f"{path} cannot be read as a video: {reason(error)}") from error
    # FFmpeg reads any text as a video of a terminal.
    if container.format.name == "tty" or not container.streams.video:
        container.close()
        raise UserError(f"{path} has no video")
    return container


def reason(error: Exception) -> str:
    """Returns the message of an error of FFmpeg, in one line."""
    return getattr(error, "strerror", None) or str(error)


# --- video files ---


def _file(path, container, number) -> FrameSource:
    stream, told = choose_stream(path, container, number)
    stream.thread_type = "AUTO"
    rate = stream.average_rate or stream.guessed_rate or _USUAL_RATE
    seconds = _length(container, stream)
    source = FrameSource(
        frames=iter(()),
        rate=rate,
        time_base=stream.time_base,
        count=stream.frames or (round(seconds * rate) if seconds else None),
        origin=path,
        has_audio=bool(container.streams.audio),
        notes=[told] if told else [],
    )
    decoded = _decode(path, container, stream, source, seconds)
    first = next(decoded, None)
    if first is None:
        raise UserError(f"{path} has no frame that can be read")
    orientation = orientation_of(first[0])
    if orientation.problem:
        source.problems.append(f"{path}: {orientation.problem}")
    source.pixel_aspect = stream.sample_aspect_ratio or Fraction(1)
    if orientation.transposed:
        source.pixel_aspect = 1 / source.pixel_aspect
    colors = FrameColors()
    converted, problem = describe_colors(first[0])
    source.notes += [f"{path}: {converted}"] if converted else []
    source.problems += [f"{path}: {problem}"] if problem else []
    start = Fraction(container.start_time or 0, av.time_base)
    source.frames = (
        # Models are trained on upright images of the standard range.
        Frame(orientation_of(frame).apply(colors.rgb(frame)), when - start, f"{number:06d}")
        for number, (frame, when) in enumerate(itertools.chain([first], decoded))
    )
    return source


def _length(container, stream) -> Fraction | None:
    """Returns the length that a file states, in seconds; None if it states none."""
    if stream.duration:
        return stream.duration * stream.time_base
    # Matroska's, such as 00:00:01.200000000
    if match := re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)\s*", _tag(stream, "duration")):
        hours, minutes, seconds = map(Fraction, match.groups())
        return 3600 * hours + 60 * minutes + seconds
    # The length of the longest stream, which may be another one.
    return Fraction(container.duration, av.time_base) if container.duration else None


def _tag(stream, name: str) -> str:
    """Returns a text of the metadata, whose names writers put in upper or lower case; or ""."""
    return next((text for key, text in stream.metadata.items() if key.lower() == name), "")


def _alpha_decoder(stream) -> av.CodecContext | None:
    """Returns the decoder of a WebM stream with opacities, which FFmpeg's own one leaves out."""
    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name)
    if _tag(stream, "alpha_mode") != "1" or name not in av.codecs_available:
        return None
    return av.CodecContext.create(name, "r")


def _decode(path, container, stream, source, seconds):
    """Decodes all frames that can be decoded, and notes missing ones at the end.

    Yields:
      A frame of PyAV, and the time at which it is shown, in seconds by the clock of the file.
    """
    number, whole, damaged, first, when = 0, 0, False, None, None
    packets, decoder = container.demux(stream), _alpha_decoder(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                break
            frames = packet.decode() if decoder is None else decoder.decode(packet)
        except av.FFmpegError:
            damaged = True  # a single packet, or all that follow
            continue
        whole += packet.size > 0 and not packet.is_corrupt
        for frame in frames:
            if frame.pts is not None:
                when = frame.pts * frame.time_base
            else:
                when = Fraction(0) if when is None else when + 1 / source.rate
            first = when if first is None else first
            number += 1
            yield frame, when
    if first is None or when is None:
        return
    read = when - first + 1 / source.rate
    stated, length = "", f" of {float(seconds):.1f}" if seconds else ""
    if "mp4" in container.format.name:
        # The index lists all packets, including those that are decoded but not shown, as in a video
        # that was cut between two key frames. The duration of the last frame may be anything, so
        # that packets are counted and not seconds.
        packets = [entry for entry in stream.index_entries if entry.size]
        missing = whole < len(packets)
        stated = f" of {sum(not entry.is_discard for entry in packets)}"
    else:
        missing = seconds and seconds - read > _MISSING_SECONDS
    if damaged or missing:
        source.problems.append(
            f"{path} is damaged or cut off: {number}{stated} frames could be read, "
            f"{float(read):.1f}{length} seconds"
        )


# --- images and webcams ---


def _folder(path) -> FrameSource:
    from rnnseg.data.images import find_images, read_image

    files = sorted(find_images([str(path)]), key=lambda file: (_by_value(file.stem), file.stem))
    names = [file.stem for file in files]
    for earlier, later in itertools.pairwise(files):
        if earlier.stem == later.stem:
            raise UserError(f"{earlier} and {later} have the same name: remove one of them")
    source = FrameSource(iter(()), _USUAL_RATE, 1 / _USUAL_RATE, count=len(files), origin=path)

    def frames():
        for number, (file, name) in enumerate(zip(files, names, strict=True)):
            try:
                image = read_image(file)
            except UserError as error:
                source.problems.append(f"{error}; skipped")
                continue
            yield Frame(image, number / _USUAL_RATE, name)

    source.frames = frames()
    return source


def _by_value(name: str) -> list[str | int]:
    """Returns a sort key that puts 2 before 10: pieces of text and numbers in turn."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


@contextlib.contextmanager
def _webcam(number: int) -> Iterator[FrameSource]:
    import cv2

    log = cv2.utils.logging
    before = log.setLogLevel(log.LOG_LEVEL_SILENT)  # OpenCV would print its failed attempts
    capture = cv2.VideoCapture(number)
    log.setLogLevel(before)
    try:
        if not capture.isOpened():
            raise UserError(f"webcam {number}: not found, or in use by another program")
        rate = Fraction(capture.get(cv2.CAP_PROP_FPS) or _USUAL_RATE).limit_denominator(1001)

        def frames():
            start = time.monotonic()
            for number in itertools.count():
                there, image = capture.read()
                if not there:
                    return
                # The time of arrival: a webcam sends fewer frames in the dark, and frames are
                # dropped while nobody reads them.
                microseconds = round(1e6 * (time.monotonic() - start))
                image = np.ascontiguousarray(image[..., ::-1])
                yield Frame(image, Fraction(microseconds, 1_000_000), f"{number:06d}")

        yield FrameSource(frames(), rate, Fraction(1, 1_000_000), endless=True)
    finally:
        capture.release()
