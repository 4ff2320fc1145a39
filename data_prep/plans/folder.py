"""The plan for folders of images and masks."""

import functools
import os
import pathlib
from collections.abc import Mapping, Sequence

import click

from rnnseg.data.class_files import BACKGROUND, read_classes
from rnnseg.data.classes import ClassTable
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError

from ..annotations import COCO, MakeCocoExample, MakeOutlinedExample
from ..common import BuildPlan, Pair, absolute, some
from ..examples import MakePairExample
from ..masks import MaskReader
from .finding import MASKS, Found, find_pairs
from .remapping import remap_names, remap_table
from .splits import REST, parse_splits, require_disjoint, split_names

Splits = Mapping[str, float | pathlib.Path]
"""The ratio or the list of every split."""


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
    wanted = parse_splits(split)
    folders = {REST: (pathlib.Path(images), pathlib.Path(masks))}
    if val_images is not None:
        folders["val"] = (pathlib.Path(val_images), pathlib.Path(val_masks))
    outlined = _Outlined(table, remap, ignore, str(classes))
    found = {
        name: find_pairs(*pair, mask_suffix, outlined.labels, outlined.way_out)
        for name, pair in folders.items()
    }
    kind = _only_kind(found, folders)
    splits = divide(found[REST], folders[REST][0], wanted)
    if val_images is not None:
        splits["val"] = divide(found["val"], folders["val"][0], {})[REST]
    require_disjoint(splits)
    values = {}
    if kind == MASKS:
        table = remap_table(table, remap, ignore, mask_encoding)
        make_example = MakePairExample(_mask_reader(table, mask_encoding, classes))
        values = {
            "values": sorted(table.values.items()),
            "color_values": sorted((table.color_values or {}).items()),
        }
    else:
        if mask_encoding != "auto" or mask_suffix:
            option = "--mask-suffix" if mask_suffix else "--mask-encoding"
            raise UserError(f"{option}: not with the outlines of {kind}, leave it out")
        make_example = outlined.make_example(kind)
        values = {"labels": sorted(outlined.labels.items())}
    for name, each in found.items():
        if each.detected:
            _report(each, folders[name][1], outlined)
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
            **values,
            "kind": kind,
            "mask_suffix": mask_suffix,
            "mask_encoding": mask_encoding,
        },
        make_example=make_example,
    )


class _Outlined:
    """The reading of labels from JSON files, which hold the names of classes.

    Attributes:
      labels: class indices, or `IGNORE_LABEL`, by the names in the files.
      background: the label outside of all outlines.
      way_out: the end of messages about an unknown name.
    """

    def __init__(self, table: ClassTable, remap, ignore, classes: str):
        self._options = table.names, remap, ignore
        self.background = next(
            (label for label, name in enumerate(table.names) if name.lower() in BACKGROUND),
            IGNORE_LABEL,
        )
        self.way_out = (
            f"; add it to {classes}, or --remap '{{name}}'=CLASS, or --ignore '{{name}}' if it is "
            "not a class"
        )

    @functools.cached_property
    def labels(self) -> dict[str, int]:
        return remap_names(*self._options)

    def make_example(self, kind: str):
        if kind == COCO:
            return MakeCocoExample(self.background)
        return MakeOutlinedExample(self.labels, self.background, self.way_out)


def _mask_reader(table: ClassTable, encoding: str, classes) -> MaskReader:
    return MaskReader(
        table,
        encoding,
        index_way_out="; if it is no class, add --ignore {value}; if it is a grey colour, give the "
        f"classes colours in {classes} and add --mask-encoding color",
        color_way_out=f"; add it to {classes}, or --ignore {{value}} if it is not a class",
    )


def _only_kind(found: Mapping[str, Found], folders) -> str:
    kinds = {each.kind: folders[name][1] for name, each in found.items()}
    if len(kinds) > 1:
        listed = " and ".join(f"{kind} in {folder}" for kind, folder in kinds.items())
        raise UserError(f"{listed}: expected labels of one kind; build two data sets")
    return next(iter(kinds))


def _report(found: Found, masks: pathlib.Path, outlined: _Outlined) -> None:
    """Tells how the labels were found, to standard error."""
    if found.kind == MASKS:
        click.echo(f"{masks}: {found.detected}: {len(found.labels)}", err=True)
        return
    outside = "background"
    if outlined.background == IGNORE_LABEL:
        outside = "ignored, since no class is called background"
    click.echo(
        f"{masks}: outlines of {found.kind} for {len(found.labels)} images; pixels outside of all "
        f"outlines are {outside}",
        err=True,
    )


def divide(found: Found, folder: pathlib.Path, splits: Splits) -> dict[str, tuple[Pair, ...]]:
    """Pairs images and labels of the same name, and divides them into splits.

    Args:
      found: the images and labels.
      folder: the folder of the images, for messages.
      splits: the ratio or the list of every split, from `parse_splits`; the remaining images are
        `train`.

    Returns:
      The pairs of every split, sorted by name.

    Raises:
      UserError: an image or a mask lacks its counterpart, or an error of `split_names`.
    """
    names = split_names(found.images, folder, splits)
    images, labels = found.images, found.labels
    left_out = images.keys() - set().union(*names.values())
    if left_out:
        # To standard error, since plans are also made inside a build.
        click.echo(f"{len(left_out)} of {len(images)} images are in no list and left out", err=True)
        # They may lack a mask: lists can serve to name the images that have one.
        images, labels = (
            {name: file for name, file in files.items() if name not in left_out}
            for files in (images, labels)
        )
    pairs = {pair.name: pair for pair in join_pairs(images, labels, found.expected)}
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
