import functools
import http.server
import io
import os
import pathlib
import pickle
import shutil
import tarfile
import threading

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.io import savemat

from data_prep.plans.voc import plan_voc
from data_prep.voc import main
from rnnseg.data.records import find_builds, open_records
from rnnseg.data.tables import PASCAL_VOC
from rnnseg.errors import UserError

PALETTE = [value for index in range(256) for value in (255 - index, 3, index)]


@pytest.fixture
def devkit(tmp_path, save_image, save_mask):
    """A small development kit with an augmented split, whose masks differ from the kit's."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    splits = {"train": "ab", "val": "c", "trainval": "abc", "train_aug": "abd"}
    for split, names in splits.items():
        (lists / f"{split}.txt").write_text("".join(f"{name} \n" for name in names))
    for index, name in enumerate("abcde"):
        save_image(root / "JPEGImages" / f"{name}.jpg")
        labels = np.full((9, 12), index)
        labels[0] = 255
        labels[1] = 20
        if name in "abc":
            save_mask(root / "SegmentationClass" / f"{name}.png", labels, PALETTE)
        if name in "abd":
            labels[2] = 15
            save_mask(root / "SegmentationClassAug" / f"{name}.png", labels, PALETTE)
    return root


@pytest.fixture
def sbd(tmp_path, devkit):
    """A small SBD, which names b to g: f has no mask, and g has no image."""
    root = tmp_path / "benchmark_RELEASE" / "dataset"
    (root / "cls").mkdir(parents=True)
    (root / "train.txt").write_text("b\nd\ne\n")
    (root / "val.txt").write_text("c\nf\ng\n")
    for name in "bcdeg":
        _save_mat(root / "cls" / f"{name}.mat", np.full((9, 12), ord(name) - ord("a"), np.uint8))
    (root / "img").mkdir()
    (root / "img" / "d.jpg").write_bytes(b"not used")
    shutil.copy(devkit / "JPEGImages" / "a.jpg", devkit / "JPEGImages" / "f.jpg")
    return root.parent


def _save_mat(path, labels):
    fields = {"Boundaries": labels, "Segmentation": labels, "CategoriesPresent": np.unique(labels)}
    savemat(path, {"GTcls": fields})


def _pack(folder, path, mode):
    with tarfile.open(path, mode) as archive:
        archive.add(folder, folder.name)
    return path


def _run(devkit, out, *more):
    return CliRunner().invoke(main, ["--devkit", str(devkit), "--out", str(out), *map(str, more)])


def _fails(devkit, out, *more):
    result = _run(devkit, out, *more)
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
    assert source.class_names == PASCAL_VOC.names and len(PASCAL_VOC.names) == 21
    colors = dict(zip(source.class_names, source.class_colors, strict=True))
    # From the table in the development kit.
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
    message = _fails(devkit, tmp_path / "out")
    assert ("no such file or folder" if part == "." else "missing; expected") in message


def test_missing_files(tmp_path, devkit):
    (devkit / "SegmentationClass" / "b.png").unlink()
    message = _fails(devkit, tmp_path / "out")
    assert "1 files are missing of the 4 that" in message
    assert f"Segmentation/train.txt names: {devkit / 'SegmentationClass' / 'b.png'}" in message
    (devkit / "JPEGImages" / "b.jpg").unlink()
    message = _fails(devkit, tmp_path / "out")
    assert "2 files are missing of the 4 that" in message
    assert "JPEGImages/b.jpg" in message
    assert not (tmp_path / "out").exists()


def test_lists_that_cannot_be_used(tmp_path, devkit):
    names = devkit / "ImageSets" / "Segmentation" / "train.txt"
    names.write_text("\n")
    assert f"{names}: empty" in _fails(devkit, tmp_path / "out")
    names.write_text("a\nb\na\n")
    assert f"{names}: listed more than once: a" in _fails(devkit, tmp_path / "out")


def test_a_value_that_is_not_a_class(tmp_path, devkit, save_mask):
    path = devkit / "SegmentationClass" / "c.png"
    save_mask(path, np.full((9, 12), 21), PALETTE)
    message = _fails(devkit, tmp_path / "out")
    assert f"{path}: value 21 (first at column 0, row 0) with 21 classes" in message
    assert "expected 0 to 20, 255" in message and "--ignore" not in message


def test_decoded_masks_are_refused(tmp_path, devkit):
    path = devkit / "SegmentationClass" / "a.png"
    Image.open(path).convert("RGB").save(path)
    assert f"{path}: a mask in mode RGB" in _fails(devkit, tmp_path / "out")


@pytest.mark.parametrize("packed", [False, True])
def test_the_augmented_split(tmp_path, devkit, sbd, read_records, packed):
    kit, other = devkit.parent, sbd
    if packed:
        kit = _pack(kit, tmp_path / "VOCtrainval_11-May-2012.tar", "w")
        other = _pack(other, tmp_path / "benchmark.tgz", "w:gz")
    result = _run(kit, tmp_path / "out", "--sbd", other)
    assert result.exit_code == 0, result.output
    # train and both lists of SBD without val, which is c. In SBD, f has no mask and g no image.
    assert "train_aug: 4 images, of 10582 in the full data set" in result.stdout
    assert "train_aug: 2 images are missing" in result.stdout and "f, g" in result.stdout
    (build,) = find_builds(tmp_path / "out")
    assert (build / "missing-train_aug.txt").read_text() == "f\ng\n"
    records = read_records(tmp_path / "out", "train_aug")
    assert set(records) == {"a", "b", "d", "e"}
    for name, (image, label) in records.items():
        assert image == (devkit / "JPEGImages" / f"{name}.jpg").read_bytes()
        if name in "ab":  # masks of the kit are preferred
            expected = np.asarray(Image.open(devkit / "SegmentationClass" / f"{name}.png"))
        else:
            expected = np.full((9, 12), ord(name) - ord("a"))
        np.testing.assert_array_equal(_labels(label), expected)
    assert set(read_records(tmp_path / "out", "val")) == {"c"}


def test_train_aug_of_the_full_lists_has_the_published_size(tmp_path):
    # Lists with the lengths and the overlap of the published ones.
    numbers = np.random.default_rng(0).permutation(20000)
    train, val = numbers[:1464], numbers[1464:2913]
    both = numbers[:2913]
    sbd = np.concatenate([both[: 11355 - 9118], numbers[2913 : 2913 + 9118]])
    kit, other = tmp_path / "kit", tmp_path / "dataset"
    for folder in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass"):
        (kit / folder).mkdir(parents=True)
    (other / "cls").mkdir(parents=True)
    for split, names in (("train", train), ("val", val), ("trainval", both)):
        path = kit / "ImageSets" / "Segmentation" / f"{split}.txt"
        path.write_text("".join(f"{name}\n" for name in names))
        for name in names:
            (kit / "SegmentationClass" / f"{name}.png").touch()
    for split, names in (("train", sbd[:8498]), ("val", sbd[8498:])):
        (other / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
        for name in names:
            (other / "cls" / f"{name}.mat").touch()
    for name in {*both, *sbd}:
        (kit / "JPEGImages" / f"{name}.jpg").touch()
    plan = plan_voc(kit, other)
    assert callable(pickle.loads(pickle.dumps(plan.make_example)))
    assert len(plan.splits["train_aug"]) == plan.full_sizes["train_aug"] == 10582
    assert plan.missing == {}
    assert {pair.name for pair in plan.splits["train_aug"]} == set(
        map(str, {*train, *sbd} - {*val})
    )


def test_missing_and_damaged_parts_of_sbd(tmp_path, devkit, sbd):
    out = tmp_path / "out"
    (sbd / "dataset" / "val.txt").rename(tmp_path / "val.txt")
    assert "val.txt is missing; expected benchmark.tgz" in _fails(devkit, out, "--sbd", sbd)
    (tmp_path / "val.txt").rename(sbd / "dataset" / "val.txt")
    path = sbd / "dataset" / "cls" / "d.mat"
    whole = path.read_bytes()
    for data in (whole[:150], b"", b"hello" * 100):
        path.write_bytes(data)
        assert f"{path}: cannot be read as a mask" in _fails(devkit, out, "--sbd", sbd)
    _save_mat(path, np.full((9, 12), 21, np.uint8))
    assert f"{path}: uint8 of shape (9, 12), up to 21; expected" in _fails(
        devkit, out, "--sbd", sbd
    )
    _save_mat(path, np.zeros((9, 11), np.uint8))
    assert f"{path}: a mask of 9x11 pixels, expected 9x12" in _fails(devkit, out, "--sbd", sbd)
    result = _run(devkit, out, "--sbd", sbd, "--skip-bad")
    assert result.exit_code == 0 and "train_aug: 1 images left out" in result.stdout
    assert open_records(out).split_sizes["train_aug"] == 3


@pytest.mark.parametrize("kept", [0.2, 0.5])
def test_truncated_archives(tmp_path, devkit, sbd, kept):
    kit = _pack(devkit.parent, tmp_path / "kit.tar", "w")
    other = _pack(sbd, tmp_path / "benchmark.tgz", "w:gz")
    for path in (other, kit):
        os.truncate(path, int(path.stat().st_size * kept))
        message = _fails(kit, tmp_path / "out", "--sbd", other)
        assert f"{path}: truncated or damaged" in message and "download it again" in message


def test_published_files_are_found_by_their_names(tmp_path, devkit, sbd, read_records):
    import tensorflow_datasets as tfds

    import data_prep.builders  # noqa: F401 - registers the builder

    downloads = tmp_path / "downloads"
    downloads.mkdir()
    _pack(devkit.parent, downloads / "VOCtrainval_11-May-2012.tar", "w")
    (downloads / "manual").mkdir()
    _pack(sbd, downloads / "manual" / "benchmark.tgz", "w:gz")
    arguments = ["--config", "augmented", "--download-dir", str(downloads)]
    result = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    sizes = {"train": 2, "val": 1, "trainval": 3, "train_aug": 4}
    assert open_records(tmp_path / "out").split_sizes == sizes

    splits, info = tfds.load(
        "voc_segmentation/augmented",
        data_dir=tmp_path / "tfds",
        with_info=True,
        download_and_prepare_kwargs={
            "download_dir": downloads,
            "download_config": tfds.download.DownloadConfig(try_download_gcs=False),
        },
    )
    assert {split: len(each) for split, each in splits.items()} == sizes
    assert info.metadata["class_names"] == list(PASCAL_VOC.names)
    assert "everingham" in info.citation and info.homepage.startswith("http") and info.description
    for split in sizes:
        records = read_records(tmp_path / "out", split)
        assert read_records(tmp_path / "tfds", split) == records
        for example in splits[split].as_numpy_iterator():
            expected = _labels(records[example["name"].decode()][1])
            np.testing.assert_array_equal(example["label"][..., 0], expected)

    # A second run does not need the archives.
    shutil.rmtree(downloads)
    result = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0 and "Already built" in result.stdout


@pytest.fixture
def server(tmp_path):
    """Runs a web server of a folder and yields its address and the folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("localhost", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://localhost:{running.server_port}", folder
        running.shutdown()


def test_downloading(tmp_path, devkit, server, monkeypatch):
    from data_prep import builders

    address, folder = server
    _pack(devkit.parent, folder / "kit.tar", "w")
    monkeypatch.setattr(builders, "_VOC_URL", f"{address}/kit.tar")
    arguments = ["--download-dir", str(tmp_path / "downloads"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    sizes = {"train": 2, "val": 1, "trainval": 3, "train_aug": 3}
    assert open_records(tmp_path / "out").split_sizes == sizes

    monkeypatch.setattr(builders, "_VOC_URL", f"{address}/none.tar")
    arguments[-1] = str(tmp_path / "other")
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert f"error: {address}/none.tar: cannot be downloaded" in result.stderr
    assert f"put VOCtrainval_11-May-2012.tar into {tmp_path / 'downloads'}" in result.stderr


def test_options_that_do_not_fit(tmp_path, devkit, sbd):
    message = _fails(devkit, tmp_path / "out", "--sbd", sbd, "--config", "segmentation")
    assert "--sbd: needs --config augmented" in message
    with pytest.raises(UserError, match="no such file"):
        plan_voc(tmp_path / "missing")


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
        for name in sorted(records):
            image, label = records[name]
            assert image == (root / "JPEGImages" / f"{name}.jpg").read_bytes()
            mask = np.asarray(Image.open(root / folder / f"{name}.png"))
            np.testing.assert_array_equal(_labels(label), mask)
