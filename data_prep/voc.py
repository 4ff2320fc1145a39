"""PASCAL VOC 2012 from its development kit: `python -m data_prep.voc --devkit DIR --out DIR`."""

import collections
import pathlib

import click

from data_prep.common import PATH, Pair, Plan, absolute, some
from data_prep.masks import MaskReader
from data_prep.run import run
from rnnseg.commands import Command
from rnnseg.errors import UserError
from rnnseg.palette import default_colors

CLASS_NAMES = tuple(
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse "
    "motorbike person pottedplant sheep sofa train tvmonitor".split()
)
# What marks object borders and difficult objects in the kit's masks.
_VOID = 255


@click.command(
    cls=Command,
    epilog="""\b
    Example:
      python -m data_prep.voc --devkit VOCdevkit --out data/voc
    """,
)
@click.option(
    "--devkit",
    required=True,
    type=PATH,
    metavar="DIR",
    help="The VOC2012 folder, or the VOCdevkit folder above it.",
)
@click.option("--out", required=True, type=PATH, metavar="DIR", help="Where the records go.")
def main(devkit: pathlib.Path, out: pathlib.Path) -> None:
    """Turns PASCAL VOC 2012 into records.

    Splits: train, val, trainval; and train_aug, if the kit has SegmentationClassAug and
    ImageSets/Segmentation/train_aug.txt.
    """
    plan = plan_voc(devkit)
    masks = MaskReader(
        len(CLASS_NAMES),
        ignore_indices=[_VOID],
        encoding="index",
        index_way_out=f" or {_VOID}; replace the file by the development kit's own",
    )
    run("VocSegmentation", plan, masks, out)


def plan_voc(devkit: pathlib.Path) -> Plan:
    """Lists the pairs of all splits.

    Args:
      devkit: the `VOC2012` folder, or the `VOCdevkit` folder above it.

    Returns:
      The plan; with the split `train_aug` if both its list and its masks are there.

    Raises:
      UserError: a part of the kit, a picture or a mask is missing, or a list is empty or has a name
        twice.
    """
    root = devkit / "VOC2012" if (devkit / "VOC2012").is_dir() else devkit
    lists = root / "ImageSets" / "Segmentation"
    mask_folders = dict.fromkeys(("train", "val", "trainval"), root / "SegmentationClass")
    needed = [root / "JPEGImages", root / "SegmentationClass"]
    for path in [*needed, *(lists / f"{split}.txt" for split in mask_folders)]:
        if not path.exists():
            raise UserError(
                f"{path}: missing; expected {devkit} to be the kit's VOC2012 folder, with "
                "JPEGImages, SegmentationClass and ImageSets/Segmentation, or the folder above it"
            )
    if (lists / "train_aug.txt").exists() and (root / "SegmentationClassAug").is_dir():
        mask_folders["train_aug"] = root / "SegmentationClassAug"
    splits = {}
    for split, masks in mask_folders.items():
        names = _read_names(lists / f"{split}.txt")
        pairs = tuple(
            Pair(name, root / "JPEGImages" / f"{name}.jpg", masks / f"{name}.png") for name in names
        )
        files = [path for pair in pairs for path in (pair.image, pair.mask)]
        missing = [str(path) for path in files if not path.exists()]
        if missing:
            raise UserError(
                f"{len(missing)} files are missing of the {len(files)} that {lists / split}.txt "
                f"names: {some(missing)}"
            )
        splits[split] = pairs
    return Plan(
        class_names=CLASS_NAMES,
        class_colors=tuple(default_colors(len(CLASS_NAMES))),
        splits=splits,
        arguments={"devkit": str(absolute(root))},
    )


def _read_names(path: pathlib.Path) -> list[str]:
    names = path.read_text().split()
    if not names:
        raise UserError(f"{path}: empty, expected the name of a picture on every line")
    twice = [name for name, count in collections.Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"{path}: more than once: {some(twice)}")
    return names


if __name__ == "__main__":
    main()
