"""Anyone's own pictures and masks: `python -m data_prep.folder --images DIR --masks DIR …`."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import click

from data_prep.archives import list_files
from data_prep.common import PATH, Pair, Plan, absolute, some
from data_prep.examples import MakePairExample
from data_prep.masks import ENCODINGS, MaskReader
from data_prep.remapping import remap_table
from data_prep.run import build_options, run
from data_prep.splits import REST, parse_splits, require_disjoint, split_names
from rnnseg.commands import Command
from rnnseg.data.classes import read_classes
from rnnseg.errors import UserError
from rnnseg.palette import default_colors

# The formats that cannot be used are listed too: such a file gets a message instead of being
# left out in silence.
_PICTURE_ENDINGS = (
    *(".jpg", ".jpeg", ".png"),
    *(".avif", ".bmp", ".gif", ".heic", ".jp2", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
)


@click.command(
    cls=Command,
    epilog="""\b
    Examples:
      python -m data_prep.folder --images photos --masks labels \\
        --classes class_dict.csv --split val=0.2 --out data/mine
      python -m data_prep.folder --images camvid/train --masks camvid/trainannot \\
        --val-images camvid/val --val-masks camvid/valannot \\
        --classes experiments/camvid_classes.txt --ignore 11 --out data/camvid
    """,
)
@click.option(
    "--images",
    required=True,
    type=PATH,
    metavar="DIR",
    help="Pictures, JPEG or PNG; folders below it count. The split train, unless --split says "
    "otherwise.",
)
@click.option(
    "--masks",
    required=True,
    type=PATH,
    metavar="DIR",
    help="Their masks, PNG, at the same paths.",
)
@click.option("--val-images", type=PATH, metavar="DIR", help="Pictures of the split val.")
@click.option("--val-masks", type=PATH, metavar="DIR", help="Masks of the split val.")
@click.option(
    "--split",
    multiple=True,
    metavar="NAME=WHAT",
    help="Takes a split out of --images: WHAT is a ratio such as 0.2, or a text file that lists "
    "pictures, one a line. What is left is train, unless train has a list too. Can be given "
    "several times.",
)
@click.option(
    "--classes",
    required=True,
    type=PATH,
    metavar="FILE",
    help="A text file with one class a line, in the order of the labels: name, name R G B or "
    "R G B name; # starts a comment. Or a table, .csv with a header line or .json, with name and, "
    "if need be, index, r, g, b.",
)
@click.option(
    "--ignore",
    multiple=True,
    metavar="VALUE",
    help="What stands for no class in the masks: an index, or R,G,B in colour masks. Can be given "
    "several times.",
)
@click.option(
    "--remap",
    multiple=True,
    metavar="VALUE=CLASS",
    help="Makes an index, or R,G,B in colour masks, stand for the class of that name, or for no "
    "class: ignore. Can be given several times.",
)
@click.option(
    "--mask-suffix",
    default="",
    metavar="TEXT",
    help="What the masks' names have more than the pictures', before the ending, such as _L.",
)
@click.option(
    "--mask-encoding",
    type=click.Choice(ENCODINGS),
    default="auto",
    show_default=True,
    help="index: masks hold class indices (grey, or a palette's indices). color: they hold the "
    "classes' colours, as grey or RGB. auto: colours if RGB, else indices.",
)
@build_options
def main(out, processes, beam_options, skip_bad, **folders) -> None:
    """Turns pictures and masks from folders into records.

    Nothing is ignored unless --ignore or the table says so: any other value or colour in the masks
    has to be one of the classes.
    """
    run(
        "SegmentationFolder",
        out=out,
        processes=processes,
        beam_options=beam_options,
        skip_bad=skip_bad,
        folders=folders,
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
) -> Plan:
    """Settles what the command builds; the arguments are its options.

    Raises:
      UserError: options contradict each other, a file or folder is missing or cannot be used, or a
        picture is in two splits.
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
        index_way_out="; if it is no class, add --ignore {value}; if it is a grey colour, give "
        f"every class its colour in {classes} and add --mask-encoding color",
        color_way_out=f"; add it to {classes}, or --ignore {{value}} if it is no class",
    )
    return Plan(
        class_names=table.names,
        class_colors=table.colors or tuple(default_colors(len(table.names))),
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
    """Pairs pictures and masks by their paths below the two folders, without ending.

    Args:
      images: the pictures' folder.
      masks: the masks' folder.
      mask_suffix: what the masks' names have more, before the ending; files without it are left
        out.
      splits: what to divide the pictures into, from `parse_splits`; all others are `train`.

    Returns:
      The pairs of every split, in the order of their names.

    Raises:
      UserError: a folder is missing or has no pictures, two files share a name, one of a pair is
        missing, or as `split_names`.
    """
    found_images = _find_pictures(images)
    found_masks = _find_pictures(masks, mask_suffix)
    names = split_names(found_images, images, splits or {})
    left_out = found_images.keys() - set().union(*names.values())
    if left_out:
        # On the stream of messages: this is asked for from inside a build too.
        click.echo(
            f"{len(left_out)} of {len(found_images)} pictures are in no list and left out", err=True
        )
        # They may lack a mask: lists are a way to name those that have one.
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
    """Joins pictures and masks of the same name, in the order of the names.

    Args:
      images: files of pictures by name.
      masks: files of masks by name.
      expected: how the message goes on after "expected": where the files should be.

    Raises:
      UserError: a picture without mask or a mask without picture.
    """
    without_mask = sorted(images.keys() - masks.keys())
    without_image = sorted(masks.keys() - images.keys())
    if without_mask or without_image:
        complaints = [
            f"{len(names)} of {len(files)} {kind}: {some([str(files[name]) for name in names])}"
            for names, files, kind in (
                (without_mask, images, "pictures without mask"),
                (without_image, masks, "masks without picture"),
            )
            if names
        ]
        raise UserError(f"{'; '.join(complaints)}; expected {expected}")
    return tuple(Pair(name, images[name], masks[name]) for name in sorted(images))


def _find_pictures(folder: pathlib.Path, suffix: str = "") -> dict[str, pathlib.Path]:
    """The picture files below `folder`, by their relative paths without suffix and ending."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = {}
    for path in list_files(folder).values():
        name = path.relative_to(folder).with_suffix("").as_posix()
        if path.suffix.lower() not in _PICTURE_ENDINGS or not name.endswith(suffix):
            continue
        name = name.removesuffix(suffix)
        if name in found:
            raise UserError(f"{found[name]} and {path}: two files of one name, expected one")
        found[name] = path
    if not found:
        named = f" named …{suffix}.png" if suffix else ""
        raise UserError(f"{folder}: empty, expected picture files{named} there")
    return found


if __name__ == "__main__":
    main()
