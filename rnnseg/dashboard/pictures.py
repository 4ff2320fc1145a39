"""A few pictures of a split with their class maps, small enough for event files."""

import dataclasses
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from rnnseg import visualize
from rnnseg.data.pipeline import decode
from rnnseg.data.source import IGNORE_LABEL, Source
from rnnseg.evaluation import Evaluator

_LONGEST_SIDE = 640
_JPEG_QUALITY = 90


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """One picture of a data set.

    Attributes:
      name: of it.
      image: RGB, uint8 `(h, w, 3)`.
      label: class indices or `IGNORE_LABEL`, uint8 `(h, w)`.
    """

    name: str
    image: np.ndarray
    label: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Strip:
    """A picture and what a model made of it, as files.

    Attributes:
      name: of the picture.
      image: JPEG.
      label: palette PNG; ignored pixels are transparent.
      maps: palette PNGs, one a number of iterations.
    """

    name: str
    image: bytes
    label: bytes
    maps: tuple[bytes, ...]


def read_pictures(source: Source, split: str, count: int) -> list[Picture]:
    """Some pictures, evenly spread over a split, where neighbours may be frames of one clip.

    Args:
      source: the data.
      split: its split.
      count: how many; fewer where the split is smaller.
    """
    size = source.require_split(split)
    wanted = {(2 * index + 1) * size // (2 * count) for index in range(count)}
    pictures = []
    for index, example in enumerate(source.read(split)):
        if index in wanted:
            image, label = (each.numpy() for each in decode(example))
            pictures.append(Picture(example["name"].numpy().decode(), image, label))
        if len(pictures) == len(wanted):
            break
    return pictures


def make_strip(evaluator: Evaluator, picture: Picture, colors: Sequence[Sequence[int]]) -> Strip:
    """Segments a picture at all the numbers of iterations that an evaluator has.

    Args:
      evaluator: of the model.
      picture: what to segment.
      colors: (red, green, blue) of 0-255 a class.
    """
    height, width = picture.label.shape
    factor = min(1.0, _LONGEST_SIDE / max(height, width))
    size = (max(1, round(factor * width)), max(1, round(factor * height)))
    image = Image.fromarray(picture.image).resize(size, Image.Resampling.BOX)
    return Strip(
        picture.name,
        _encode(image, "JPEG", quality=_JPEG_QUALITY),
        _encode_map(picture.label, colors, size),
        tuple(_encode_map(each, colors, size) for each in evaluator.class_maps(picture.image)),
    )


def _encode_map(labels, colors, size) -> bytes:
    picture = visualize.class_map_picture(labels, colors).resize(size, Image.Resampling.NEAREST)
    return _encode(picture, "PNG", transparency=IGNORE_LABEL, optimize=True)


def _encode(picture: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()
