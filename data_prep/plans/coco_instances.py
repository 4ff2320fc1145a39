"""COCO's files `instances_*.json`: reading them, and drawing labels from them."""

import array
import collections
import contextlib
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import click
import numpy as np

from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError

from ..archives import File
from ..common import composed, some

_EXPECTED = "expected one of COCO's files instances_*.json"


class Region(NamedTuple):
    """The required part of an annotation.

    Attributes:
      id: the id of the annotation, for messages.
      label: the index of the class, or `IGNORE_LABEL` for a crowd.
      segmentation: the unchecked contents of the file, with numbers in arrays: a list of polygons,
        each `x, y, x, y, …` in pixels from the top left corner of the image; or a run-length
        encoding `{"size": [height, width], "counts": …}`.
    """

    id: int
    label: int
    segmentation: Any


@dataclass(frozen=True)
class ImageRegions:
    """The required part of an image and its annotations.

    Attributes:
      file_name: the file name, without a folder.
      size: the (width, height).
      regions: the regions of the wanted categories, in the order of the file.
      area: the number of pixels in regions that are not crowds, as given in the file.
    """

    file_name: str
    size: tuple[int, int]
    regions: tuple[Region, ...]
    area: float


@dataclass(frozen=True)
class ImageOutlines:
    """The regions of one image, as a file of labels.

    Attributes:
      archive: the JSON file.
      name: the file name of the image.
      size: the (width, height) in the JSON file.
      regions: the regions of all categories, in the order of the file.
    """

    archive: pathlib.Path
    name: str
    size: tuple[int, int]
    regions: tuple[Region, ...] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.archive}, {self.name}"


class _Image(NamedTuple):
    id: int
    file_name: str
    width: int
    height: int


class _Annotation(NamedTuple):
    id: int
    image_id: int
    category_id: int
    area: float
    iscrowd: int | None
    segmentation: Any


def read_instances(file: File, labels: Mapping[str, int]) -> list[ImageRegions]:
    """Reads the annotations of a split.

    Args:
      file: the JSON file. Reading the 450 MB of COCO's training images takes about 2 GB of memory.
      labels: the class indices by the names of the wanted categories.

    Returns:
      All images, in the order of the file.

    Raises:
      UserError: the file is damaged, lacks a wanted category, or is inconsistent.
    """
    content = _load(file)
    images = _index_images(content["images"], file)
    names = _index_categories(content["categories"], file)
    absent = sorted(labels.keys() - names.values())
    if absent:
        raise UserError(f"{file}: no category called {some(absent)}; {_EXPECTED}")
    regions, areas = collections.defaultdict(list), collections.Counter()
    for each in content["annotations"]:
        fault = None
        if each.image_id not in images:
            fault = f"its image {each.image_id} is not in the file"
        elif each.category_id not in names:
            fault = f"its category {each.category_id} is not in the file"
        elif not isinstance(each.area, (int, float)):
            fault = f"its area is {each.area!r}, expected a number of pixels"
        if fault is not None:
            raise UserError(f"{file}, annotation {each.id}: {fault}; download the file again")
        label = labels.get(names[each.category_id])
        if label is None:
            continue
        if each.iscrowd:
            label = IGNORE_LABEL
        else:
            areas[each.image_id] += each.area
        regions[each.image_id].append(Region(each.id, label, each.segmentation))
    return [
        ImageRegions(
            image.file_name, (image.width, image.height), tuple(regions[image.id]), areas[image.id]
        )
        for image in images.values()
    ]


def read_outlines(
    file: pathlib.Path, labels: Mapping[str, int], way_out: str = ""
) -> dict[str, ImageOutlines]:
    """Reads the annotations of one's own images.

    Args:
      file: the JSON file, in the format of COCO.
      labels: the class indices, or `IGNORE_LABEL`, by the names of categories.
      way_out: the end of the message about an unknown category; `{name}` stands for it.

    Returns:
      The outlines of all images, by their file names.

    Raises:
      UserError: the file is damaged or inconsistent, a category that occurs is none of the classes,
        or an annotation has no outline.
    """
    content = _load(file)
    images = _index_images(content["images"], file)
    names = _index_categories(content["categories"], file)
    regions = collections.defaultdict(list)
    for each in content["annotations"]:
        name, fault = names.get(each.category_id, "").strip(), None
        if each.image_id not in images:
            fault = f"its image {each.image_id} is not in the file; correct it"
        elif each.category_id not in names:
            fault = f"its category {each.category_id} is not in the file; correct it"
        elif composed(name) not in labels:
            fault = f"its category {name!r} is none of the classes" + way_out.replace(
                "{name}", name
            )
        elif not each.segmentation:
            fault = "no outline, only a box; draw one, or leave its image out with a list"
        if fault is not None:
            raise UserError(f"{file}, annotation {each.id}: {fault}")
        label = IGNORE_LABEL if each.iscrowd else labels[composed(name)]
        regions[each.image_id].append(Region(each.id, label, each.segmentation))
    return {
        image.file_name: ImageOutlines(
            file, image.file_name, (image.width, image.height), tuple(regions[image.id])
        )
        for image in images.values()
    }


def _load(file: File) -> dict[str, list]:
    """Loads the file and compacts the members of its three lists."""
    data = file.read_bytes()
    click.echo(f"reading {file} ({len(data) / 1e6:.0f} MB)", err=True)
    try:
        content = json.loads(data, object_hook=_compact)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not valid JSON ({error}); unpack or download it again") from error
    for key, kind in (("images", _Image), ("annotations", _Annotation), ("categories", dict)):
        members = content.get(key) if isinstance(content, dict) else None
        if not isinstance(members, list) or not all(isinstance(each, kind) for each in members):
            raise UserError(f"{file}: the list of {key} is missing or invalid; {_EXPECTED}")
    for each in content["annotations"]:
        for key in ("image_id", "category_id"):
            if not isinstance(getattr(each, key), int):
                raise UserError(
                    f"{file}, annotation {each.id}: its {key} is {getattr(each, key)!r}, expected "
                    f"a whole number; {_EXPECTED}"
                )
    return content


def _compact(values: dict[str, Any]) -> Any:
    """Returns the required part of an object of the file.

    It is called as soon as an object is read, since the complete objects would fill the memory.
    Arrays take a quarter of the memory of lists. Values that should be lists of numbers but are not
    stay as they are: an error is raised when they are used and the message can name the annotation.
    """
    if "file_name" in values:
        return _Image(*map(values.get, _Image._fields))
    with contextlib.suppress(TypeError, OverflowError):
        if isinstance(values.get("counts"), list):
            values["counts"] = array.array("I", values["counts"])
        elif isinstance(values.get("segmentation"), list):
            polygons = values["segmentation"]
            # Not "f", since rounded coordinates give other pixels than COCO's own code.
            values["segmentation"] = [array.array("d", polygon) for polygon in polygons]
    if "segmentation" in values:
        return _Annotation(*map(values.get, _Annotation._fields))
    return values


def _index_images(images: Sequence[_Image], file: File) -> dict[int, _Image]:
    for image in images:
        numbers = (image.id, image.width, image.height)
        if not isinstance(image.file_name, str) or not all(isinstance(n, int) for n in numbers):
            raise UserError(
                f"{file}: the image with the id {image.id} and the file_name {image.file_name!r} "
                f"is {image.height}x{image.width}, expected valid values; {_EXPECTED}"
            )
    for key in ("id", "file_name"):
        twice = _more_than_once(getattr(image, key) for image in images)
        if twice:
            raise UserError(f"{file}: several images with the {key} {some(twice)}; {_EXPECTED}")
    return {image.id: image for image in images}


def _index_categories(categories: Sequence[Mapping[str, Any]], file: File) -> dict[int, str]:
    for each in categories:
        number, name = each.get("id"), each.get("name")
        if not isinstance(number, int) or not isinstance(name, str):
            raise UserError(
                f"{file}: a category with the id {number!r} and the name {name!r}, expected a "
                f"whole number and a text; {_EXPECTED}"
            )
    return {each["id"]: each["name"] for each in categories}


def _more_than_once(values: Iterable) -> list[str]:
    return [str(value) for value, count in collections.Counter(values).items() if count > 1]


def draw_labels(
    regions: Sequence[Region], size: tuple[int, int], where: str, background: int = 0
) -> np.ndarray:
    """Draws the regions of an image: crowds below instances, larger instances below smaller ones.

    Args:
      regions: the regions of the image.
      size: the (width, height) of the image.
      where: the file of the regions, for messages.
      background: the label where there is no region.

    Returns:
      Labels, uint8 `(h, w)`.

    Raises:
      UserError: a segmentation is invalid.
    """
    masks = [(region.label, _draw(region, size, where)) for region in regions]
    masks.sort(key=lambda each: (each[0] != IGNORE_LABEL, -np.count_nonzero(each[1])))
    # Stored column by column, like the masks and their encodings.
    labels = np.full(size, background, np.uint8).T
    for label, mask in masks:
        np.copyto(labels, label, where=mask)
    return np.ascontiguousarray(labels)


def _draw(region: Region, size: tuple[int, int], where: str) -> np.ndarray:
    """Draws the pixels of a region, bool `(h, w)`."""
    segmentation = region.segmentation
    try:
        if isinstance(segmentation, dict):
            return _draw_runs(segmentation, size)
        return _draw_polygons(segmentation, size)
    except ValueError as error:
        raise UserError(
            f"{where}, annotation {region.id}: {error}; correct it, or leave its image out with "
            "--skip-bad"
        ) from error


def _draw_polygons(polygons: Any, size: tuple[int, int]) -> np.ndarray:
    """Draws the union of polygons.

    Raises:
      ValueError: the polygons are invalid.
    """
    from pycocotools import mask as coco_masks

    width, height = size
    most = 2 * max(size)
    if not isinstance(polygons, list) or not all(isinstance(p, array.array) for p in polygons):
        raise ValueError("its segmentation is neither polygons nor a run-length encoding")
    for polygon in polygons:
        if len(polygon) % 2:
            raise ValueError(f"a polygon of {len(polygon)} numbers, expected pairs of x and y")
        # Memory grows with the length of the outline. The condition is also false for NaN.
        if not all(abs(value) <= most for value in polygon):
            raise ValueError(f"a polygon far outside of its image of {height}x{width} pixels")
    # COCO's code reads four numbers as a box, but two points enclose nothing.
    polygons = [polygon for polygon in polygons if len(polygon) >= 6]
    if not polygons:
        return np.zeros((height, width), bool)
    runs = coco_masks.merge(coco_masks.frPyObjects(polygons, height, width))
    return coco_masks.decode(runs).astype(bool)


def _draw_runs(encoding: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    """Draws a run-length encoding: alternating runs outside and inside, column by column.

    COCO's own code is not used: with damaged runs it reads and writes past the end, and with runs
    that end early it leaves memory uninitialized.

    Raises:
      ValueError: the runs are invalid, or their sum is not the number of pixels of the image.
    """
    width, height = size
    if encoding.get("size") != [height, width]:
        raise ValueError(f"a size of {encoding.get('size')}, expected {[height, width]}")
    runs = encoding.get("counts")
    if isinstance(runs, str):
        runs = _decompress(runs)
    if not isinstance(runs, (list, array.array)) or not all(isinstance(n, int) for n in runs):
        raise ValueError("its run-length encoding has no counts")
    if sum(runs) != width * height:
        raise ValueError(f"runs of {sum(runs)} pixels, expected {width * height}")
    if min(runs) < 0:
        raise ValueError(f"a run of {min(runs)} pixels")
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T


def _decompress(text: str) -> list[int]:
    """Decodes compressed runs.

    A number is a sequence of characters with codes 48 to 111. Of the code minus 48, the low 5 bits
    are bits of the number, the lowest first, and 32 marks that the number continues. The highest
    bit is the sign. The first three numbers are runs; each other number is the difference between
    a run and the run two places before it.

    Raises:
      ValueError: the text is not of this form.
    """
    runs, value, shift = [], 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"{character!r} in its compressed counts")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise ValueError("its compressed counts end within a number")
    return runs
