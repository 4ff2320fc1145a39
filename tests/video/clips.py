"""Small videos, for tests."""

from fractions import Fraction

import av
import numpy as np


def scene(count, size=(48, 64), seed=0) -> list[np.ndarray]:
    """Returns frames of a camera that moves to the right by two pixels per frame."""
    height, width = size
    rng = np.random.default_rng(seed)
    # Blocks of colours from one corner of the cube, so that scenes differ.
    low = rng.integers(0, 160, 3)
    wall = rng.integers(low, low + 96, (height // 8 + 1, (width + 2 * count) // 8 + 1, 3))
    wall = wall.repeat(8, 0).repeat(8, 1).astype(np.uint8)
    return [wall[:height, 2 * number : 2 * number + width] for number in range(count)]


def write(path, frames, rate=25, times=None, sound=False, options=None, rotation=0):
    """Writes a video.

    Args:
      path: the file; its ending determines the format.
      frames: RGB, uint8, of one even size.
      rate: frames per second.
      times: the time of each frame, in milliseconds; None for times at the rate.
      sound: True for audio, half a second longer than the images.
      options: options of the format.
      rotation: the rotation noted for players, in degrees counterclockwise.

    Returns:
      The path.
    """
    with av.open(str(path), "w", options=options or {}) as container:
        video = container.add_stream("libx264", rate)
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        if times is not None:
            video.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            video.set_display_rotation(rotation)
        if sound:
            audio = container.add_stream("aac", 16000, layout="mono")
        for number, image in enumerate(frames):
            example = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            if times is not None:
                example.pts, example.time_base = times[number], Fraction(1, 1000)
            container.mux(video.encode(example))
        container.mux(video.encode(None))
        if sound:
            rng = np.random.default_rng(0)
            for number in range(round(16000 * (len(frames) / rate + 0.5)) // 1024):
                noise = rng.uniform(-0.5, 0.5, (1, 1024)).astype(np.float32)
                chunk = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
                chunk.sample_rate, chunk.pts = 16000, 1024 * number
                container.mux(audio.encode(chunk))
            container.mux(audio.encode(None))
    return path


def read(path):
    """Returns the frames of a video, uint8 RGB, and their times, in seconds."""
    with av.open(str(path)) as container:
        examples = list(container.decode(video=0))
    return [example.to_ndarray(format="rgb24") for example in examples], [
        example.time for example in examples
    ]


def read_sound(path) -> list[tuple[float, bytes]]:
    """Returns the packets of the audio of a file, each with its time in seconds."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return []
        packets = [each for each in container.demux(audio=0) if each.dts is not None]
        return [(float(packet.pts * packet.time_base), bytes(packet)) for packet in packets]
