"""The plan of a build, and the reading and checking of image files."""

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

# The formats and modes that all readers of the records decode alike. MPO is Pillow's name for JPEG
# files with a preview or a second view after the image, as many cameras write them; decoders ignore
# both.
_JPEG_FORMATS = ("JPEG", "MPO")
_IMAGE_MODES = {"JPEG": ("RGB", "L"), "PNG": ("RGB", "L", "P", "1")}
_EXIF_ORIENTATION = 0x0112
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


def read_encoded_image(path: File, as_stored: bool = False) -> tuple[bytes, tuple[int, int]]:
    """Reads an image file and checks that it can be decoded to its last row.

    Args:
      path: a JPEG or PNG file: RGB, grey or palette, with at most 8 bits per channel.
      as_stored: True if the labels belong to the image as it is stored, so that an orientation in
        its EXIF data does not matter.

    Returns:
      The bytes of the file, and the (width, height) of the image.

    Raises:
      UserError: the file is unreadable or truncated, or is not such an image.
    """
    data, image = decode_file(path)
    kind = "JPEG" if image.format in _JPEG_FORMATS else image.format
    if kind not in _IMAGE_MODES:
        raise UserError(f"{path}: a {kind} image, expected JPEG or PNG; convert it")
    if image.mode not in _IMAGE_MODES[kind] or (kind == "PNG" and png_bits(data) == 16):
        bits = f" of {png_bits(data)} bits" if kind == "PNG" else ""
        raise UserError(
            f"{path}: a {kind} image in mode {image.mode}{bits}, expected RGB, grey or palette "
            "with 8 bits per channel and no transparency; convert it to RGB"
        )
    orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    if orientation != 1 and not as_stored:
        raise UserError(
            f"{path}: stored turned or mirrored (EXIF orientation {orientation}), which readers of "
            "the records do not undo; save the image and its mask upright"
        )
    return data, image.size


def decode_file(path: File) -> tuple[bytes, Image.Image]:
    """Reads and completely decodes an image file.

    Returns:
      The bytes of the file and the decoded image.

    Raises:
      UserError: the file is missing, truncated, or not an image that Pillow knows.
    """
    try:
        data = path.read_bytes()
        with warnings.catch_warnings():
            # Pillow warns of images above half the size that it refuses.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
        image.load()
    except UserError:
        raise  # of a damaged archive; it is a ValueError, too
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{path}: the image is too large, expected at most {2 * Image.MAX_IMAGE_PIXELS} "
            "pixels; cut it into tiles"
        ) from error
    # Pillow's decoders raise all of these on damaged files.
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        unknown = isinstance(error, Image.UnidentifiedImageError)
        reason = "not a known image format" if unknown else error
        raise UserError(f"{path}: cannot be read ({reason}); replace the file") from error
    if image.format == "PNG" and _PNG_END not in data:
        raise UserError(f"{path}: truncated PNG, its end is missing; replace the file")
    return data, image


def png_bits(data: bytes) -> int:
    """Returns the bits per channel of a PNG file, 1 to 16, which Pillow's mode does not tell."""
    return data[24]


def absolute(path: str | os.PathLike) -> pathlib.Path:
    """Returns a path that does not depend on the working folder, to be stored with a build."""
    return pathlib.Path(os.path.abspath(path))
