"""Anyone's own pictures and masks: `python -m data_prep.folder --images DIR --masks DIR …`."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import click

from data_prep.classes import Color, read_classes
from data_prep.common import PATH, Pair, Plan, absolute, some
from data_prep.masks import ENCODINGS, MaskReader
from data_prep.run import run
from rnnseg.commands import Command
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
        --classes classes.txt --out data/mine
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
    help="Pictures of the split train, JPEG or PNG; folders below it count.",
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
    "--classes",
    required=True,
    type=PATH,
    metavar="FILE",
    help="A text file with one class a line, in the order of the labels: name, name R G B or "
    "R G B name; # starts a comment.",
)
@click.option(
    "--ignore",
    multiple=True,
    metavar="VALUE",
    help="What stands for no class in the masks: an index, or R,G,B in colour masks. Can be given "
    "several times.",
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
@click.option("--out", required=True, type=PATH, metavar="DIR", help="Where the records go.")
def main(
    images, masks, val_images, val_masks, classes, ignore, mask_suffix, mask_encoding, out
) -> None:
    """Turns pictures and masks from folders into records.

    Nothing is ignored unless --ignore says so: any other value or colour in the masks has to be one
    of the classes.
    """
    folders = {"train": (images, masks)}
    if (val_images is None) != (val_masks is None):
        raise UserError("--val-images and --val-masks: one of them is missing, give both or none")
    if val_images is not None:
        folders["val"] = (val_images, val_masks)
    names, colors = read_classes(classes)
    ignore_indices, ignore_colors = parse_ignored(ignore)
    if colors is None and (mask_encoding == "color" or ignore_colors):
        raise UserError(
            f"{classes}: colour masks need the colour of every class, expected lines: name R G B"
        )
    if mask_encoding == "color" and ignore_indices:
        raise UserError(f"--ignore {ignore_indices[0]}: expected R,G,B with --mask-encoding color")
    if mask_encoding == "index" and ignore_colors:
        color = ",".join(str(value) for value in ignore_colors[0])
        raise UserError(f"--ignore {color}: expected an index with --mask-encoding index")
    plan = Plan(
        class_names=names,
        class_colors=colors or tuple(default_colors(len(names))),
        splits={split: find_pairs(*pair, mask_suffix) for split, pair in folders.items()},
        arguments={
            "folders": {
                split: [str(absolute(path)) for path in pair] for split, pair in folders.items()
            },
            "ignore": [sorted(ignore_indices), sorted(ignore_colors)],
            "mask_suffix": mask_suffix,
            "mask_encoding": mask_encoding,
        },
    )
    reader = MaskReader(
        len(names),
        ignore_indices,
        colors,
        ignore_colors,
        mask_encoding,
        index_way_out="; if it is no class, add --ignore {value}; if it is a grey colour, give "
        f"every class its colour in {classes} and add --mask-encoding color",
        color_way_out=f"; add it to {classes}, or --ignore {{value}} if it is no class",
    )
    run("SegmentationFolder", plan, reader, out)


def find_pairs(
    images: pathlib.Path, masks: pathlib.Path, mask_suffix: str = ""
) -> tuple[Pair, ...]:
    """Pairs pictures and masks by their paths below the two folders, without ending.

    Args:
      images: the pictures' folder.
      masks: the masks' folder.
      mask_suffix: what the masks' names have more, before the ending; files without it are left
        out.

    Raises:
      UserError: a folder is missing or has no pictures, two files share a name, or one of a pair is
        missing.
    """
    found_images = _find_pictures(images)
    found_masks = _find_pictures(masks, mask_suffix)
    name, image = next(iter(found_images.items()))
    return join_pairs(found_images, found_masks, f"{masks / name}{mask_suffix}.png for {image}")


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


def parse_ignored(values: Sequence[str]) -> tuple[list[int], list[Color]]:
    """Sorts the values of `--ignore` into indices and colours.

    Raises:
      UserError: a value is neither.
    """
    indices, colors = [], []
    for value in values:
        parts = value.replace(",", " ").split()
        numbers = [int(part) for part in parts if part.isdecimal()]
        if len(numbers) == len(parts) == 1 and numbers[0] < 1 << 16:
            indices.append(numbers[0])
        elif len(numbers) == len(parts) == 3 and max(numbers) < 256:
            colors.append(tuple(numbers))
        else:
            raise UserError(
                f"--ignore {value}: expected an index, 0 to 65535, or R,G,B, each 0 to 255"
            )
    return indices, colors


def _find_pictures(folder: pathlib.Path, suffix: str = "") -> dict[str, pathlib.Path]:
    """The picture files below `folder`, by their relative paths without suffix and ending."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = {}
    # Not rglob, which does not follow links to folders, and data often lies behind such links.
    for parent, folders, files in os.walk(folder, followlinks=True):
        # Hidden files are what file managers and editors leave behind.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in sorted(files):
            path = pathlib.Path(parent, file)
            name = path.relative_to(folder).with_suffix("").as_posix()
            if (
                file.startswith(".")
                or path.suffix.lower() not in _PICTURE_ENDINGS
                or not name.endswith(suffix)
            ):
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
