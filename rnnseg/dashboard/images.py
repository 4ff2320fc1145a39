"""Some images of a split with their class maps, small enough for event files."""

import dataclasses
import io
from collections.abc import Sequence

from PIL import Image

from rnnseg import visualize
from rnnseg.data.source import IGNORE_LABEL, Source
from rnnseg.evaluation.evaluator import Evaluator
from rnnseg.evaluation.examples import Example, read_examples

_LONGEST_SIDE = 640
_JPEG_QUALITY = 90


@dataclasses.dataclass(frozen=True, eq=False)
class Strip:
    """An image, its label and its class maps, encoded as files.

    Attributes:
      name: the name of the image.
      image: the image, JPEG.
      label: the label, palette PNG; ignored pixels are transparent.
      maps: the class maps, palette PNGs, one per number of iterations.
    """

    name: str
    image: bytes
    label: bytes
    maps: tuple[bytes, ...]


def read_images(source: Source, split: str, count: int) -> list[Example]:
    """Reads some images, evenly spread over a split, in which neighbours may show the same scene.

    Args:
      source: the data.
      split: the split.
      count: the number of images; all of them if the split has fewer.
    """
    size = source.require_split(split)
    wanted = {(2 * index + 1) * size // (2 * count) for index in range(count)}
    return list(read_examples(source, split, wanted).values())


def make_strip(evaluator: Evaluator, example: Example, colors: Sequence[Sequence[int]]) -> Strip:
    """Segments an image with every number of iterations of an evaluator.

    Args:
      evaluator: the evaluator of the model.
      example: the image.
      colors: one (red, green, blue) of 0-255 per class.
    """
    height, width = example.label.shape
    factor = min(1.0, _LONGEST_SIDE / max(height, width))
    size = (max(1, round(factor * width)), max(1, round(factor * height)))
    image = Image.fromarray(example.image).resize(size, Image.Resampling.BOX)
    return Strip(
        example.name,
        _encode(image, "JPEG", quality=_JPEG_QUALITY),
        _encode_map(example.label, colors, size),
        tuple(_encode_map(each, colors, size) for each in evaluator.class_maps(example.image)),
    )


def _encode_map(labels, colors, size) -> bytes:
    image = visualize.class_map_image(labels, colors).resize(size, Image.Resampling.NEAREST)
    return _encode(image, "PNG", transparency=IGNORE_LABEL, optimize=True)


def _encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
