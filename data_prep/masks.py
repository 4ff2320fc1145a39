"""Reading of mask files as labels: grey or palette indices, or colours."""

import functools
from collections.abc import Collection

import numpy as np

from rnnseg.data.classes import ClassTable
from rnnseg.data.images import encode_png
from rnnseg.data.metadata import png_bits
from rnnseg.errors import UserError

from .archives import File
from .common import decode_file, some

ENCODINGS = ("auto", "index", "color")

_UNKNOWN = 256  # in the tables: neither a class nor ignored
# Pillow stretches grey PNGs of 2 and 4 bits to 0-255.
_GREY_STEP = {2: 85, 4: 17}


class MaskReader:
    """A reader that turns mask files into labels.

    In an index mask (grey of 1 to 16 bits, or palette), the value of a pixel stands for its class;
    a palette only affects the display and is never applied. In a colour mask, the colour of a pixel
    stands for its class.
    """

    def __init__(
        self,
        table: ClassTable,
        encoding: str = "auto",
        index_way_out: str = "",
        color_way_out: str = "",
    ):
        """Keeps the classes and the encoding of the masks.

        Args:
          table: the classes, and the values and colours that stand for them.
          encoding: `"index"` or `"color"` for all masks; `"auto"` reads RGB masks as colours and
            all others as indices.
          index_way_out: the end of messages about an unknown value, after the values expected;
            `{value}` stands for the value found.
          color_way_out: the end of messages about an unknown colour; `{value}` stands for it.
        """
        self._table = table
        self._encoding = encoding
        self._index_way_out = index_way_out
        self._color_way_out = color_way_out

    def __reduce__(self):
        # Without the lookup tables, which are large; other processes make their own.
        return MaskReader, (self._table, self._encoding, self._index_way_out, self._color_way_out)

    def read(self, file: File) -> np.ndarray:
        """Reads one mask.

        Args:
          file: a PNG.

        Returns:
          Labels, uint8 `(h, w)`: class indices, or `IGNORE_LABEL`.

        Raises:
          UserError: the file is unreadable or not a mask of the expected encoding, or a value or
            colour in it is neither a class nor ignored.
        """
        return self._read(file)[1]

    def read_label(self, file: File) -> tuple[bytes, tuple[int, int]]:
        """Reads one mask for a record.

        Args:
          file: a PNG.

        Returns:
          The labels as an 8-bit grey PNG, which is the file itself if it holds nothing else, and
          their (width, height).

        Raises:
          UserError: an error of `read`.
        """
        data, labels, unchanged = self._read(file)
        return data if unchanged else encode_png(labels), labels.shape[::-1]

    def _read(self, file: File) -> tuple[bytes, np.ndarray, bool]:
        """Returns the file's bytes, its labels, and True if it is an 8-bit grey PNG of these."""
        data, mask, _ = decode_file(file)
        if mask.format != "PNG":
            raise UserError(f"{file}: a {mask.format} mask, expected PNG, which is lossless")
        bits = png_bits(data)
        by_color = self._encoding == "color" or (
            self._encoding == "auto" and mask.mode in ("RGB", "RGBA")
        )
        if by_color:
            labels = self._labels_from_colors(file, mask, bits)
        else:
            labels = self._labels_from_indices(file, mask, bits)
        # Some decoders turn a transparent grey value into an additional channel.
        is_plain = mask.mode == "L" and bits == 8 and "transparency" not in mask.info
        return data, labels, is_plain and np.array_equal(labels, np.asarray(mask))

    def _labels_from_indices(self, file, mask, bits):
        if mask.mode not in ("1", "L", "P", "I", "I;16", "I;16B"):
            raise UserError(
                f"{file}: a mask in mode {mask.mode}, expected class indices, grey or palette"
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
                f"{file}: value {some(found)} (first at column {column}, row {row}) with "
                f"{len(self._table.names)} classes, expected {_ranges(self._table.values)}"
                + self._index_way_out.replace("{value}", found[0])
            )
        return labels.astype(np.uint8)

    def _labels_from_colors(self, file, mask, bits):
        if self._table.color_values is None:
            raise UserError(
                f"{file}: a colour mask ({mask.mode}), but the classes have no colours; give every "
                "class its colour in the classes file: name R G B"
            )
        usable = mask.mode in ("1", "L", "P", "RGB", "RGBA") and bits <= 8
        transparent = usable and mask.has_transparency_data
        if not usable or (transparent and mask.convert("RGBA").getextrema()[3] != (255, 255)):
            raise UserError(
                f"{file}: a mask in mode {mask.mode} of {bits} bits"
                + (" with transparent pixels" if transparent else "")
                + ", expected colours of 8 bits per channel without transparency"
            )
        colors = np.asarray(mask.convert("RGB"))
        labels = self._color_table[_color_codes(colors)]
        unknown = labels == _UNKNOWN
        if unknown.any():
            row, column = np.argwhere(unknown)[0]
            color = " ".join(str(value) for value in colors[row, column])
            raise UserError(
                f"{file}: colour {color} (first at column {column}, row {row}) is none of the "
                f"{len(self._table.names)} classes' colours"
                + self._color_way_out.replace("{value}", color.replace(" ", ","))
            )
        return labels.astype(np.uint8)

    @functools.cached_property
    def _index_table(self) -> np.ndarray:
        """Labels, or `_UNKNOWN`, by value: `(2^16,)`."""
        table = np.full(1 << 16, _UNKNOWN, np.uint16)
        table[list(self._table.values)] = list(self._table.values.values())
        return table

    @functools.cached_property
    def _color_table(self) -> np.ndarray:
        """Labels, or `_UNKNOWN`, by colour code: `(2^24,)`, 32 MB."""
        table = np.full(1 << 24, _UNKNOWN, np.uint16)
        colors = self._table.color_values
        table[_color_codes(list(colors))] = list(colors.values())
        return table


def _color_codes(colors) -> np.ndarray:
    """Returns one integer per colour: `(…, 3)` of 0-255 to `(…)` of 0 to 2^24 - 1."""
    red, green, blue = np.moveaxis(np.asarray(colors, np.int32), -1, 0)
    return (red << 16) | (green << 8) | blue


def _ranges(values: Collection[int]) -> str:
    """Lists values, with consecutive values as ranges: `0 to 10, 255`."""
    ranges = []
    for value in sorted(values):
        if ranges and value == ranges[-1][1] + 1:
            ranges[-1][1] = value
        else:
            ranges.append([value, value])
    return some([f"{low} to {high}" if low < high else str(low) for low, high in ranges], 8)
