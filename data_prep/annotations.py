"""Outlines in the JSON files of labelme, Supervisely and COCO, drawn as labels."""

import base64
import dataclasses
import io
import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from rnnseg import schemas
from rnnseg.data.images import encode_png, turn_upright
from rnnseg.data.metadata import UPRIGHT
from rnnseg.errors import UserError, shortened

from .archives import File
from .common import Pair, composed, read_upright_image
from .examples import require_same_size
from .plans.coco_instances import draw_labels

LABELME, SUPERVISELY, COCO = "labelme", "Supervisely", "COCO"

# The keys by which the files of the tools are told apart.
_KEYS = {LABELME: ("shapes",), SUPERVISELY: ("objects", "size"), COCO: ("images", "annotations")}
_FARTHEST = 1 << 20  # pixels from the image
_MOST_BYTES = 1 << 26  # of a mask, as a PNG
_REPLACE = "replace the file"
_OUTLINES = "expected polygons, rectangles, circles or masks; remove the shape"


class Shape(NamedTuple):
    """A region of one class.

    Attributes:
      name: its class, as the file calls it.
      draw: draws its pixels in a mask of 8 bits: 1 in it, 0 in its holes.
    """

    name: str
    draw: Callable[[Image.Image], None]


def find_tool(content: Any) -> str | None:
    """Returns the tool whose file holds `content`; None if it is none of the three."""
    for tool, keys in _KEYS.items():
        if isinstance(content, Mapping) and all(key in content for key in keys):
            return tool
    return None


def load_json(file: File) -> Any:
    """Returns what a JSON file holds.

    Raises:
      UserError: the file is missing or no valid JSON, or an error of `schemas.parse_json`.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror or error})") from error
    text = schemas.decode_text(data, str(file), _REPLACE)
    return schemas.parse_json(text, str(file), _REPLACE)


@dataclasses.dataclass(frozen=True)
class MakeOutlinedExample:
    """A maker of records of images whose labels are JSON files of labelme or Supervisely.

    Attributes:
      labels: class indices, or `IGNORE_LABEL`, by the names in the files.
      background: the label outside of all shapes.
      way_out: the end of messages about an unknown name; `{name}` stands for it.
    """

    labels: Mapping[str, int]
    background: int
    way_out: str = ""

    def __call__(self, pair: Pair) -> dict[str, bytes | str]:
        """Makes the values of the record of an image.

        Raises:
          UserError: one of the files cannot be used.
        """
        stated, shapes = read_shapes(pair.mask)
        image, size, orientation = read_image_of(pair, stated)
        labels = np.full(size[::-1], self.background, np.uint8)
        # As in the tools, later shapes are on top.
        for shape in shapes:
            label = self.labels.get(shape.name)
            if label is None:
                raise UserError(
                    f"{pair.mask}: the label {shape.name!r} is none of the classes"
                    + self.way_out.replace("{name}", shape.name)
                )
            mask = Image.new("L", size)
            shape.draw(mask)
            labels[np.asarray(mask) > 0] = label
        label = encode_png(turn_upright(labels, orientation))
        return {"image": image, "label": label, "name": pair.name}


@dataclasses.dataclass(frozen=True)
class MakeCocoExample:
    """A maker of records of images whose labels are regions in a file of COCO.

    Attributes:
      background: the label outside of all regions.
    """

    background: int

    def __call__(self, pair: Pair) -> dict[str, bytes | str]:
        """Makes the values of the record of an image; its `mask` is an `ImageOutlines`.

        Raises:
          UserError: the image cannot be used or has another size, or its regions are invalid.
        """
        image, size, orientation = read_image_of(pair, pair.mask.size)
        labels = draw_labels(pair.mask.regions, size, str(pair.mask), self.background)
        label = encode_png(turn_upright(labels, orientation))
        return {"image": image, "label": label, "name": pair.name}


def read_image_of(pair: Pair, stated: tuple[int, int] | None) -> tuple[bytes, tuple[int, int], int]:
    """Reads an image whose outlines are given in pixels.

    Args:
      pair: the image and the file of its outlines.
      stated: the (width, height) of the image in that file; None if it does not tell.

    Returns:
      The image for the record, upright; the (width, height) to draw in, and the orientation of
      what is drawn.

    Raises:
      UserError: the image cannot be used, or has another size.
    """
    image, size, orientation = read_upright_image(pair.image, stated or (0, 0))
    if orientation != UPRIGHT:
        size = size[::-1]
    if stated is not None:
        require_same_size(pair, size, stated)
    return image, size, orientation


def read_shapes(file: File) -> tuple[tuple[int, int] | None, list[Shape]]:
    """Reads the shapes of one image.

    Args:
      file: a JSON file of labelme or Supervisely.

    Returns:
      The (width, height) of the image, None if it is not stated; and the shapes, in the order of
      the file.

    Raises:
      UserError: the file cannot be read, or holds something else or shapes that enclose nothing.
    """
    content = load_json(file)
    tool = find_tool(content)
    readers = {LABELME: _labelme_shapes, SUPERVISELY: _supervisely_shapes}
    if tool not in readers:
        raise UserError(
            f"{file}: neither a file of labelme nor of Supervisely, expected the key shapes, or "
            "objects and size"
        )
    keys = {LABELME: ("imageWidth", "imageHeight"), SUPERVISELY: ("width", "height")}[tool]
    try:
        sizes = content if tool == LABELME else _object(content, "size")
        stated = tuple(sizes.get(key) for key in keys)
        if tool == LABELME and stated == (None, None):
            stated = None
        elif not all(type(side) is int and 0 < side < _FARTHEST for side in stated):
            size = shortened("x".join(map(str, stated[::-1])), 60)
            raise ValueError(f"a size of {size} pixels, expected whole numbers")
        return stated, list(readers[tool](content))
    # What the files of other versions and programs lack, or hold in other forms.
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise UserError(f"{file}: not as {tool} writes it: {reason}") from error


def _labelme_shapes(content: Mapping[str, Any]) -> Iterator[Shape]:
    for number, shape in enumerate(_objects(content, "shapes"), 1):
        kind, points = shape.get("shape_type") or "polygon", _points(shape["points"])
        if kind == "polygon":
            draw = _polygon(points)
        elif kind == "rectangle":
            draw = _rectangle(points)
        elif kind == "circle":
            (x, y), edge = points
            radius = math.dist((x, y), edge)
            draw = _ellipse((x - radius, y - radius, x + radius, y + radius))
        elif kind == "mask":
            draw = _bitmap(base64.b64decode(shape["mask"], validate=True), points[0])
        else:
            raise ValueError(f"shape {number} is a {kind}, {_OUTLINES}")
        yield Shape(_name(shape["label"]), draw)


def _supervisely_shapes(content: Mapping[str, Any]) -> Iterator[Shape]:
    for number, shape in enumerate(_objects(content, "objects"), 1):
        kind = shape["geometryType"]
        if kind == "bitmap":
            bitmap = _object(shape, "bitmap")
            try:
                data = _unpacked(base64.b64decode(bitmap["data"], validate=True))
            except zlib.error as error:
                raise ValueError(f"the bitmap of shape {number} is damaged ({error})") from error
            draw = _bitmap(data, _points([bitmap["origin"]])[0])
        elif kind in ("polygon", "rectangle"):
            outline = _object(shape, "points")
            points = _points(outline["exterior"])
            holes = [_points(hole) for hole in outline.get("interior") or ()]
            draw = _polygon(points, holes) if kind == "polygon" else _rectangle(points)
        else:
            raise ValueError(f"shape {number} is a {kind}, {_OUTLINES}")
        yield Shape(_name(shape["classTitle"]), draw)


def _objects(content: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    values = content[key]
    if not isinstance(values, list) or not all(isinstance(each, Mapping) for each in values):
        raise ValueError(f"{key} is {_short(values)}, expected a list of objects")
    return values


def _object(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    if not isinstance(content[key], Mapping):
        raise ValueError(f"{key} is {_short(content[key])}, expected an object")
    return content[key]


def _short(value: Any) -> str:
    return shortened(json.dumps(value), 60)


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"the label {value!r}, expected a text")
    return composed(value.strip())


def _points(values: Any) -> list[tuple[float, float]]:
    if not isinstance(values, list):
        raise ValueError(f"points are {_short(values)}, expected a list")
    for point in values:
        if not (
            isinstance(point, Sequence)
            and len(point) == 2
            and all(type(number) in (int, float) for number in point)
            and all(abs(number) < _FARTHEST for number in point)  # nothing is less than NaN
        ):
            raise ValueError(
                f"a point at {shortened(str(point), 60)}, expected two numbers of pixels"
            )
    return [(float(x), float(y)) for x, y in values]


def _polygon(points: Sequence[tuple[float, float]], holes=()) -> Callable[[Image.Image], None]:
    if len(points) < 3:
        raise ValueError(f"a polygon of {len(points)} points, expected 3 or more")

    def draw(mask):
        pen = ImageDraw.Draw(mask)
        pen.polygon(points, fill=1, outline=1)
        for hole in holes:
            if len(hole) > 2:
                pen.polygon(hole, fill=0, outline=0)

    return draw


def _rectangle(points: Sequence[tuple[float, float]]) -> Callable[[Image.Image], None]:
    if len(points) < 2:
        raise ValueError(f"a rectangle of {len(points)} points, expected 2 or more")
    xs, ys = zip(*points, strict=True)
    box = (min(xs), min(ys), max(xs), max(ys))
    return lambda mask: ImageDraw.Draw(mask).rectangle(box, fill=1, outline=1)


def _ellipse(box: tuple[float, float, float, float]) -> Callable[[Image.Image], None]:
    return lambda mask: ImageDraw.Draw(mask).ellipse(box, fill=1, outline=1)


def _unpacked(data: bytes) -> bytes:
    """Returns what zlib packed; raises a ValueError if it is far larger than any mask."""
    stream = zlib.decompressobj()
    unpacked = stream.decompress(data, _MOST_BYTES)
    if stream.unconsumed_tail:
        raise ValueError(f"a bitmap of more than {_MOST_BYTES} bytes")
    return unpacked


def _bitmap(data: bytes, origin: tuple[float, float]) -> Callable[[Image.Image], None]:
    """Returns what draws the pixels of a PNG that are opaque, or not 0 if all are opaque."""
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"a bitmap that cannot be read ({error})") from error
    if image.has_transparency_data:
        inside = np.asarray(image.convert("RGBA"))[..., 3] > 0
    else:
        inside = np.asarray(image) > 0
        inside = inside.any(-1) if inside.ndim == 3 else inside
    pixels = Image.fromarray(inside.astype(np.uint8))
    corner = tuple(round(number) for number in origin)
    return lambda mask: mask.paste(1, corner, pixels.point(lambda value: 255 * value))
