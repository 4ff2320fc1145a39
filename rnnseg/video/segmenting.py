"""Segmentation of a whole video, from its source to its output."""

import contextlib
import dataclasses
import signal
import statistics
import threading
import time
from collections.abc import Iterator

from tqdm import tqdm

from rnnseg.errors import UserError
from rnnseg.video.outputs import Output
from rnnseg.video.segmenter import VideoSegmenter
from rnnseg.video.sources import FrameSource


@dataclasses.dataclass(frozen=True)
class Segmented:
    """The summary of a segmented video.

    Attributes:
      frames: the number of frames that were written.
      cuts: the numbers of the frames, from 0, with which another scene begins.
      milliseconds: the time of segmentation per frame, the median; without reading, drawing and
        writing.
      rate: frames per second, everything included.
      stopped: True if it was stopped before the end.
    """

    frames: int
    cuts: tuple[int, ...]
    milliseconds: float
    rate: float
    stopped: bool


def segment_video(video: VideoSegmenter, source: FrameSource, output: Output) -> Segmented:
    """Segments all frames.

    Ctrl-C or SIGTERM ends it after the current frame and keeps the frames that are done; a second
    one ends it at once.

    Args:
      video: the segmenter.
      source: from `rnnseg.video.sources.open_frames`.
      output: from `rnnseg.video.outputs.open_output`.

    Raises:
      UserError: frames that are too small or cannot be written, or no frames.
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
        raise UserError(f"{source.origin} has no frame that can be read")
    return Segmented(
        frames=count,
        cuts=tuple(cuts),
        milliseconds=statistics.median(milliseconds),
        rate=count / (time.perf_counter() - start),
        stopped=stopped.is_set(),
    )


@contextlib.contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turns the first Ctrl-C or SIGTERM in its block into an event, so that the frame ends."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped  # only the main thread can handle signals
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
