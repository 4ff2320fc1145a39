"""Finding and reading image files: the one rule by which all commands see the same colours."""

import glob
import io
import os
import pathlib
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from rnnseg.data.metadata import UPRIGHT, find_orientation, png_bits, split_metadata
from rnnseg.errors import UserError, first_line

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

# How to undo each orientation of EXIF: exchange rows and columns, then reverse these and those.
_TURNS = {
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, 1, -1),
    7: (True, -1, -1),
    8: (True, -1, 1),
}

# Images are converted in bands of about so many pixels, so that large ones need little memory.
_BAND = 2**20


# By macOS, Windows and network drives.
_LEFT_BEHIND = ("__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "@eadir", "#recycle")


def is_hidden(name: str) -> bool:
    """Returns True for names that file managers leave behind, such as `._x.jpg`, `__MACOSX`."""
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


def find_images(arguments: Iterable[str]) -> list[pathlib.Path]:
    """Lists the image files named by files, folders and patterns, without duplicates.

    Args:
      arguments: files, folders (for all images directly in them) or patterns such as "in/*.jpg".
        Folders and patterns leave out hidden files.

    Returns:
      Paths in the order of the arguments, sorted by name within each argument.

    Raises:
      UserError: an argument names no image.
    """
    found: dict[pathlib.Path, None] = {}
    for argument in arguments:
        path = pathlib.Path(argument)
        if path.is_file():
            found[path] = None
            continue
        if argument and path.is_dir():
            files = sorted(path.iterdir())
        else:
            files = sorted(map(pathlib.Path, glob.glob(argument, recursive=True)))
        files = [
            each
            for each in files
            if each.suffix.lower() in IMAGE_ENDINGS
            and not is_hidden(each.name)
            and not each.is_dir()
        ]
        if not files:
            raise UserError(
                f"{argument}: no image found; expected a file, a folder or a pattern of "
                + ", ".join(IMAGE_ENDINGS)
            )
        found |= dict.fromkeys(files)
    return list(found)


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Reads an image file.

    Returns:
      uint8 RGB, `(h, w, 3)`, turned upright as the metadata say; otherwise as `decode_image`.

    Raises:
      UserError: the file is missing, or an error of `decode_image`.
    """
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read as an image ({error.strerror})") from error
    image, orientation = open_image(data, str(path))
    return turn_upright(to_rgb(image, data, str(path)), orientation)


def turn_upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turns an image or labels, uint8 `(h, w, …)`, as they are stored, upright.

    Args:
      image: the image or the labels.
      orientation: the orientation of the stored image as in EXIF, 1 to 8.
    """
    if orientation == UPRIGHT:
        return image
    exchanged, down, right = _TURNS[orientation]
    if exchanged:
        image = image.swapaxes(0, 1)
    return np.ascontiguousarray(image[::down, ::right])


def decode_image(data: bytes, where: str = "the image") -> np.ndarray:
    """Decodes an image file.

    Where pixels are transparent, they are blended with white. Of 16 bits per channel, the upper 8
    are taken. Of several images in a file, it is the first.

    Args:
      data: the file.
      where: its name in messages.

    Returns:
      uint8 RGB, `(h, w, 3)`, as it is stored.

    Raises:
      UserError: the file is damaged, of an unknown format, too large, or has values of more than 16
        bits or that are not whole.
    """
    return to_rgb(open_image(data, where)[0], data, where)


def open_image(data: bytes, where: str) -> tuple[Image.Image, int]:
    """Decodes the pixels of an image file, whatever its metadata hold.

    Args:
      data: the file.
      where: its name in messages.

    Returns:
      The decoded image, as it is stored, and its orientation as in EXIF, 1 to 8.

    Raises:
      UserError: the file is damaged, of an unknown format, or too large.
    """
    pixels, orientation = split_metadata(data)
    try:
        with warnings.catch_warnings():
            # Pillow warns of images above half the size that it refuses, and of damaged metadata.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(pixels))
            exif, xmp = (_bytes(image.info.get(key)) for key in ("exif", "xmp"))
            image.load()
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{where}: the image is too large, expected at most "
            f"{2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels; cut it into tiles"
        ) from error
    except MemoryError:
        raise
    # Pillow's decoders raise errors of many classes on damaged files, and have no common one.
    except Exception as error:
        unknown = isinstance(error, Image.UnidentifiedImageError)
        reason = "not a known image format" if unknown else first_line(error)
        raise UserError(
            f"{where}: cannot be read as an image ({reason}); replace the file"
        ) from error
    if orientation == UPRIGHT:  # of other formats, such as WebP, Pillow finds the metadata
        orientation = find_orientation(exif, xmp)
    return image, orientation


def _bytes(value: object) -> bytes:
    """Returns metadata as bytes; empty if Pillow gives none."""
    return value if isinstance(value, bytes) else str(value or "").encode()


def to_rgb(image: Image.Image, data: bytes, where: str) -> np.ndarray:
    """Turns a decoded image into RGB by the rule of `decode_image`.

    Args:
      image: the image, from `open_image`.
      data: the file.
      where: its name in messages.

    Raises:
      UserError: the image has values of more than 16 bits or that are not whole.
    """
    if image.mode == "F":
        raise UserError(
            f"{where}: a floating-point image, expected 8 or 16 bits per channel; convert it"
        )
    key = image.info.get("transparency")
    bits = png_bits(data) if image.format == "PNG" else 8
    # Of 16 bits per channel, Pillow keeps the upper 8, and a key has all of them.
    lower = None
    if bits == 16 and image.mode == "RGB" and key is not None:
        lower = _lower_bytes(data)
    width, height = image.size
    rgb = np.empty((height, width, 3), np.uint8)
    rows = max(1, _BAND // width)
    for top in range(0, height, rows):
        box = (0, top, width, min(top + rows, height))
        below = None if lower is None else np.asarray(lower.crop(box))
        rgb[top : top + rows] = _band_to_rgb(image.crop(box), key, bits, below, where)
    return rgb


def _band_to_rgb(
    image: Image.Image, key: Any, bits: int, lower: np.ndarray | None, where: str
) -> np.ndarray:
    """Turns a band of an image into RGB, uint8 `(h, w, 3)`.

    Args:
      image: the band.
      key: the colour that is transparent, or the opacities of a palette; None for neither.
      bits: the bits per channel of the file.
      lower: the lower bytes of a band of 16 bits per channel with a key, uint8 `(h, w, 3)`.
      where: the name of the file in messages.
    """
    if image.mode.startswith("I"):
        # Pillow would clip 16 bits at 255.
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise UserError(
                f"{where}: values of 32 bits, expected 8 or 16 bits per channel; convert it"
            )
        hidden = values == key if isinstance(key, int) else None
        return _hide(np.repeat((values >> 8).astype(np.uint8)[..., np.newaxis], 3, -1), hidden)
    if image.mode in ("1", "L", "RGB") and key is not None:
        rgb = np.array(image.convert("RGB"))
        # A single colour is transparent, given in the bits of the file, of which Pillow makes 8.
        key = np.array(key)
        if bits == 16:
            hidden = (rgb == key >> 8).all(-1)
            if lower is not None:
                hidden &= (lower == key & 0xFF).all(-1)
        else:
            hidden = (rgb == key * (255 // ((1 << bits) - 1))).all(-1)
        return _hide(rgb, hidden)
    if image.has_transparency_data:
        return on_white(image.convert("RGBA"))
    try:
        return np.asarray(image.convert("RGB"))
    except ValueError as error:
        raise UserError(
            f"{where}: an image in mode {image.mode}, expected grey, RGB, palette or CMYK; "
            "convert it"
        ) from error


def _lower_bytes(data: bytes) -> Image.Image:
    """Decodes the lower 8 bits of a PNG file of 16 bits per channel in place of the upper ones.

    The format has the upper byte first. Pillow takes the second one of two if they are said to be
    in the other order.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in open_image, which has decoded the file before
        image = Image.open(io.BytesIO(split_metadata(data)[0]))
        tiles: Any = [(*each[:3], "RGB;16L") for each in image.tile]
        image.tile = tiles
        image.load()
    return image


def encode_png(image: np.ndarray) -> bytes:
    """Encodes an image, uint8 `(h, w, 3)`, or labels, uint8 `(h, w)`, as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def on_white(image: Image.Image) -> np.ndarray:
    """Blends an RGBA image with white; returns uint8 RGB, `(h, w, 3)`.

    The colours stored behind transparent pixels are not what a viewer shows.
    """
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"))


def _hide(image: np.ndarray, hidden: np.ndarray | None) -> np.ndarray:
    """Makes the hidden pixels of an image white."""
    if hidden is not None:
        image[hidden] = 255
    return image
