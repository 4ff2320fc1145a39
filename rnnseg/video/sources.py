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

from rnnseg.errors import UserError

# What images of a folder are played at, and a file or a webcam that does not say.
_USUAL_RATE = Fraction(25)

# Of most formats, a file's own account of its length may be off by some frames; more than this is
# missing.
_MISSING_SECONDS = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """One frame.

    Attributes:
      image: RGB, uint8 `(height, width, 3)`, upright.
      time: when it is shown, in seconds from the beginning.
      name: for a file of its own.
    """

    image: np.ndarray
    time: Fraction
    name: str


@dataclasses.dataclass(eq=False)
class Source:
    """Where frames come from.

    Attributes:
      frames: all of them, once; only the one in hand is in memory.
      rate: frames a second, on the whole.
      time_base: what all times are multiples of, in seconds.
      count: how many frames there are, as far as that is known beforehand.
      pixel_aspect: the width of a pixel, of its height.
      origin: the file or the folder; None: there is none.
      sound: whether there is audio in it.
      endless: whether frames come until somebody stops.
      problems: what could not be read, a line each, as far as it is known by now.
    """

    frames: Iterator[Frame]
    rate: Fraction
    time_base: Fraction
    count: int | None = None
    pixel_aspect: Fraction = Fraction(1)
    origin: pathlib.Path | None = None
    sound: bool = False
    endless: bool = False
    problems: list[str] = dataclasses.field(default_factory=list)


@contextlib.contextmanager
def open_frames(name: str | os.PathLike) -> Iterator[Source]:
    """Opens a video file, a folder of images (by name, numbers by value), or a webcam.

    Args:
      name: a path, or a webcam's number such as "0".

    Raises:
      UserError: nothing there, or nothing that can be read as a video.
    """
    path = pathlib.Path(name)
    if path.is_dir():
        yield _folder(path)
    elif path.exists():
        with open_container(path) as container:
            yield _file(path, container)
    elif str(name).isdecimal():
        with _webcam(int(str(name))) as source:
            yield source
    else:
        raise UserError(
            f"{name}: no such file; expected a video, a folder of images or a webcam's number"
        )


def open_container(path: pathlib.Path):
    """Opens a video file.

    Returns:
      A PyAV container, which closes as a context manager.

    Raises:
      UserError: not a video.
    """
    try:
        container = av.open(f"file:{path}")  # what comes before a colon would be a protocol
    except (av.FFmpegError, LookupError) as error:  # PyAV stumbles over a container without format
        raise UserError(f"{path} cannot be read as a video: {reason(error)}") from error
    # FFmpeg plays any text, as a terminal would show it.
    if container.format.name == "tty" or not container.streams.video:
        container.close()
        raise UserError(f"{path} holds no video")
    return container


def reason(error: Exception) -> str:
    """What FFmpeg has to say, in one line."""
    return getattr(error, "strerror", None) or str(error)


# --- video files ---


def _file(path, container) -> Source:
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    rate = stream.average_rate or stream.guessed_rate or _USUAL_RATE
    seconds = _length(container, stream)
    source = Source(
        frames=iter(()),
        rate=rate,
        time_base=stream.time_base,
        count=stream.frames or (round(seconds * rate) if seconds else None),
        origin=path,
        sound=bool(container.streams.audio),
    )
    decoded = _decode(path, container, stream, source, seconds)
    first = next(decoded, None)
    if first is None:
        raise UserError(f"{path} holds no frame that can be read")
    source.pixel_aspect = stream.sample_aspect_ratio or Fraction(1)
    if _quarter_turns(first[0]) % 2:
        source.pixel_aspect = 1 / source.pixel_aspect
    start = Fraction(container.start_time or 0, av.time_base)
    source.frames = (
        Frame(_upright(image), when - start, f"{number:06d}")
        for number, (image, when) in enumerate(itertools.chain([first], decoded))
    )
    return source


def _length(container, stream) -> Fraction | None:
    """How many seconds there should be, as far as the file says it."""
    if stream.duration:
        return stream.duration * stream.time_base
    if "DURATION" in stream.metadata:  # Matroska's, such as 00:00:01.200000000
        hours, minutes, seconds = map(Fraction, stream.metadata["DURATION"].split(":"))
        return 3600 * hours + 60 * minutes + seconds
    # That of the longest stream, which may be another one.
    return Fraction(container.duration, av.time_base) if container.duration else None


def _decode(path, container, stream, source, seconds):
    """Decodes what can be, and in the end notes what is missing.

    Yields:
      An image, and when it is shown, in seconds by the file's own clock.
    """
    number, whole, damaged, first, when = 0, 0, False, None, None
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                break
            frames = packet.decode()
        except av.FFmpegError:
            damaged = True  # one packet, or all that follow: the next one will tell
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
    if first is None:
        return
    read = when - first + 1 / source.rate
    stated, length = "", f" of {float(seconds):.1f}" if seconds else ""
    if "mp4" in container.format.name:
        # All packets are listed, also those that are decoded and not shown, of which there are some
        # where a cut fell between two key frames. How long the last frame is shown is up to it.
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


def _quarter_turns(frame) -> int:
    """How often an image has to be turned by 90 degrees against the clock to be upright."""
    return round(frame.rotation / 90) % 4


def _upright(frame) -> np.ndarray:
    image = frame.to_ndarray(format="rgb24")
    # Segmenters know the world upright, so that a note of how to turn it is not enough.
    return np.ascontiguousarray(np.rot90(image, _quarter_turns(frame)))


# --- images and webcams ---


def _folder(path) -> Source:
    from rnnseg.data.images import find_images, read_image

    files = sorted(find_images([str(path)]), key=lambda file: (_by_value(file.stem), file.stem))
    names = [file.stem for file in files]
    for earlier, later in itertools.pairwise(files):
        if earlier.stem == later.stem:
            raise UserError(f"{earlier} and {later} have one name: leave one frame of the two")
    source = Source(iter(()), _USUAL_RATE, 1 / _USUAL_RATE, count=len(files), origin=path)

    def frames():
        for number, (file, name) in enumerate(zip(files, names, strict=True)):
            try:
                image = read_image(file)
            except UserError as error:
                source.problems.append(f"{error}; left out")
                continue
            yield Frame(image, number / _USUAL_RATE, name)

    source.frames = frames()
    return source


def _by_value(name: str) -> list[str | int]:
    """A key that puts 2 before 10: its text, and at every second place a number."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


@contextlib.contextmanager
def _webcam(number: int) -> Iterator[Source]:
    import cv2

    log = cv2.utils.logging
    before = log.setLogLevel(log.LOG_LEVEL_SILENT)  # it would print all that it tries
    capture = cv2.VideoCapture(number)
    log.setLogLevel(before)
    try:
        if not capture.isOpened():
            raise UserError(f"webcam {number}: there is none, or another program has it")
        rate = Fraction(capture.get(cv2.CAP_PROP_FPS) or _USUAL_RATE).limit_denominator(1001)

        def frames():
            start = time.monotonic()
            for number in itertools.count():
                there, image = capture.read()
                if not there:
                    return
                # When it came: a webcam gives fewer frames in the dark, or where nobody takes them.
                microseconds = round(1e6 * (time.monotonic() - start))
                image = np.ascontiguousarray(image[..., ::-1])
                yield Frame(image, Fraction(microseconds, 1_000_000), f"{number:06d}")

        yield Source(frames(), rate, Fraction(1, 1_000_000), endless=True)
    finally:
        capture.release()
