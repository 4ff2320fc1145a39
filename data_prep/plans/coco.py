"""The plan for COCO: its instances as classes of PASCAL VOC.

It serves to train an encoder before it is trained on VOC, as in the papers of DeepLab:

- The 20 categories that VOC also has become its classes. Everything else is background.
- Only images with more than 1000 labelled pixels are kept. The `area` of the instances gives this
  number, so that nothing must be drawn to decide.
- Crowds (`iscrowd`) of these categories are ignored, except where there is an instance: they are
  coarse outlines of many objects and of the gaps between them.
- Where instances overlap, the smaller one is on top. Annotators outline the visible part of an
  object. So two outlines share more than a rim of pixels mostly if a large object was outlined
  together with a small one in front of it: a bottle on a table, a cat on a sofa. Ignoring these
  pixels, as some do, would remove most of these small objects from the training. In a rim neither
  label is certain, and the chosen one is wrong by a few pixels at most.
"""

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence

import click

from rnnseg.data.images import encode_png
from rnnseg.data.tables import PASCAL_VOC
from rnnseg.errors import UserError

from ..archives import File, list_files
from ..common import BuildPlan, Pair, absolute, read_encoded_image, some
from .coco_instances import Region, draw_labels, read_instances

YEARS = ("2017", "2014")
_SPLITS = ("train", "val")
_FEWEST_PIXELS = 1000  # images with this number or fewer are left out
_COCO_NAMES = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
# Class indices by COCO's names; the background is not a category.
_LABELS = {
    _COCO_NAMES.get(name, name): label for label, name in enumerate(PASCAL_VOC.names) if label > 0
}


@dataclasses.dataclass(frozen=True)
class CocoPair(Pair):
    """One image with its regions; its `mask` is the JSON file of the regions.

    Attributes:
      size: the (width, height) in that file.
      regions: the regions of VOC's classes, including crowds.
    """

    size: tuple[int, int]
    regions: tuple[Region, ...]


def plan_coco(sources: Sequence[pathlib.Path], year: str) -> BuildPlan:
    """Lists the images of both splits with their regions, and prints the number that are kept.

    Args:
      sources: the published archives, their contents, or folders of either. If a part exists in
        both forms, the unpacked one is read.
      year: "2017" or "2014".

    Returns:
      The plan.

    Raises:
      UserError: pycocotools is not installed, or a file is missing or not as COCO publishes it.
    """
    try:  # here, so that a missing package is reported before 20 GB are read
        import pycocotools.mask  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"drawing COCO's outlines needs pycocotools: pip install rnnseg[data] ({error})"
        ) from error
    files = {}
    for source in sources:
        files |= _find_files(source, year)
    where = some([str(source) for source in sources])
    return BuildPlan(
        class_names=PASCAL_VOC.names,
        class_colors=PASCAL_VOC.colors,
        splits={split: _plan_split(f"{split}{year}", files, where) for split in _SPLITS},
        arguments={"sources": [str(absolute(source)) for source in sources], "year": year},
        make_example=make_example,
    )


def _find_files(source: pathlib.Path, year: str) -> dict[str, File]:
    """Finds the files; their names are like `instances_train2017.json`, `train2017/0….jpg`."""
    archives = {f"{part}{year}.zip" for part in ("annotations_trainval", *_SPLITS)}
    split = f"(?:{'|'.join(_SPLITS)}){year}"
    wanted = re.compile(rf"/({split}/[^/]+\.jpg|instances_{split}\.json)$")
    found = {}
    # In alphabetical order, an archive comes before the folder that it unpacks to.
    for name, file in list_files(source, r"\.(jpg|json|zip)$").items():
        if isinstance(file, pathlib.Path) and file.name in archives:
            found |= _find_files(file, year)
        # Searched with the name of the source, which may be a folder of images itself.
        elif match := wanted.search(f"/{source.name}/{name}"):
            found[match[1]] = file
    return found


def _plan_split(split: str, files: Mapping[str, File], where: str) -> tuple[CocoPair, ...]:
    """Lists the images of a split that are kept.

    Args:
      split: the name with the year, such as "train2017".
      files: the files, from `_find_files`.
      where: the names of the sources, for messages.
    """
    annotations = files.get(f"instances_{split}.json")
    if annotations is None:
        raise UserError(
            f"{where}: instances_{split}.json is missing; expected annotations_trainval"
            f"{split[-4:]}.zip, or the folder annotations that it unpacks to"
        )
    images = read_instances(annotations, _LABELS)
    kept = [image for image in images if image.area > _FEWEST_PIXELS]
    click.echo(
        f"{split}: {len(kept)} of {len(images)} images kept, with more than {_FEWEST_PIXELS} "
        f"labelled pixels; {len(images) - len(kept)} left out",
        err=True,
    )
    if not kept:
        raise UserError(f"{annotations}: no image has more than {_FEWEST_PIXELS} labelled pixels")
    missing = [name for each in kept if (name := f"{split}/{each.file_name}") not in files]
    if missing:
        raise UserError(
            f"{where}: {len(missing)} images are missing of the {len(kept)} needed: "
            f"{some(missing)}; expected {split}.zip, or the folder {split} that it unpacks to"
        )
    return tuple(
        CocoPair(
            name=each.file_name.removesuffix(".jpg"),
            image=files[f"{split}/{each.file_name}"],
            mask=annotations,
            size=each.size,
            regions=each.regions,
        )
        for each in kept
    )


def make_example(pair: CocoPair) -> dict[str, bytes | str]:
    """Makes the values of the record of an image.

    Raises:
      UserError: the image cannot be used or has another size, or its regions are invalid.
    """
    image, size = read_encoded_image(pair.image, as_stored=True)
    if size != pair.size:
        raise UserError(
            f"{pair.image}: {size[1]}x{size[0]} pixels, expected {pair.size[1]}x{pair.size[0]} "
            f"as in {pair.mask}; replace the image"
        )
    labels = draw_labels(pair.regions, size, str(pair.mask))
    return {"image": image, "label": encode_png(labels), "name": pair.name}
