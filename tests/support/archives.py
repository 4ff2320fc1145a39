"""The published archives of VOC, SBD, Cityscapes and COCO, with a few drawn images each."""

import io
import json
import tarfile
import zipfile

import numpy as np
from PIL import Image
from scipy.io import savemat

from data_prep.plans.coco import _LABELS
from tests.support.sources import encode, halves

_SIZE = 48, 64
_CITIES = {"train": "aachen", "val": "frankfurt", "test": "berlin", "train_extra": "erfurt"}
_TEST_SIZE = 1024, 2048  # required by the test server


def _images(count, size=_SIZE):
    return [(image, np.where(label == 255, 0, label)) for image, label in halves(count, *size)]


def _jpeg(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG")
    return file.getvalue()


def _tar(path, mode, files):
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def _zip(path, files):
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def write_voc(folder):
    """Writes `VOCtrainval_11-May-2012.tar`, `VOC2012test.tar` and `benchmark.tgz` of SBD."""
    kit, sbd = {}, {}
    names = [f"2007_{index:06d}" for index in range(6)]
    splits = {"train": names[:3], "val": names[3:5], "trainval": names[:5]}
    root, dataset = "VOCdevkit/VOC2012", "benchmark_RELEASE/dataset"
    for split, listed in splits.items():
        kit[f"{root}/ImageSets/Segmentation/{split}.txt"] = "\n".join(listed).encode()
    for name, (image, label) in zip(names, _images(6), strict=True):
        kit[f"{root}/JPEGImages/{name}.jpg"] = _jpeg(image)
        if name != names[5]:
            kit[f"{root}/SegmentationClass/{name}.png"] = encode(label.astype(np.uint8))
        mat = io.BytesIO()
        savemat(mat, {"GTcls": {"Segmentation": label.astype(np.uint8)}})
        sbd[f"{dataset}/cls/{name}.mat"] = mat.getvalue()
    sbd[f"{dataset}/train.txt"] = "\n".join(names[:4]).encode()
    sbd[f"{dataset}/val.txt"] = "\n".join(names[4:]).encode()
    test = {
        f"{root}/ImageSets/Segmentation/test.txt": b"2008_000001",
        f"{root}/JPEGImages/2008_000001.jpg": _jpeg(_images(1)[0][0]),
    }
    _tar(folder / "VOCtrainval_11-May-2012.tar", "w", kit)
    _tar(folder / "VOC2012test.tar", "w", test)
    _tar(folder / "benchmark.tgz", "w:gz", sbd)


def write_cityscapes(folder):
    """Writes the four zips of images, fine labels and coarse labels."""
    images, extra, fine, coarse = ({} for _ in range(4))
    for split, city in _CITIES.items():
        for index, (image, label) in enumerate(_images(2)):
            if split == "test":  # its labels are dummies
                image, label = np.full((*_TEST_SIZE, 3), 90, np.uint8), np.zeros(_TEST_SIZE)
            name = f"{split}/{city}/{city}_{index:06d}_000019"
            ids = (label + 7).astype(np.uint8)  # road, sidewalk, parking
            group = extra if split == "train_extra" else images
            group[f"leftImg8bit/{name}_leftImg8bit.png"] = encode(image)
            for part, files in (("gtFine", fine), ("gtCoarse", coarse)):
                if (part, split) in (("gtFine", "train_extra"), ("gtCoarse", "test")):
                    continue
                files[f"{part}/{name}_{part}_labelIds.png"] = encode(ids)
                files[f"{part}/{name}_{part}_instanceIds.png"] = encode(ids.astype(np.uint16))
    _zip(folder / "leftImg8bit_trainvaltest.zip", images)
    _zip(folder / "leftImg8bit_trainextra.zip", extra)
    _zip(folder / "gtFine_trainvaltest.zip", fine)
    _zip(folder / "gtCoarse.zip", coarse)


def write_coco(folder):
    """Writes `train2017.zip`, `val2017.zip` and `annotations_trainval2017.zip`."""
    annotations = {}
    for first, (split, count) in enumerate({"train": 3, "val": 2}.items()):
        numbers = range(10 * first, 10 * first + count)
        images = dict(zip(numbers, _images(count), strict=True))
        names = {number: f"{number:012d}.jpg" for number in numbers}
        _zip(
            folder / f"{split}2017.zip",
            {f"{split}2017/{names[each]}": _jpeg(image) for each, (image, _) in images.items()},
        )
        content = {
            "images": [
                {"id": number, "file_name": names[number], "height": _SIZE[0], "width": _SIZE[1]}
                for number in numbers
            ],
            "annotations": [
                {
                    "id": number,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "area": 1200,
                    "segmentation": [[0, 0, 40, 0, 40, 30, 0, 30]],
                }
                for number in numbers
            ],
            "categories": [
                {"id": number, "name": name} for number, name in enumerate(_LABELS, start=1)
            ],
        }
        annotations[f"annotations/instances_{split}2017.json"] = json.dumps(content).encode()
    _zip(folder / "annotations_trainval2017.zip", annotations)
