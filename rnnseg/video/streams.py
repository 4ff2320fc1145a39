"""The choice of a video stream in a file with several."""

import os

from av.container import InputContainer
from av.stream import Disposition

from rnnseg.errors import UserError


def choose_stream(
    path: str | os.PathLike, container: InputContainer, number: int | None = None
) -> tuple:
    """Returns the video stream that a player would show, or the one of a given number.

    As FFmpeg chooses: streams that are marked as default come first, then those of the largest
    frames, then the first of the file. Attached images, such as the cover of an album, are no
    video.

    Args:
      path: the file, for messages.
      container: the PyAV container.
      number: the number of the stream in the file, as `ffprobe` counts, from 0; None to choose.

    Returns:
      The stream, and one line that tells of the choice; None if there was none.

    Raises:
      UserError: no video, no such video stream, or one that cannot be decoded.
    """
    streams = container.streams.video
    videos = [each for each in streams if not _is_attached(each)]
    if number is not None:
        found = [each for each in streams if each.index == number]
        if not found:
            there = ", ".join(map(_described, streams)) or "none"
            raise UserError(
                f"{path}: --stream {number}: expected the number of one of its video streams: "
                f"{there}"
            )
        return _decodable(path, found[0]), None
    if not videos:
        covers = ", ".join(map(_described, streams))
        hint = f"; its attached image is stream {covers}: choose it by --stream" if streams else ""
        raise UserError(f"{path} has no video{hint}")
    chosen = max(videos, key=_rank)
    told = None
    if len(streams) > 1:
        others = ", ".join(_described(each) for each in streams if each is not chosen)
        told = f"{path}: segmenting stream {_described(chosen)}, not {others}"
        if len(videos) > 1:
            told += "; choose by --stream"
    return _decodable(path, chosen), told


def _rank(stream) -> tuple:
    area = stream.width * stream.height if stream.codec_context else 0
    is_default = bool(stream.disposition & Disposition.default)
    return stream.codec_context is not None, is_default, area, -stream.index


def _is_attached(stream) -> bool:
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def _described(stream) -> str:
    if stream.codec_context is None:
        return f"{stream.index} (unknown codec)"
    what = ", attached image" if _is_attached(stream) else ""
    size = f"{stream.height}x{stream.width}"
    return f"{stream.index} ({stream.codec_context.name}, {size}{what})"


def _decodable(path, stream):
    if stream.codec_context is None:
        raise UserError(
            f"{path}: stream {stream.index} has a codec that PyAV cannot decode: convert it to "
            "H.264 first"
        )
    return stream
