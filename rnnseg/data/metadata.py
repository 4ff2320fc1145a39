"""The orientation in the metadata of image files, and files without any metadata.

Metadata are often damaged where the pixels are not: editors, cameras and messengers write them in
many ways. So the orientation is looked up by itself, whatever the other entries hold, and decoders
get files that hold nothing but what the pixels need.
"""

import re
import struct
import zlib
from collections.abc import Iterator

UPRIGHT = 1
"""The orientation of an image that is upright as it is stored."""

JPEG, PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
"""The first bytes of files."""

_ORIENTATION = 0x0112
_TIFF = {b"II*\0": "<", b"MM\0*": ">"}
# Types of TIFF for whole numbers, as `struct` calls them: other writers than cameras use others
# than SHORT, which is 3.
_WHOLE = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
_ENTRY = 12  # bytes of an entry of a TIFF directory
_XMP = re.compile(rb'tiff:Orientation(?:\s*=\s*["\']|>)\s*([0-9]+)')
_EXIF_START = b"Exif\0\0"
_MOST_TEXT = 1 << 20  # bytes of a compressed text that are unpacked

# What the pixels of a TIFF file need: sizes, samples, compression, places of the data, colours.
_PIXEL_TAGS = {
    *(256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324),
    *(325, 332, 338, 339, 347, 512, 513, 514, 519, 520, 521, 529, 530, 531, 532),
}
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_START_OF_SCAN, _JFIF, _ADOBE, _EXIF, _COMMENT = 0xDA, 0xE0, 0xEE, 0xE1, 0xFE
# Markers of JPEG files that begin a frame: 0xC0 to 0xCF without tables and extensions.
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def split_metadata(data: bytes) -> tuple[bytes, int]:
    """Separates the pixels of a JPEG, PNG or TIFF file from its metadata.

    Args:
      data: the file. Files of other formats and damaged files are left as they are.

    Returns:
      The file without metadata, and its orientation, from `find_orientation`.
    """
    if data.startswith(JPEG):
        return _split_jpeg(data)
    if data.startswith(PNG):
        return _split_png(data)
    if data[:4] in _TIFF:
        return _split_tiff(data)
    return data, UPRIGHT


def find_orientation(exif: bytes, xmp: bytes = b"") -> int:
    """Returns the orientation of an image, 1 to 8, as EXIF numbers them.

    It is that of the EXIF data, or of the XMP data if the former have none, or else 1. Values
    outside of 1 to 8 count as 1: 0 is what many programs write for "unknown".
    """
    while exif.startswith(_EXIF_START):
        exif = exif[len(_EXIF_START) :]
    found = _orientation_of(exif)
    if found is None:
        match = _XMP.search(xmp)
        found = int(match[1][:9]) if match else None
    return found if found is not None and 1 <= found <= 8 else UPRIGHT


def is_plain(data: bytes) -> bool:
    """Returns True for files that all decoders turn into the same colours.

    These are JPEG files of 1 or 3 channels, and PNG files of at most 8 bits per channel without
    transparency. Others leave choices to the decoder: the colour behind transparent pixels, the
    colours of inks, or the rounding of 16 bits.

    Args:
      data: the file.
    """
    if data.startswith(JPEG):
        for marker, start, end in _segments(data):
            if marker in _FRAMES:
                frame = data[start + 4 : end]
                return len(frame) > 5 and frame[0] == 8 and frame[5] in (1, 3)
        return False
    if data.startswith(PNG):
        return png_bits(data) <= 8 and not png_has_alpha(data)
    return False


def png_bits(data: bytes) -> int:
    """Returns the bits per channel of a PNG file, 1 to 16."""
    return data[24] if len(data) > 24 else 0


def png_has_alpha(data: bytes) -> bool:
    """Returns True if a PNG file has a channel of opacities or transparent colours."""
    if data[25:26] in (b"\x04", b"\x06"):
        return True
    for kind, _, _ in _chunks(data):
        if kind in (b"tRNS", b"IDAT"):
            return kind == b"tRNS"
    return False


def _orientation_of(tiff: bytes) -> int | None:
    """Returns the orientation in the first directory of a block in the format of TIFF files."""
    for entry, order in _entries(tiff):
        tag, kind, count = struct.unpack_from(order + "HHI", tiff, entry)
        if tag == _ORIENTATION and kind in _WHOLE and count:
            return struct.unpack_from(order + _WHOLE[kind], tiff, entry + 8)[0]
    return None


def _entries(tiff: bytes) -> Iterator[tuple[int, str]]:
    """Yields the offset of every whole entry of the first directory, and the byte order."""
    order = _TIFF.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    if start + 2 > len(tiff):
        return
    (count,) = struct.unpack_from(order + "H", tiff, start)
    for number in range(count):
        entry = start + 2 + number * _ENTRY
        if entry + _ENTRY > len(tiff):
            return
        yield entry, order


# --- JPEG ---


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields (marker, start, end) of the segments before the pixels; the last one begins these."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a filler
            position += 1
            continue
        if marker in (0x01, *range(0xD0, 0xD9)):  # markers without contents
            position += 2
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        yield marker, position, min(end, len(data))
        if marker == _START_OF_SCAN or end > len(data) or end < position + 4:
            return
        position = end


def _split_jpeg(data: bytes) -> tuple[bytes, int]:
    kept, exif, xmp, position = [data[:2]], b"", b"", 2
    for marker, start, end in _segments(data):
        content = data[start + 4 : end]
        if marker == _START_OF_SCAN:
            break
        if marker == _EXIF and content.startswith(_EXIF_START):
            # Data of more than 64 KB go on in further segments.
            exif += content.removeprefix(_EXIF_START)
        elif marker == _EXIF and b"adobe.com/xap" in content[:64]:
            xmp += content
        # Of these, the format of the colours is read.
        whole = (marker == _JFIF and content.startswith(b"JFIF\0") and len(content) >= 14) or (
            marker == _ADOBE and content.startswith(b"Adobe") and len(content) >= 12
        )
        if whole or not (_JFIF <= marker <= 0xEF or marker == _COMMENT):
            kept.append(data[start:end])
        position = end
    return b"".join([*kept, data[position:]]), find_orientation(exif, xmp)


# --- PNG ---


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields (kind, start, end) of the whole chunks."""
    position = len(PNG)
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if end > len(data):
            return
        yield data[position + 4 : position + 8], position, end
        position = end


def _split_png(data: bytes) -> tuple[bytes, int]:
    kept, exif, xmp, position = [data[: len(PNG)]], b"", b"", len(PNG)
    for kind, start, end in _chunks(data):
        content = data[start + 8 : end - 4]
        if kind in _PIXEL_CHUNKS:
            kept.append(data[start:end])
        elif kind == b"eXIf":
            exif = exif or content
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            keyword, text = _png_text(kind, content)
            if keyword in (b"Raw profile type exif", b"Raw profile type APP1"):
                exif = exif or _raw_profile(text)
            elif keyword == b"XML:com.adobe.xmp":
                xmp = xmp or text
        position = end
    return b"".join([*kept, data[position:]]), find_orientation(exif, xmp)


def _png_text(kind: bytes, content: bytes) -> tuple[bytes, bytes]:
    """Returns the keyword and the text of a chunk; an empty text if it is damaged."""
    keyword, _, text = content.partition(b"\0")
    compressed = kind == b"zTXt"
    if compressed:
        text = text[1:]
    elif kind == b"iTXt":
        compressed = text[:1] == b"\1"
        text = text[2:].split(b"\0", 2)[-1]
    if compressed:
        try:
            text = zlib.decompressobj().decompress(text, _MOST_TEXT)
        except zlib.error:
            text = b""
    return keyword, text


def _raw_profile(text: bytes) -> bytes:
    """Returns the bytes that ImageMagick writes as a name, a length, and hexadecimal digits."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return b""


# --- TIFF ---


def _split_tiff(data: bytes) -> tuple[bytes, int]:
    entries = list(_entries(data))
    if not entries:
        return data, UPRIGHT
    order = entries[0][1]
    xmp = b""
    kept = []
    for entry, _ in entries:
        tag, _, count, place = struct.unpack_from(order + "HHII", data, entry)
        if tag == 700:
            xmp = data[place : place + count]
        if tag in _PIXEL_TAGS:
            kept.append(data[entry : entry + _ENTRY])
    # The directory keeps its place, and says that it is the last one.
    start = entries[0][0] - 2
    directory = struct.pack(order + "H", len(kept)) + b"".join(kept) + bytes(4)
    stripped = data[:start] + directory + data[start + len(directory) :]
    return stripped, find_orientation(data, xmp)
