import io
import pathlib

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from data_prep.voc import CLASS_NAMES, main
from rnnseg.data.records import find_builds, open_records

PALETTE = [value for index in range(256) for value in (255 - index, 3, index)]


@pytest.fixture
def devkit(tmp_path, save_picture, save_mask):
    """A small development kit with an augmented split, whose masks differ from the others."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    splits = {"train": "ab", "val": "c", "trainval": "abc", "train_aug": "abd"}
    for split, names in splits.items():
        (lists / f"{split}.txt").write_text("".join(f"{name} \n" for name in names))
    for index, name in enumerate("abcde"):
        save_picture(root / "JPEGImages" / f"{name}.jpg")
        labels = np.full((9, 12), index)
        labels[0] = 255
        labels[1] = 20
        if name in "abc":
            save_mask(root / "SegmentationClass" / f"{name}.png", labels, PALETTE)
        if name in "abd":
            labels[2] = 15
            save_mask(root / "SegmentationClassAug" / f"{name}.png", labels, PALETTE)
    return root


def _run(devkit, out):
    return CliRunner().invoke(main, ["--devkit", str(devkit), "--out", str(out)])


def _fails(devkit, out):
    result = _run(devkit, out)
    assert result.exit_code == 2, result.output
    assert find_builds(out) == []
    last = result.stderr.splitlines()[-1].split("\r")[-1]
    assert last.startswith("error: ")
    return last


def _labels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.mark.parametrize("folder", ["VOC2012", "."])
def test_all_splits(tmp_path, devkit, folder, read_records):
    result = _run(devkit.parent / folder, tmp_path / "out")
    assert result.exit_code == 0, result.output
    source = open_records(tmp_path / "out")
    assert source.split_sizes == {"train": 2, "val": 1, "trainval": 3, "train_aug": 3}
    for split in source.split_sizes:
        for name, (image, label) in read_records(tmp_path / "out", split).items():
            assert image == (devkit / "JPEGImages" / f"{name}.jpg").read_bytes()
            folder = "SegmentationClassAug" if split == "train_aug" else "SegmentationClass"
            expected = np.asarray(Image.open(devkit / folder / f"{name}.png"))
            np.testing.assert_array_equal(_labels(label), expected)


def test_classes(tmp_path, devkit):
    assert _run(devkit, tmp_path / "out").exit_code == 0
    source = open_records(tmp_path / "out")
    assert source.class_names == CLASS_NAMES and len(CLASS_NAMES) == 21
    colors = dict(zip(source.class_names, source.class_colors, strict=True))
    # From the development kit's own table.
    assert colors["background"] == (0, 0, 0)
    assert colors["aeroplane"] == (128, 0, 0)
    assert colors["person"] == (192, 128, 128)
    assert colors["tvmonitor"] == (0, 64, 128)


@pytest.mark.parametrize("part", ["SegmentationClassAug", "ImageSets/Segmentation/train_aug.txt"])
def test_without_the_augmented_split(tmp_path, devkit, part):
    (devkit / part).rename(devkit / "away")
    assert _run(devkit, tmp_path / "out").exit_code == 0
    assert set(open_records(tmp_path / "out").split_sizes) == {"train", "val", "trainval"}


@pytest.mark.parametrize(
    "part", ["JPEGImages", "SegmentationClass", "ImageSets/Segmentation/val.txt", "."]
)
def test_missing_parts(tmp_path, devkit, part):
    (devkit / part).resolve().rename(tmp_path / "away")
    assert "missing; expected" in _fails(devkit, tmp_path / "out")


def test_missing_files(tmp_path, devkit):
    (devkit / "SegmentationClass" / "b.png").unlink()
    message = _fails(devkit, tmp_path / "out")
    assert "1 files are missing of the 4 that" in message
    assert f"Segmentation/train.txt names: {devkit / 'SegmentationClass' / 'b.png'}" in message
    (devkit / "JPEGImages" / "b.jpg").unlink()
    message = _fails(devkit, tmp_path / "out")
    assert "2 files are missing of the 4 that" in message
    assert str(devkit / "JPEGImages" / "b.jpg") in message
    assert not (tmp_path / "out").exists()


def test_lists_that_cannot_be_used(tmp_path, devkit):
    names = devkit / "ImageSets" / "Segmentation" / "train.txt"
    names.write_text("\n")
    assert f"{names}: empty" in _fails(devkit, tmp_path / "out")
    names.write_text("a\nb\na\n")
    assert f"{names}: more than once: a" in _fails(devkit, tmp_path / "out")


def test_a_value_that_is_no_class(tmp_path, devkit, save_mask):
    path = devkit / "SegmentationClass" / "c.png"
    save_mask(path, np.full((9, 12), 21), PALETTE)
    message = _fails(devkit, tmp_path / "out")
    assert f"{path}: value 21 (first at column 0, row 0) with 21 classes" in message
    assert "expected 0 to 20 or 255" in message and "--ignore" not in message


def test_decoded_masks_are_refused(tmp_path, devkit):
    path = devkit / "SegmentationClass" / "a.png"
    Image.open(path).convert("RGB").save(path)
    assert f"{path}: a mask in mode RGB" in _fails(devkit, tmp_path / "out")


@pytest.mark.slow
def test_the_real_development_kit(tmp_path, real_data, read_records):
    devkit = real_data / "VOCdevkit"
    result = _run(devkit, tmp_path / "voc")
    assert result.exit_code == 0, result.output
    source = open_records(tmp_path / "voc")
    assert source.split_sizes == {"train": 457, "val": 231, "trainval": 688, "train_aug": 1200}
    for split, folder in (("val", "SegmentationClass"), ("train_aug", "SegmentationClassAug")):
        records = read_records(tmp_path / "voc", split)
        root = devkit / "VOC2012"
        names = pathlib.Path(root / "ImageSets" / "Segmentation" / f"{split}.txt").read_text()
        assert set(records) == set(names.split())
        for name in sorted(records)[::50]:
            image, label = records[name]
            assert image == (root / "JPEGImages" / f"{name}.jpg").read_bytes()
            mask = np.asarray(Image.open(root / folder / f"{name}.png"))
            np.testing.assert_array_equal(_labels(label), mask)
