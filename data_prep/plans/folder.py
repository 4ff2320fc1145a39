"""The plan for folders of images and masks."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import click

from rnnseg.data.class_files import read_classes
from rnnseg.errors import UserError

from ..archives import list_files
from ..common import BuildPlan, Pair, absolute, some
from ..examples import MakePairExample
from ..masks import MaskReader
from .remapping import remap_table
from .splits import REST, parse_splits, require_disjoint, split_names

# Formats that cannot be used are listed, too, so that their files are reported instead of silently
# left out.
_IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".png"),
    *(".avif", ".bmp", ".gif", ".heic", ".jp2", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
)


def plan_folder(
    *,
    images: str | os.PathLike,
    masks: str | os.PathLike,
    classes: str | os.PathLike,
    val_images: str | os.PathLike | None = None,
    val_masks: str | os.PathLike | None = None,
    split: Sequence[str] = (),
    ignore: Sequence[str] = (),
    remap: Sequence[str] = (),
    mask_suffix: str = "",
    mask_encoding: str = "auto",
) -> BuildPlan:
    """Makes the plan; the arguments are the options of the command.

    Raises:
      UserError: options contradict each other, a file or folder is missing or cannot be used, or an
        image is in two splits.
    """
    if (val_images is None) != (val_masks is None):
        raise UserError("--val-images and --val-masks: one of them is missing, give both or none")
    if split and val_images is not None:
        raise UserError(f"--split {split[0]}: not together with --val-images, drop one of them")
    table = read_classes(pathlib.Path(classes))
    if mask_encoding == "color" and table.color_values is None:
        raise UserError(
            f"{classes}: colour masks need the colour of every class, expected lines: name R G B"
        )
    table = remap_table(table, remap, ignore, mask_encoding)
    wanted = parse_splits(split)
    folders = {REST: (pathlib.Path(images), pathlib.Path(masks))}
    splits = find_splits(*folders[REST], mask_suffix, wanted)
    if val_images is not None:
        folders["val"] = (pathlib.Path(val_images), pathlib.Path(val_masks))
        splits["val"] = find_splits(*folders["val"], mask_suffix)[REST]
    require_disjoint(splits)
    reader = MaskReader(
        table,
        mask_encoding,
        index_way_out="; if it is not a class, add --ignore {value}; if it is a grey colour, give "
        f"every class its colour in {classes} and add --mask-encoding color",
        color_way_out=f"; add it to {classes}, or --ignore {{value}} if it is not a class",
    )
    return BuildPlan(
        class_names=table.names,
        class_colors=table.display_colors,
        splits=splits,
        arguments={
            "folders": {
                name: [str(absolute(path)) for path in pair] for name, pair in folders.items()
            },
            "splits": [
                [name, what if isinstance(what, float) else str(absolute(what))]
                for name, what in wanted.items()
            ],
            "values": sorted(table.values.items()),
            "color_values": sorted((table.color_values or {}).items()),
            "mask_suffix": mask_suffix,
            "mask_encoding": mask_encoding,
        },
        make_example=MakePairExample(reader),
    )


def find_splits(
    images: pathlib.Path,
    masks: pathlib.Path,
    mask_suffix: str = "",
    splits: Mapping[str, float | pathlib.Path] | None = None,
) -> dict[str, tuple[Pair, ...]]:
    """Pairs images and masks by their paths below the two folders, without their endings.

    Args:
      images: the folder of the images.
      masks: the folder of the masks.
      mask_suffix: the suffix of the masks' names before the ending; files without it are left out.
      splits: the ratio or the list of every split, from `parse_splits`; the remaining images are
        `train`.

    Returns:
      The pairs of every split, sorted by name.

    Raises:
      UserError: a folder is missing or has no images, two files share a name, an image or a mask
        lacks its counterpart, or an error of `split_names`.
    """
    found_images = _find_images(images)
    found_masks = _find_images(masks, mask_suffix)
    names = split_names(found_images, images, splits or {})
    left_out = found_images.keys() - set().union(*names.values())
    if left_out:
        # To standard error, since plans are also made inside a build.
        click.echo(
            f"{len(left_out)} of {len(found_images)} images are in no list and left out", err=True
        )
        # They may lack a mask: lists can serve to name the images that have one.
        found_images, found_masks = (
            {name: file for name, file in files.items() if name not in left_out}
            for files in (found_images, found_masks)
        )
    name, image = next(iter(found_images.items()))
    expected = f"{masks / name}{mask_suffix}.png for {image}"
    pairs = {pair.name: pair for pair in join_pairs(found_images, found_masks, expected)}
    return {split: tuple(pairs[name] for name in sorted(names[split])) for split in names}


def join_pairs(
    images: Mapping[str, pathlib.Path], masks: Mapping[str, pathlib.Path], expected: str
) -> tuple[Pair, ...]:
    """Joins images and masks of the same name, sorted by name.

    Args:
      images: the files of images by name.
      masks: the files of masks by name.
      expected: the end of the message, after "expected": the expected paths.

    Raises:
      UserError: an image has no mask or a mask has no image.
    """
    without_mask = sorted(images.keys() - masks.keys())
    without_image = sorted(masks.keys() - images.keys())
    if without_mask or without_image:
        complaints = [
            f"{len(names)} of {len(files)} {kind}: {some([str(files[name]) for name in names])}"
            for names, files, kind in (
                (without_mask, images, "images without mask"),
                (without_image, masks, "masks without image"),
            )
            if names
        ]
        raise UserError(f"{'; '.join(complaints)}; expected {expected}")
    return tuple(Pair(name, images[name], masks[name]) for name in sorted(images))


def _find_images(folder: pathlib.Path, suffix: str = "") -> dict[str, pathlib.Path]:
    """Finds the image files below `folder`, by their relative paths without suffix and ending."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = {}
    for path in list_files(folder).values():
        name = path.relative_to(folder).with_suffix("").as_posix()
        if path.suffix.lower() not in _IMAGE_ENDINGS or not name.endswith(suffix):
            continue
        name = name.removesuffix(suffix)
        if name in found:
            raise UserError(f"{found[name]} and {path}: two files with the same name, expected one")
        found[name] = path
    if not found:
        named = f" named …{suffix}.png" if suffix else ""
        raise UserError(f"{folder}: no images, expected image files{named}")
    return found
