"""The plan for Cityscapes."""

import dataclasses
import io
import pathlib
from collections.abc import Mapping

import numpy as np
from PIL import Image

from rnnseg.data.images import encode_png
from rnnseg.data.tables import CITYSCAPES
from rnnseg.errors import UserError

from ..archives import File, list_files
from ..common import BuildPlan, Pair, absolute, decode_file, read_encoded_image, some
from ..examples import require_same_size
from ..masks import MaskReader
from .polygons import draw_polygons, load_scripts

DOWNLOADS = "https://www.cityscapes-dataset.com/downloads/"

_IMAGES, _FINE, _COARSE = "leftImg8bit", "gtFine", "gtCoarse"
_SIZES = {"train": 2975, "val": 500, "test": 1525, "train_extra": 19998}
# The parts of each split: the kind of labels and the name of Cityscapes' own split.
CONFIGS = {
    "fine": {
        "train": [(_FINE, "train")],
        "val": [(_FINE, "val")],
        "test": [(_FINE, "test")],
    },
    "coarse": {
        "train": [(_COARSE, "train"), (_COARSE, "train_extra")],
        "val": [(_FINE, "train"), (_FINE, "val")],
    },
    "both": {
        "train": [(_FINE, "train"), (_COARSE, "train_extra")],
        "val": [(_FINE, "val")],
        "test": [(_FINE, "test")],
    },
}
_WAY_OUT = "; replace the file with Cityscapes' own"
_MASKS = MaskReader(CITYSCAPES, encoding="index", index_way_out=_WAY_OUT)
_TRAIN_IDS = np.zeros(256, np.uint8)
_TRAIN_IDS[list(CITYSCAPES.values)] = list(CITYSCAPES.values.values())


@dataclasses.dataclass(frozen=True)
class CityscapesPair(Pair):
    """One labelled image.

    Attributes:
      mask: the label ids, or the polygons from which both masks are drawn.
      instances: the instance ids; None with polygons.
    """

    instances: File | None

    @property
    def files(self) -> tuple[File, ...]:
        """All files from which the record is made."""
        return super().files if self.instances is None else (*super().files, self.instances)


def plan_cityscapes(root: pathlib.Path, config: str) -> BuildPlan:
    """Lists the pairs of all splits.

    Args:
      root: the folder of the archives or of their contents. If a split exists in both forms, its
        folder is read.
      config: "fine", "coarse" or "both".

    Returns:
      The plan. It has the split `test` only if the images and labels of that exist.

    Raises:
      UserError: a split, an image or its labels are missing, an archive is damaged, or
        cityscapesscripts is needed and not installed.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    splits = dict(CONFIGS[config])
    files = {
        (part, split): _list_split(root, part, split)
        for sources in splits.values()
        for labels, split in sources
        for part in (_IMAGES, labels)
    }
    missing = [key for key, found in files.items() if not found]
    if any(split == "test" for _, split in missing):
        del splits["test"]
        missing = [key for key in missing if key[1] != "test"]
    if missing:
        listed = ", ".join(f"{part}/{split} ({_archive(part, split)})" for part, split in missing)
        raise UserError(
            f"{root}: missing: {listed}; put the archives or the folders that they unpack to "
            f"there, Cityscapes provides them at {DOWNLOADS}"
        )
    pairs = {
        name: tuple(
            pair
            for labels, split in sources
            for pair in _pairs(files[_IMAGES, split], files[labels, split], labels)
        )
        for name, sources in splits.items()
    }
    if any(pair.instances is None for each in pairs.values() for pair in each):
        load_scripts()  # else every image would fail
    return BuildPlan(
        class_names=CITYSCAPES.names,
        class_colors=CITYSCAPES.colors,
        splits=pairs,
        arguments={"root": str(absolute(root))},
        make_example=make_example,
        full_sizes={
            name: sum(_SIZES[split] for _, split in sources) for name, sources in splits.items()
        },
    )


def make_example(pair: CityscapesPair) -> dict[str, bytes | str]:
    """Makes the values of the record of an image.

    Raises:
      UserError: one of the files cannot be used.
    """
    image, size = read_encoded_image(pair.image)
    if pair.instances is None:
        ids, instances = draw_polygons(pair, size)
        label, label_ids = encode_png(_TRAIN_IDS[ids]), encode_png(ids)
        instance_ids = _encode_instances(instances)
    else:
        label, label_size = _MASKS.read_label(pair.mask)
        label_ids = _require_grey(pair.mask, pair.mask.read_bytes(), bits=8)
        data, instances, _ = decode_file(pair.instances)
        instance_ids = _require_grey(pair.instances, data, bits=16)
        require_same_size(pair, size, label_size)
        require_same_size(dataclasses.replace(pair, mask=pair.instances), size, instances.size)
    return {
        "image": image,
        "label": label,
        "name": pair.name,
        "label_ids": label_ids,
        "instance_ids": instance_ids,
    }


def _archive(part: str, split: str) -> str:
    """Returns the name of the archive that has a part of a split."""
    if part == _COARSE:
        return "gtCoarse.zip"
    return f"{part}_trainextra.zip" if split == "train_extra" else f"{part}_trainvaltest.zip"


def _list_split(root: pathlib.Path, part: str, split: str) -> Mapping[str, File]:
    """Lists the images or the labels of a split by their names below its folder."""
    folder, archive = root / part / split, root / _archive(part, split)
    ending = rf"[^/]+/[^/]+_{part}(\.png|_(label|instance)Ids\.png|_polygons\.json)$"
    if folder.is_dir():
        return list_files(folder, f"^{ending}")
    if archive.exists():
        prefix = f"{part}/{split}/"
        files = list_files(archive, f"^{prefix}{ending}")
        return {name.removeprefix(prefix): file for name, file in files.items()}
    return {}


def _pairs(
    images: Mapping[str, File], masks: Mapping[str, File], labels: str
) -> list[CityscapesPair]:
    """Joins the images and the labels of a split.

    Args:
      images: the files of the images.
      masks: the files of the labels.
      labels: the kind of labels, as in their names.

    Raises:
      UserError: labels have no image, or an image lacks labels or instance ids.
    """
    image_files = _with_ending(images, f"_{_IMAGES}.png")
    ids, instances, polygons = (
        _with_ending(masks, f"_{labels}_{kind}")
        for kind in ("labelIds.png", "instanceIds.png", "polygons.json")
    )
    found = polygons | ids
    for what, lonely, others, expected in (
        ("images without labels", image_files, found, f"…_{labels}_labelIds.png or _polygons.json"),
        ("labels without image", found, image_files, f"…_{_IMAGES}.png"),
        ("label ids without instance ids", ids, instances, f"…_{labels}_instanceIds.png"),
    ):
        names = sorted(lonely.keys() - others.keys())
        if names:
            raise UserError(
                f"{len(names)} of {len(lonely)} {what}: "
                f"{some([str(lonely[name]) for name in names])}; expected {expected} for each"
            )
    return [
        CityscapesPair(name, image, found[name], instances[name] if name in ids else None)
        for name, image in sorted(image_files.items())
    ]


def _with_ending(files: Mapping[str, File], ending: str) -> dict[str, File]:
    """Returns the files whose names have an ending, by their names without it."""
    return {
        name.removesuffix(ending): file for name, file in files.items() if name.endswith(ending)
    }


def _require_grey(file: File, data: bytes, bits: int) -> bytes:
    """Returns the bytes of a file if they are a PNG that all readers decode to the same values."""
    # The header holds the bits per channel, and the colour type, 0 for grey.
    if not data.startswith(b"\x89PNG") or data[24:26] != bytes([bits, 0]):
        raise UserError(f"{file}: expected a grey PNG of {bits} bits" + _WAY_OUT)
    return data


def _encode_instances(ids: np.ndarray) -> bytes:
    """Encodes instance ids, uint16 `(h, w)`, as a 16-bit grey PNG."""
    buffer = io.BytesIO()
    Image.fromarray(ids).save(buffer, "PNG")
    return buffer.getvalue()
