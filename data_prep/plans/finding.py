"""Finding images and their labels: masks in a folder of their own or beside the images, or JSON."""

import dataclasses
import pathlib
from collections.abc import Collection, Mapping

from rnnseg.errors import UserError

from ..annotations import COCO, LABELME, SUPERVISELY, find_tool, load_json
from ..archives import File, list_files
from ..common import composed
from .coco_instances import read_outlines

MASKS = "masks"
"""The kind of labels that are image files, beside the tools of `annotations`."""

# Formats that cannot be used are listed, too, so that their files are reported instead of silently
# left out.
IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".png"),
    *(".avif", ".bmp", ".gif", ".heic", ".jp2", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
)
_MASK_ENDING, _JSON_ENDING = ".png", ".json"
# Usual suffixes of masks. Roboflow's is the first one.
_SUFFIXES = (
    "_mask",
    "_masks",
    "-mask",
    "_label",
    "_labels",
    "_labelIds",
    "_seg",
    "_gt",
    "_L",
    "_P",
)
_ADD_SUFFIX = "if masks have a suffix, add --mask-suffix"


@dataclasses.dataclass(frozen=True)
class Found:
    """The images and labels in a pair of folders.

    Attributes:
      kind: `MASKS`, or the tool whose JSON files hold the labels.
      images: the images by name: the path below the folder, composed and without the ending.
      labels: the files of the labels by the name of their image.
      expected: the place of the labels of the first image, for messages.
      detected: how the labels were found, for the user; empty if nothing had to be detected.
    """

    kind: str
    images: Mapping[str, pathlib.Path]
    labels: Mapping[str, File]
    expected: str
    detected: str = ""


def find_pairs(
    images: pathlib.Path,
    masks: pathlib.Path,
    suffix: str = "",
    labels: Mapping[str, int] | None = None,
    way_out: str = "",
) -> Found:
    """Finds images and the files of their labels.

    Args:
      images: the folder of the images.
      masks: the folder of the masks or of a JSON file for each image, which may be that of the
        images; or COCO's JSON file.
      suffix: the suffix of the masks' names before the ending; files without it are left out.
      labels: class indices by the names in COCO's file.
      way_out: the end of the message about another name in it.

    Raises:
      UserError: a folder is missing or has no images, two files share a name, or nothing there can
        be the labels.
    """
    if masks.is_file():
        found = _name_all(_list(images, some=True), images)
        outlines = read_outlines(masks, labels or {}, way_out)
        return Found(COCO, found, _match(outlines, found, masks), f"entries in {masks}", COCO)
    if not masks.is_dir():
        raise UserError(f"{masks}: no such folder")
    if images.is_dir() and images.samefile(masks):
        return _find_beside(images, suffix)
    paths = [path for path in _list(images, some=True) if not _below(path, masks, images)]
    found = _name_all(paths, images)
    candidates = [path for path in _list(masks) if not _below(path, images, masks)]
    by_name = _name_all(candidates, masks, suffix)
    detected, hint = "", ""
    if not suffix and by_name and not found.keys() & by_name.keys():
        suffix = _usual_suffix(candidates, found, masks)
        hint = f"; {_ADD_SUFFIX}"
        if suffix:
            by_name = _name_all(candidates, masks, suffix)
            detected, hint = f"the masks are the files …{suffix}{_MASK_ENDING}", ""
    first = next(iter(found))
    if by_name:
        expected = f"{masks / first}{suffix}{_MASK_ENDING} for {found[first]}{hint}"
        return Found(MASKS, found, by_name, expected, detected)
    files = {} if suffix else _list_json(masks)
    if not files:
        named = f" named …{suffix}{_MASK_ENDING}" if suffix else f" or {_JSON_ENDING} files"
        raise UserError(f"{masks}: no images, expected image files{named}")
    return _with_json(found, files, masks)


def _find_beside(folder: pathlib.Path, suffix: str) -> Found:
    """Finds images and labels in one folder."""
    paths = _list(folder, some=True)
    if not suffix:
        files = _list_json(folder)
        names = {_name(path, folder) for path in paths}
        beside = {name: file for name, file in files.items() if _image_name(name, names) in names}
        if beside:
            return _with_json(_name_all(paths, folder), beside, folder)
    masks = [path for path in paths if path.suffix.lower() == _MASK_ENDING]
    others = _name_all([path for path in paths if path not in set(masks)], folder, strict=False)
    if not suffix and masks and all(_name(path, folder) in others for path in masks):
        by_name = _name_all(masks, folder)
        detected = f"the masks are the {_MASK_ENDING} files beside the images"
    else:
        suffix = suffix or _detect_suffix(masks, paths, folder)
        by_name = _name_all(masks, folder, suffix)
        paths = [path for path in paths if not _name(path, folder).endswith(suffix)]
        others = _name_all(paths, folder)
        detected = f"the masks are the files …{suffix}{_MASK_ENDING} beside the images"
    first = next(iter(others), "NAME")
    expected = f"{folder / first}{suffix}{_MASK_ENDING}"
    if not by_name or not others:
        raise UserError(f"{folder}: no {'images' if by_name else 'masks'}, expected {expected}")
    return Found(MASKS, others, by_name, expected, detected)


def _detect_suffix(masks, paths, folder: pathlib.Path) -> str:
    """Returns the usual suffix with which most masks find their image beside them."""
    suffix = _usual_suffix(masks, {_name(path, folder) for path in paths}, folder)
    if not suffix:
        raise UserError(
            f"{folder}: the folder of the images has no masks, expected 1.png or 1_mask.png or "
            f"labelme's 1.json beside 1.jpg; {_ADD_SUFFIX}"
        )
    return suffix


def _usual_suffix(masks, images: Collection[str], folder: pathlib.Path) -> str:
    """Returns the usual suffix with which most masks find their image; empty if none does."""
    counts = {
        suffix: sum(_name(path, folder).removesuffix(suffix) in images for path in masks)
        for suffix in _SUFFIXES
        if any(_name(path, folder).endswith(suffix) for path in masks)
    }
    best = max(counts, key=lambda suffix: counts[suffix], default="")
    return best if counts.get(best) else ""


def _with_json(
    images: Mapping[str, pathlib.Path], files: Mapping[str, pathlib.Path], folder: pathlib.Path
) -> Found:
    first = next(iter(files.values()))
    tool = find_tool(load_json(first))
    if tool == COCO:
        raise UserError(f"{first}: a file of COCO; give the file itself as --masks, not its folder")
    if tool is None:
        raise UserError(
            f"{first}: not a file of {LABELME}, {SUPERVISELY} or {COCO}, expected one of these, "
            "or masks"
        )
    example = next(iter(images.values()))
    ending = example.suffix if tool == SUPERVISELY else ""
    expected = f"{folder / next(iter(images))}{ending}{_JSON_ENDING} for {example}"
    return Found(tool, images, _match(files, images, folder), expected, tool)


def _match(
    files: Mapping[str, File], images: Collection[str], where: pathlib.Path
) -> dict[str, File]:
    """Returns the files by the names of their images, where these are known."""
    matched = {}
    for name, file in files.items():
        name = _image_name(name, images)
        if name in matched:
            raise UserError(f"{where}: {matched[name]} and {file} are of the same image {name}")
        matched[name] = file
    return matched


def _image_name(name: str, images: Collection[str]) -> str:
    """Returns the image that a file is named after: `a` for `a`, `a.jpg`, `folder/a.jpg`."""
    name = composed(name)
    without = str(pathlib.PurePosixPath(name).with_suffix("")) if _is_image(name) else name
    for each in (name, without, pathlib.PurePosixPath(without).name):
        if each in images:
            return each
    return without


def _is_image(name: str) -> bool:
    return pathlib.PurePosixPath(name).suffix.lower() in IMAGE_ENDINGS


def _list(folder: pathlib.Path, some: bool = False) -> list[pathlib.Path]:
    """Lists the image files below a folder; with `some`, there has to be one."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    paths = [path for name, path in list_files(folder).items() if _is_image(name)]
    if some and not paths:
        raise UserError(f"{folder}: no images, expected image files")
    return paths


def _list_json(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    return {
        name[: -len(_JSON_ENDING)]: path
        for name, path in list_files(folder).items()
        if name.lower().endswith(_JSON_ENDING)
    }


def _below(path: pathlib.Path, folder: pathlib.Path, root: pathlib.Path) -> bool:
    """Returns True if a file below `root` is in `folder`, which lies below `root`, too."""
    return folder != root and folder.is_relative_to(root) and path.is_relative_to(folder)


def _name(path: pathlib.Path, folder: pathlib.Path) -> str:
    return composed(path.relative_to(folder).with_suffix("").as_posix())


def _name_all(
    paths: Collection[pathlib.Path], folder: pathlib.Path, suffix: str = "", strict: bool = True
) -> dict[str, pathlib.Path]:
    """Returns the files whose names end in the suffix, by their names without it."""
    found = {}
    for path in paths:
        name = _name(path, folder)
        if not name.endswith(suffix):
            continue
        name = name.removesuffix(suffix)
        if name in found and strict:
            raise UserError(f"{found[name]} and {path}: two files with the same name, expected one")
        found[name] = path
    return found
