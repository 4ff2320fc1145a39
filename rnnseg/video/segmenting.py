"""Segments a whole video: frames in, frames out, and what came of it."""

import contextlib
import dataclasses
import signal
import statistics
import threading
import time
from collections.abc import Iterator

from tqdm import tqdm

from rnnseg.errors import UserError
from rnnseg.video.segmenter import VideoSegmenter
from rnnseg.video.sources import Source


@dataclasses.dataclass(frozen=True)
class Segmented:
    """What came of a video.

    Attributes:
      frames: how many were written.
      cuts: the numbers of the frames, from 0, at which another scene was seen to begin.
      milliseconds: that segmenting took a frame, the median; without reading, drawing and writing.
      rate: frames a second, all in all.
      stopped: whether somebody stopped it before its end.
    """

    frames: int
    cuts: tuple[int, ...]
    milliseconds: float
    rate: float
    stopped: bool


def segment_video(video: VideoSegmenter, source: Source, output) -> Segmented:
    """Segments all frames.

    Ctrl-C or SIGTERM ends it after the frame in hand, and what is done is kept; a second one ends
    it at once.

    Args:
      video: the segmenter.
      source: from `rnnseg.video.sources.open_frames`.
      output: from `rnnseg.video.outputs.open_output`.

    Raises:
      UserError: frames that are too small or cannot be written, or none at all.
    """
    cuts, milliseconds = [], []
    start = time.perf_counter()
    with _interruptible() as stopped:
        frames = tqdm(source.frames, "video", source.count, unit=" frames", disable=None)
        for number, frame in enumerate(frames):
            result = video(frame.image)
            output.write(frame, result.classes, video.colors)
            milliseconds.append(result.milliseconds)
            if result.cut:
                cuts.append(number)
            if stopped.is_set():
                break
        else:
            output.complete()
    count = len(milliseconds)
    if not count:
        raise UserError(f"{source.origin} holds no frame that can be read")
    return Segmented(
        frames=count,
        cuts=tuple(cuts),
        milliseconds=statistics.median(milliseconds),
        rate=count / (time.perf_counter() - start),
        stopped=stopped.is_set(),
    )


@contextlib.contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turns the first Ctrl-C or SIGTERM of its block into an event, to finish the frame."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped  # signals are the main thread's
        return

    def handle(*_):
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    before = {each: signal.signal(each, handle) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
