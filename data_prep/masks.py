"""From mask files to labels: class indices as they are, through a palette, or by colour."""

import io
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from data_prep.common import decode_file, png_bits, some
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError

ENCODINGS = ("auto", "index", "color")

_UNKNOWN = 256  # in the tables: no class, and not ignored
# Grey PNGs of 2 and 4 bits come from Pillow stretched to 0-255.
_GREY_STEP = {2: 85, 4: 17}


class MaskReader:
    """Turns mask files into labels.

    An index mask (grey of 1 to 16 bits, or palette) holds the class of every pixel; a palette is
    only how it looks, and is never applied. A colour mask holds the class's colour.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_indices: Sequence[int] = (),
        colors: Sequence[tuple[int, int, int]] | None = None,
        ignore_colors: Sequence[tuple[int, int, int]] = (),
        encoding: str = "auto",
        index_way_out: str = "",
        color_way_out: str = "",
    ):
        """Makes the tables.

        Args:
          num_classes: 1 to 255.
          ignore_indices: values of index masks that become `IGNORE_LABEL`, 0 to 65535. They come
            before the classes, so that a class can be ignored too.
          colors: the classes' (red, green, blue), for colour masks.
          ignore_colors: colours of colour masks that become `IGNORE_LABEL`.
          encoding: `"index"` or `"color"` for all masks, or `"auto"`: RGB is colour, all other
            index.
          index_way_out: how a message about an unknown value goes on after the values expected;
            `{value}` stands for the one found.
          color_way_out: how a message about an unknown colour goes on.
        """
        self.num_classes = num_classes
        self._encoding = encoding
        self._index_way_out = index_way_out
        self._color_way_out = color_way_out
        self._index_table = np.full(1 << 16, _UNKNOWN, np.uint16)
        self._index_table[:num_classes] = np.arange(num_classes)
        self._index_table[list(ignore_indices)] = IGNORE_LABEL
        self._color_table = None
        if colors is not None:
            self._color_table = np.full(1 << 24, _UNKNOWN, np.uint16)
            self._color_table[_color_codes(colors)] = np.arange(num_classes)
            if ignore_colors:
                self._color_table[_color_codes(ignore_colors)] = IGNORE_LABEL

    def read(self, path: pathlib.Path) -> np.ndarray:
        """Reads one mask.

        Args:
          path: a PNG file.

        Returns:
          Labels, uint8 `(h, w)`: class indices, or `IGNORE_LABEL`.

        Raises:
          UserError: the file is unreadable or no mask of the expected kind, or a value or colour
            in it is neither a class nor ignored.
        """
        data, mask = decode_file(path)
        if mask.format != "PNG":
            raise UserError(f"{path}: a {mask.format} mask, expected PNG, which keeps every value")
        by_color = self._encoding == "color" or (
            self._encoding == "auto" and mask.mode in ("RGB", "RGBA")
        )
        if by_color:
            return self._labels_from_colors(path, mask, png_bits(data))
        return self._labels_from_indices(path, mask, png_bits(data))

    def _labels_from_indices(self, path, mask, bits):
        if mask.mode not in ("1", "L", "P", "I", "I;16", "I;16B"):
            raise UserError(
                f"{path}: a mask in mode {mask.mode}, expected class indices, grey or palette"
            )
        values = np.asarray(mask).astype(np.uint16)
        if mask.mode == "L":
            values //= _GREY_STEP.get(bits, 1)
        labels = self._index_table[values]
        unknown = labels == _UNKNOWN
        if unknown.any():
            found = [str(value) for value in np.unique(values[unknown])]
            row, column = np.argwhere(unknown)[0]
            raise UserError(
                f"{path}: value {some(found)} (first at column {column}, row {row}) with "
                f"{self.num_classes} classes, expected 0 to {self.num_classes - 1}"
                + self._index_way_out.replace("{value}", found[0])
            )
        return labels.astype(np.uint8)

    def _labels_from_colors(self, path, mask, bits):
        if self._color_table is None:
            raise UserError(
                f"{path}: a colour mask ({mask.mode}), but the classes have no colours; give every "
                "class its colour in the classes file: name R G B"
            )
        opaque = mask.mode != "RGBA" or mask.getextrema()[3] == (255, 255)
        if mask.mode not in ("1", "L", "P", "RGB", "RGBA") or bits == 16 or not opaque:
            raise UserError(
                f"{path}: a mask in mode {mask.mode} of {bits} bits, expected colours of 8 bits a "
                "channel without transparency"
            )
        colors = np.asarray(mask.convert("RGB"))
        labels = self._color_table[_color_codes(colors)]
        unknown = labels == _UNKNOWN
        if unknown.any():
            row, column = np.argwhere(unknown)[0]
            color = " ".join(str(value) for value in colors[row, column])
            raise UserError(
                f"{path}: colour {color} (first at column {column}, row {row}) is none of the "
                f"{self.num_classes} classes' colours"
                + self._color_way_out.replace("{value}", color.replace(" ", ","))
            )
        return labels.astype(np.uint8)


def encode_label(labels: np.ndarray) -> bytes:
    """The labels, uint8 `(h, w)`, as an 8-bit grey PNG."""
    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, "PNG")
    return buffer.getvalue()


def _color_codes(colors) -> np.ndarray:
    """One integer a colour: `(…, 3)` of 0-255 to `(…)` of 0 to 2^24 - 1."""
    red, green, blue = np.moveaxis(np.asarray(colors, np.int32), -1, 0)
    return (red << 16) | (green << 8) | blue
