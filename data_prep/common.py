"""The plan of a build, and the reading and checking of image files."""

import dataclasses
import os
import pathlib
import unicodedata
from collections.abc import Callable, Collection, Mapping
from typing import Any

from PIL import Image

from rnnseg.data.images import encode_png, open_image, to_rgb, turn_upright
from rnnseg.data.metadata import UPRIGHT, is_plain
from rnnseg.errors import UserError

from .archives import File

# The last bytes of every complete PNG. Pillow reads files without them, TensorFlow does not.
_PNG_END = b"IEND\xaeB`\x82"


@dataclasses.dataclass(frozen=True)
class Pair:
    """One labelled image.

    Attributes:
      name: the name in the records, unique in its split.
      image: the file of the image.
      mask: the file of the labels.
    """

    name: str
    image: File
    mask: File

    @property
    def files(self) -> tuple[File, ...]:
        """All files from which the record is made."""
        return self.image, self.mask


@dataclasses.dataclass(frozen=True)
class BuildPlan:
    """The complete description of a build, made before anything is written.

    Attributes:
      class_names: one name per class.
      class_colors: one (red, green, blue) of 0-255 per class.
      splits: the labelled images of every split.
      arguments: the arguments of the user, in a form that JSON can hold.
      make_example: makes the values of the record of one labelled image: its name, and files as
        bytes. Can be sent to another process.
      full_sizes: the number of images in the splits of the full data set, if known.
      missing: the names of images that a split of the full data set has but that do not exist here.
    """

    class_names: tuple[str, ...]
    class_colors: tuple[tuple[int, int, int], ...]
    splits: Mapping[str, tuple[Pair, ...]]
    arguments: Mapping[str, Any]
    make_example: Callable[[Pair], dict[str, bytes | str]]
    full_sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    missing: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def some(items: Collection[str], count: int = 3) -> str:
    """Lists the first `count` items and the number of the others."""
    rest = len(items) - count
    return ", ".join(list(items)[:count]) + (f" and {rest} more" if rest > 0 else "")


def composed(name: str) -> str:
    """Returns a name with accents as parts of letters, as most systems write it; macOS does not."""
    return unicodedata.normalize("NFC", name)


def read_encoded_image(path: File, as_stored: bool = False) -> tuple[bytes, tuple[int, int]]:
    """Reads an image file for a record and checks that it can be decoded to its last row.

    Args:
      path: an image file of any format, as `rnnseg.data.images` reads it.
      as_stored: True if the labels belong to the image as it is stored, so that an orientation in
        its metadata does not matter.

    Returns:
      The bytes of the file if all decoders read the same colours from it (`is_plain`), or else
      those colours as a PNG; and the (width, height) of the image.

    Raises:
      UserError: the file is unreadable or truncated, or it is stored turned or mirrored.
    """
    data, image, orientation = decode_file(path)
    if orientation != UPRIGHT and not as_stored:
        raise UserError(
            f"{path}: stored turned or mirrored (EXIF orientation {orientation}), which readers of "
            "the records do not undo; save the image and its mask upright"
        )
    return _as_it_is(data, image, path), image.size


def read_upright_image(
    path: File, label_size: tuple[int, int]
) -> tuple[bytes, tuple[int, int], int]:
    """Reads an image file for a record, and turns it upright if its metadata say so.

    Args:
      path: as in `read_encoded_image`.
      label_size: the (width, height) of the labels, which tell whether these are upright.

    Returns:
      As `read_encoded_image`, with turned images as PNG; and the orientation of the labels, 1 if
      they are upright. It is meaningless if the labels fit neither the upright nor the stored
      image.

    Raises:
      UserError: the file is unreadable or truncated, or the labels have the same size either way.
    """
    data, image, orientation = decode_file(path)
    if orientation == UPRIGHT:
        return _as_it_is(data, image, path), image.size, UPRIGHT
    pixels = turn_upright(to_rgb(image, data, str(path)), orientation)
    size = pixels.shape[1::-1]
    if size == image.size:
        raise UserError(
            f"{path}: stored turned or mirrored (EXIF orientation {orientation}), and the size "
            "does not tell whether its mask is upright; save the image and its mask upright"
        )
    return encode_png(pixels), size, orientation if label_size == image.size else UPRIGHT


def _as_it_is(data: bytes, image: Image.Image, path: File) -> bytes:
    """Returns a file that all decoders read alike: itself, or its colours as a PNG."""
    return data if is_plain(data) else encode_png(to_rgb(image, data, str(path)))


def decode_file(path: File) -> tuple[bytes, Image.Image, int]:
    """Reads and completely decodes an image file.

    Returns:
      The bytes of the file, the decoded image as it is stored, and its orientation as in EXIF.

    Raises:
      UserError: the file is missing, truncated, or not an image that Pillow knows.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}); replace the file"
        ) from error
    image, orientation = open_image(data, str(path))
    if image.format == "PNG" and _PNG_END not in data:
        raise UserError(f"{path}: truncated PNG, its end is missing; replace the file")
    return data, image, orientation


def absolute(path: str | os.PathLike) -> pathlib.Path:
    """Returns a path that does not depend on the working folder, to be stored with a build."""
    return pathlib.Path(os.path.abspath(path))
