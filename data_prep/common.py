"""What the builders share: plans of what to build, checked images, one way to fail."""

import dataclasses
import io
import os
import pathlib
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any

from PIL import Image

from rnnseg.errors import UserError

from .archives import File

# What the readers of the records decode alike. MPO is what Pillow calls a JPEG file with a preview
# or a second view behind the image, as many cameras write; decoders read the image itself.
_JPEG_FORMATS = ("JPEG", "MPO")
_IMAGE_MODES = {"JPEG": ("RGB", "L"), "PNG": ("RGB", "L", "P", "1")}
_EXIF_ORIENTATION = 0x0112
# The last bytes of every whole PNG. Pillow reads files without them, TensorFlow does not.
_PNG_END = b"IEND\xaeB`\x82"


@dataclasses.dataclass(frozen=True)
class Pair:
    """One labelled image.

    Attributes:
      name: what it is called in the records, unique in its split.
      image: the image's file.
      mask: the file with its labels.
    """

    name: str
    image: File
    mask: File

    @property
    def files(self) -> tuple[File, ...]:
        """All files that its record is made from."""
        return self.image, self.mask


@dataclasses.dataclass(frozen=True)
class BuildPlan:
    """Everything that decides what a build writes, settled before anything is written.

    Attributes:
      class_names: one name a class.
      class_colors: one (red, green, blue) of 0-255 a class.
      splits: the labelled images of every split.
      arguments: what the user asked for, as JSON can hold it.
      make_example: makes the values of one labelled image's record: its name, and files as
        bytes. Can be sent to another process.
      full_sizes: number of images in the splits of the full data set, where that is known.
      missing: names of the images that a split has in the full data set, and that are not there.
    """

    class_names: tuple[str, ...]
    class_colors: tuple[tuple[int, int, int], ...]
    splits: Mapping[str, tuple[Pair, ...]]
    arguments: Mapping[str, Any]
    make_example: Callable[[Pair], dict[str, bytes | str]]
    full_sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    missing: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def some(items: Collection[str], count: int = 3) -> str:
    """The first few of `items` and how many more there are."""
    rest = len(items) - count
    return ", ".join(list(items)[:count]) + (f" and {rest} more" if rest > 0 else "")


def read_image(path: File, as_stored: bool = False) -> tuple[bytes, tuple[int, int]]:
    """Reads an image and makes sure that it can be decoded to its last row.

    Args:
      path: a JPEG or PNG file: RGB, grey or palette, 8 bits or fewer a channel.
      as_stored: whether the labels are known to be of the image as it is stored, so that it does
        not matter if its EXIF data turn it.

    Returns:
      The file's bytes, and the image's (width, height).

    Raises:
      UserError: the file is unreadable or truncated, or no such image.
    """
    data, image = decode_file(path)
    kind = "JPEG" if image.format in _JPEG_FORMATS else image.format
    if kind not in _IMAGE_MODES:
        raise UserError(f"{path}: a {kind} image, expected JPEG or PNG; convert it")
    if image.mode not in _IMAGE_MODES[kind] or (kind == "PNG" and png_bits(data) == 16):
        bits = f" of {png_bits(data)} bits" if kind == "PNG" else ""
        raise UserError(
            f"{path}: a {kind} image in mode {image.mode}{bits}, expected RGB, grey or palette "
            "with 8 bits a channel and no transparency; convert it to RGB"
        )
    orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    if orientation != 1 and not as_stored:
        raise UserError(
            f"{path}: stored turned or mirrored (EXIF orientation {orientation}), which readers of "
            "the records do not undo; save image and mask upright"
        )
    return data, image.size


def decode_file(path: File) -> tuple[bytes, Image.Image]:
    """Reads and wholly decodes an image file.

    Returns:
      The file's bytes and the decoded image.

    Raises:
      UserError: the file is missing, truncated, or no image that Pillow knows.
    """
    try:
        data = path.read_bytes()
        with warnings.catch_warnings():
            # Pillow warns of images of half the size that it refuses.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
        image.load()
    except UserError:
        raise  # of an archive, which is a ValueError as well
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{path}: too large an image, expected at most {2 * Image.MAX_IMAGE_PIXELS} pixels; "
            "cut it into tiles"
        ) from error
    # Pillow's decoders raise all of these on damaged files.
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        unknown = isinstance(error, Image.UnidentifiedImageError)
        reason = "no image format that is known" if unknown else error
        raise UserError(f"{path}: cannot be read ({reason}); replace the file") from error
    if image.format == "PNG" and _PNG_END not in data:
        raise UserError(f"{path}: truncated PNG, its end is missing; replace the file")
    return data, image


def png_bits(data: bytes) -> int:
    """Bits a channel of a PNG file, 1 to 16; Pillow's mode does not tell them apart."""
    return data[24]


def absolute(path: str | os.PathLike) -> pathlib.Path:
    """The path as it is stored with a build: independent of the working folder."""
    return pathlib.Path(os.path.abspath(path))
