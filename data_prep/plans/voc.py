"""The plan for PASCAL VOC 2012 and the Semantic Boundaries Dataset."""

import collections
import io
import pathlib
from collections.abc import Mapping

import numpy as np

from rnnseg.data.images import encode_png
from rnnseg.data.tables import PASCAL_VOC
from rnnseg.errors import UserError
from rnnseg.schemas import decode_text

from ..archives import File, list_files
from ..common import BuildPlan, Pair, absolute, some
from ..examples import MakePairExample
from ..masks import MaskReader

# The sizes of the full data sets; the paper of DeepLab gives the last one.
_FULL_SIZES = {"train": 1464, "val": 1449, "trainval": 2913, "train_aug": 10582}
_LISTS = "ImageSets/Segmentation/"
_KIT_FILES = rf"(^|/)(JPEGImages|SegmentationClass(Aug)?|{_LISTS[:-1]})/"
_SBD_FILES = r"(^|/)(cls/[^/]+\.mat|(train|val)\.txt)$"


def plan_voc(devkit: pathlib.Path, sbd: pathlib.Path | None = None) -> BuildPlan:
    """Lists the pairs of all splits.

    Args:
      devkit: the tar of the development kit, the `VOC2012` folder, or a folder above it.
      sbd: the archive of the Semantic Boundaries Dataset, or the folder that it was unpacked to.
        None: there is a split `train_aug` only if the kit has its list and its masks.

    Returns:
      The plan.

    Raises:
      UserError: a part of the kit, an image or a mask is missing, or a list is empty or has a name
        twice. In a split `train_aug` made with `sbd`, missing images are left out instead.
    """
    kit = _Kit(devkit)
    splits = {
        split: kit.pairs(split, "SegmentationClass") for split in ("train", "val", "trainval")
    }
    missing = {}
    if sbd is not None:
        splits["train_aug"], missing["train_aug"] = _augment(kit, splits, sbd)
    elif kit.has("SegmentationClassAug", "train_aug"):
        splits["train_aug"] = kit.pairs("train_aug", "SegmentationClassAug")
    return BuildPlan(
        class_names=PASCAL_VOC.names,
        class_colors=PASCAL_VOC.colors,
        splits=splits,
        arguments={
            "devkit": str(absolute(devkit)),
            "sbd": None if sbd is None else str(absolute(sbd)),
        },
        make_example=MakePairExample(_VocMasks(), as_stored=True),
        full_sizes={split: _FULL_SIZES[split] for split in splits},
        missing={split: names for split, names in missing.items() if names},
    )


class _Kit:
    """The files of the development kit."""

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._files = list_files(path, _KIT_FILES)
        lists = [name for name in self._files if name.endswith(f"{_LISTS}train.txt")]
        if len(lists) > 1:  # a VOCdevkit folder with several years
            lists = [name for name in lists if f"VOC2012/{_LISTS}" in f"/{name}"]
        if len(lists) != 1:
            raise self._incomplete(f"VOC2012/{_LISTS}train.txt")
        self._root = lists[0].removesuffix(f"{_LISTS}train.txt")
        for folder in ("JPEGImages", "SegmentationClass"):
            if not self._has_folder(folder):
                raise self._incomplete(self._root + folder)

    def _incomplete(self, part: str) -> UserError:
        return UserError(
            f"{self._path / part}: missing; expected {self._path} to be the kit's VOC2012 folder, "
            "with JPEGImages, SegmentationClass and ImageSets/Segmentation, a folder above it, or "
            "VOCtrainval_11-May-2012.tar"
        )

    def _has_folder(self, name: str) -> bool:
        return any(each.startswith(f"{self._root}{name}/") for each in self._files)

    def has(self, masks: str, split: str) -> bool:
        """Returns True if the kit has a list of the split and the folder of masks."""
        return self.get(f"{_LISTS}{split}.txt") is not None and self._has_folder(masks)

    def get(self, name: str) -> File | None:
        """Returns the file with a name below VOC2012; None if there is none."""
        return self._files.get(self._root + name)

    def pairs(self, split: str, masks: str) -> tuple[Pair, ...]:
        """Returns the pairs in the list of a split."""
        file = self.get(f"{_LISTS}{split}.txt")
        if file is None:
            raise self._incomplete(f"{self._root}{_LISTS}{split}.txt")
        names = _read_names(file)
        wanted = [(f"JPEGImages/{name}.jpg", f"{masks}/{name}.png") for name in names]
        missing = [each for pair in wanted for each in pair if self.get(each) is None]
        if missing:
            raise UserError(
                f"{len(missing)} files are missing of the {2 * len(names)} that {file} names: "
                + some([str(self._path / self._root / each) for each in missing])
            )
        return tuple(
            Pair(name, self.get(image), self.get(mask))
            for name, (image, mask) in zip(names, wanted, strict=True)
        )


def _augment(
    kit: _Kit, splits: Mapping[str, tuple[Pair, ...]], sbd: pathlib.Path
) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """Returns the split `train_aug`, and the names of its missing images.

    The split is (VOC train + SBD train + SBD val) - VOC val, the training set of DeepLab. Masks of
    the kit are preferred, since they are finer and mark the borders.
    """
    files = {
        pathlib.PurePosixPath(name).name: file for name, file in list_files(sbd, _SBD_FILES).items()
    }
    names = {pair.name: pair for pair in splits["train"]}
    for split in ("train.txt", "val.txt"):
        if split not in files:
            raise UserError(
                f"{sbd}: {split} is missing; expected benchmark.tgz of the Semantic Boundaries "
                "Dataset, or its folder dataset, with cls, train.txt and val.txt"
            )
        for name in _read_names(files[split]):
            names.setdefault(name, None)
    pairs, missing = [], []
    for name in sorted(names.keys() - {pair.name for pair in splits["val"]}):
        image, mask = kit.get(f"JPEGImages/{name}.jpg"), files.get(f"{name}.mat")
        if names[name] is not None:
            pairs.append(names[name])
        elif image is not None and mask is not None:
            pairs.append(Pair(name, image, mask))
        else:
            missing.append(name)
    return tuple(pairs), tuple(missing)


class _VocMasks:
    """The reader of the masks of the kit and of SBD."""

    def __init__(self):
        self._masks = MaskReader(
            PASCAL_VOC,
            encoding="index",
            index_way_out="; replace the file with the development kit's own",
        )

    def read_label(self, file: File) -> tuple[bytes, tuple[int, int]]:
        """Reads as `MaskReader.read_label`; SBD's masks are MATLAB files, `GTcls.Segmentation`."""
        if not str(file).endswith(".mat"):
            return self._masks.read_label(file)
        from scipy.io import loadmat

        data = file.read_bytes()
        try:
            labels = loadmat(io.BytesIO(data))["GTcls"][0, 0]["Segmentation"]
        except Exception as error:  # scipy has no common class for errors of damaged files
            raise UserError(
                f"{file}: cannot be read as a mask of the Semantic Boundaries Dataset ({error}); "
                "replace the file"
            ) from error
        labels = np.ascontiguousarray(labels)
        plain = labels.dtype == np.uint8 and labels.ndim == 2 and labels.size > 0
        if not plain or labels.max() >= len(PASCAL_VOC.names):
            most = f", up to {labels.max()}" if plain else ""
            raise UserError(
                f"{file}: {labels.dtype} of shape {labels.shape}{most}; expected "
                f"uint8 of two dimensions, 0 to {len(PASCAL_VOC.names) - 1}"
            )
        return encode_png(labels), labels.shape[::-1]


def _read_names(file: File) -> list[str]:
    names = decode_text(file.read_bytes(), str(file), "download the data set again").split()
    if not names:
        raise UserError(f"{file}: empty, expected the name of an image on every line")
    twice = [name for name, count in collections.Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"{file}: listed more than once: {some(twice)}")
    return names
