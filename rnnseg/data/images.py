"""Finding and reading image files."""

import glob
import os
import pathlib
from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from rnnseg.errors import UserError

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def find_images(arguments: Iterable[str]) -> list[pathlib.Path]:
    """Lists the image files named by files, folders and patterns, without duplicates.

    Args:
      arguments: files, folders (for all images directly in them) or patterns such as "in/*.jpg".

    Returns:
      Paths in the order of the arguments, sorted by name within each argument.

    Raises:
      UserError: an argument names no image.
    """
    found = {}
    for argument in arguments:
        path = pathlib.Path(argument)
        if argument and path.is_dir():
            files = sorted(each for each in path.iterdir() if each.suffix.lower() in IMAGE_ENDINGS)
        elif path.is_file():
            files = [path]
        else:
            files = sorted(map(pathlib.Path, glob.glob(argument, recursive=True)))
            files = [each for each in files if each.suffix.lower() in IMAGE_ENDINGS]
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
      uint8 RGB, `(h, w, 3)`, turned upright as the EXIF data say. Transparent pixels are blended
      with white; 16 bits per channel are scaled to 8.

    Raises:
      UserError: the file is not a readable image.
    """
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I"):
                # Pillow would clip 16 bits at 255.
                values = np.asarray(image)
                if values.min() < 0 or values.max() > 65535:
                    raise UserError(f"{path}: values of 32 bits; expected 8 or 16 bits per channel")
                image = Image.fromarray((values // 257).astype(np.uint8))
            if image.mode == "F":
                raise UserError(
                    f"{path}: a floating-point image; expected 8 or 16 bits per channel"
                )
            if image.has_transparency_data:
                # The colours stored behind transparent pixels are not what a viewer shows.
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image.convert("RGBA"))
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as an image: {error}") from error
