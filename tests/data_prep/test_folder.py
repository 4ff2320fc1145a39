import io
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from data_prep.folder import main
from data_prep.plans.folder import join_pairs, plan_folder
from rnnseg.data.images import read_image
from rnnseg.data.records import find_builds, open_records, unfinished_builds
from rnnseg.errors import UserError

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
CLASSES = ["sky", "road", "car"]


@pytest.fixture
def data(tmp_path, save_image, save_mask):
    """Writes images, masks and classes of two splits; returns the arguments of the command."""
    generator = np.random.default_rng(1)
    for name in ("town/a", "town/b", "c.left"):
        save_image(tmp_path / "images" / f"{name}.jpg")
        save_mask(tmp_path / "masks" / f"{name}.png", generator.integers(0, 3, (9, 12)))
    save_image(tmp_path / "val_images" / "d.png", (7, 5))
    save_mask(tmp_path / "val_masks" / "d.png", generator.integers(0, 3, (5, 7)))
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    names = ("images", "masks", "val_images", "val_masks", "classes", "out")
    arguments = {f"--{name.replace('_', '-')}": str(tmp_path / name) for name in names}
    arguments["--classes"] += ".txt"
    return arguments


def _run(arguments, *more):
    return CliRunner().invoke(
        main, [text for pair in arguments.items() for text in pair] + list(more)
    )


def _fails(arguments, *more):
    """Runs the command, which must fail and leave no build, and returns its line of error."""
    result = _run(arguments, *more)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    last = result.stderr.splitlines()[-1].split("\r")[-1]
    assert last.startswith("error: ")
    out = pathlib.Path(arguments["--out"])
    assert find_builds(out) == [] and unfinished_builds(out) == []
    return last


def _relative(arguments):
    """Arguments with paths from the present folder, which leave room for the rest of a message."""
    return {name: os.path.relpath(path) for name, path in arguments.items()}


def _decode(png):
    image = Image.open(io.BytesIO(png))
    assert (image.format, image.mode) == ("PNG", "L")
    return np.asarray(image)


def test_records_hold_the_files_and_their_labels(tmp_path, data, read_records):
    result = _run(data)
    assert result.exit_code == 0, result.output
    assert "train: 3 images" in result.stdout and "val: 1 images" in result.stdout
    assert f"rnnseg inspect {tmp_path / 'out'}" in result.stdout
    assert f"rnnseg train --data {tmp_path / 'out'}" in result.stdout
    for split, images, masks, names in (
        ("train", "images", "masks", {"town/a", "town/b", "c.left"}),
        ("val", "val_images", "val_masks", {"d"}),
    ):
        records = read_records(tmp_path / "out", split)
        assert set(records) == names
        for name, (image, label) in records.items():
            (file,) = (tmp_path / images).glob(f"{name}.*")
            assert image == file.read_bytes()
            mask = np.asarray(Image.open(tmp_path / masks / f"{name}.png"))
            np.testing.assert_array_equal(_decode(label), mask)


def test_tfds_loads_the_builder_by_its_name(tmp_path, data, read_records):
    import tensorflow_datasets as tfds

    import data_prep.builders  # noqa: F401 - registers the builder

    assert _run(data).exit_code == 0
    options = {key[2:].replace("-", "_"): value for key, value in data.items() if key != "--out"}
    splits, info = tfds.load(
        "segmentation_folder",
        data_dir=tmp_path / "tfds",
        with_info=True,
        builder_kwargs={"folders": options},
        download_and_prepare_kwargs={
            "download_config": tfds.download.DownloadConfig(try_download_gcs=False)
        },
    )
    assert {split: len(each) for split, each in splits.items()} == {"train": 3, "val": 1}
    assert info.metadata["class_names"] == CLASSES and info.description
    for split in splits:
        assert read_records(tmp_path / "tfds", split) == read_records(tmp_path / "out", split)


def test_palette_masks_keep_their_indices(tmp_path, data, save_mask, read_records):
    labels = np.arange(12 * 9).reshape(9, 12) % 3
    labels[0, 0] = 255
    palette = [value for index in range(256) for value in (255 - index, 0, index)]
    save_mask(tmp_path / "masks" / "town" / "a.png", labels, palette)
    assert _run(data, "--ignore", "255").exit_code == 0
    label = read_records(tmp_path / "out", "train")["town/a"][1]
    np.testing.assert_array_equal(_decode(label), labels)


def test_color_masks_suffix_and_links(tmp_path, save_image, read_records):
    save_image(tmp_path / "elsewhere" / "x.png", (3, 1))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images" / "Thumbs.db").write_bytes(b"no image")
    (tmp_path / "images" / "._x.png").write_bytes(b"no image")
    (tmp_path / "masks" / "linked").mkdir(parents=True)
    colors = np.array([[[1, 2, 3], [40, 50, 60], [9, 9, 9]]], np.uint8)
    Image.fromarray(colors).save(tmp_path / "masks" / "linked" / "x_L.png")
    (tmp_path / "masks" / "linked" / "x_instances.png").write_bytes(b"something else")
    (tmp_path / "classes.txt").write_text("car 40 50 60\n1 2 3 road\n")
    arguments = {
        "--images": str(tmp_path / "images"),
        "--masks": str(tmp_path / "masks"),
        "--classes": str(tmp_path / "classes.txt"),
        "--mask-suffix": "_L",
        "--out": str(tmp_path / "out"),
    }
    assert "colour 9 9 9 (first at column 2, row 0)" in _fails(arguments)
    result = _run(arguments, "--ignore", "9,9,9")
    assert result.exit_code == 0, result.output
    label = read_records(tmp_path / "out", "train")["linked/x"][1]
    np.testing.assert_array_equal(_decode(label), [[1, 0, 255]])
    source = open_records(tmp_path / "out")
    assert source.class_names == ("car", "road")
    assert source.class_colors == ((40, 50, 60), (1, 2, 3))
    assert source.split_sizes == {"train": 1}


def test_a_value_outside_the_classes(tmp_path, data, save_mask):
    labels = np.zeros((9, 12))
    labels[4, 5] = 255
    save_mask(tmp_path / "masks" / "town" / "b.png", labels)
    message = _fails(data)
    assert "masks/town/b.png: value 255 (first at column 5, row 4)" in message
    assert "3 classes, expected 0 to 2" in message
    assert "--ignore 255" in message and "--mask-encoding color" in message


def test_sizes_that_differ(tmp_path, data, save_mask):
    save_mask(tmp_path / "val_masks" / "d.png", np.zeros((7, 5)))
    message = _fails(data)
    assert f"{tmp_path / 'val_masks' / 'd.png'}: a mask of 7x5 pixels, expected 5x7" in message


def test_files_without_their_counterpart(tmp_path, data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "masks" / "town" / "a.png").unlink()
    message = _fails(_relative(data))
    assert f"1 of 3 images without mask: {pathlib.Path('images', 'town', 'a.jpg')}" in message
    (tmp_path / "images" / "town" / "a.jpg").unlink()
    (tmp_path / "images" / "town" / "b.jpg").unlink()
    message = _fails(_relative(data))
    assert f"1 of 2 masks without image: {pathlib.Path('masks', 'town', 'b.png')}" in message
    assert not (tmp_path / "out").exists()  # found before anything is written


@pytest.mark.parametrize("file", ["images/town/b.jpg", "val_images/d.png", "masks/town/b.png"])
def test_truncated_files(tmp_path, data, file):
    path = tmp_path / file
    path.write_bytes(path.read_bytes()[:-6])
    message = _fails(data)
    assert str(path) in message and "truncated" in message


def test_broken_links(tmp_path, data):
    path = tmp_path / "images" / "town" / "a.jpg"
    path.unlink()
    path.symlink_to(tmp_path / "nowhere.jpg")
    assert f"{path}: cannot be read (No such file" in _fails(data)


def test_images_in_other_formats(tmp_path, data, read_records):
    (tmp_path / "images" / "town" / "a.jpg").unlink()
    Image.new("RGB", (12, 9), "teal").save(tmp_path / "images" / "town" / "a.bmp")
    assert _run(data).exit_code == 0
    image = Image.open(io.BytesIO(read_records(tmp_path / "out", "train")["town/a"][0]))
    assert image.format == "PNG"
    assert image.getcolors() == [(12 * 9, (0, 128, 128))]


@pytest.mark.parametrize("is_upright", [True, False])
def test_photographs_of_a_turned_camera(tmp_path, data, save_mask, is_upright):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    path = tmp_path / "images" / "town" / "a.jpg"
    Image.fromarray(pixels).save(path, exif=exif)
    labels = np.arange(12 * 9).reshape(9, 12) % 3
    upright = np.rot90(labels, -1)
    save_mask(tmp_path / "masks" / "town" / "a.png", upright if is_upright else labels)
    plan = plan_folder(
        **{key[2:].replace("-", "_"): value for key, value in data.items() if key != "--out"}
    )
    (pair,) = (pair for pair in plan.splits["train"] if pair.name == "town/a")
    example = plan.make_example(pair)
    np.testing.assert_array_equal(_decode(example["label"]), upright)
    image = np.asarray(Image.open(io.BytesIO(example["image"])))
    np.testing.assert_array_equal(image, read_image(path))
    assert image.shape[:2] == upright.shape


def test_two_images_with_the_same_name(tmp_path, data, save_image):
    save_image(tmp_path / "images" / "town" / "a.png")
    assert "two files with the same name" in _fails(data)


def test_folders_that_cannot_be_used(tmp_path, data):
    (tmp_path / "empty").mkdir()
    assert f"{tmp_path / 'empty'}: no images" in _fails(
        {**data, "--images": str(tmp_path / "empty")}
    )
    assert "no such folder" in _fails({**data, "--masks": str(tmp_path / "missing")})
    assert "_L.png" in _fails(data, "--mask-suffix", "_L")
    assert "expected a folder" in _fails({**data, "--out": data["--classes"]})
    del data["--val-masks"]
    assert "--val-images and --val-masks" in _fails(data)


def test_options_that_do_not_fit(data):
    assert "--ignore none: expected an index" in _fails(data, "--ignore", "none")
    assert "name R G B" in _fails(data, "--ignore", "1,2,3")
    assert "name R G B" in _fails(data, "--mask-encoding", "color")
    classes = pathlib.Path(data["--classes"])
    classes.write_text("sky 0 0 255\nroad 0 0 0\ncar 255 0 0\n")
    color = _fails(data, "--mask-encoding", "color", "--ignore", "7")
    assert "--ignore 7: expected R,G,B with --mask-encoding color" in color
    assert "--remap 7=bus: no class 'bus'" in _fails(data, "--remap", "7=bus")
    assert "--split val=0.5: not together with --val-images" in _fails(data, "--split", "val=0.5")
    index = _fails(data, "--mask-encoding", "index", "--ignore", "1,2,3")
    assert "--ignore 1,2,3: expected an index with --mask-encoding index" in index


def test_join_pairs_counts_what_is_missing():
    images = {name: pathlib.Path(f"i/{name}.jpg") for name in "abcdef"}
    masks = {name: pathlib.Path(f"m/{name}.png") for name in "fg"}
    with pytest.raises(UserError) as error:
        join_pairs(images, masks, "something else")
    assert str(error.value) == (
        "5 of 6 images without mask: i/a.jpg, i/b.jpg, i/c.jpg and 2 more; "
        "1 of 2 masks without image: m/g.png; expected something else"
    )
    pairs = join_pairs(images, {name: pathlib.Path(name) for name in "fedcba"}, "")
    assert [pair.name for pair in pairs] == list("abcdef")


def test_tables_and_remapping(tmp_path, data, save_mask, read_records, monkeypatch):
    labels = np.array([[7, 9, 300], [0, 11, 9]], np.uint16)
    expected = [[1, 0, 1], [255, 255, 0]]
    for file in ("town/a", "town/b", "c.left"):
        Image.fromarray(labels).save(tmp_path / "masks" / f"{file}.png")
        Image.new("RGB", (3, 2), len(file)).save(tmp_path / "images" / f"{file}.jpg")
    save_mask(tmp_path / "val_masks" / "d.png", np.full((5, 7), 9))
    table = "id;name;red;green;blue\n9;sky;1;2;3\n7;road;4;5;6\n0;ignore;0;0;0\n"
    (tmp_path / "classes.csv").write_text(table)
    data["--classes"] = str(tmp_path / "classes.csv")
    monkeypatch.chdir(tmp_path)
    message = _fails(_relative(data))
    assert "value 11, 300" in message and "expected 0, 7, 9; if it is no class" in message
    result = _run(data, "--remap", "300=road", "--ignore", "11")
    assert result.exit_code == 0, result.output
    for _, label in read_records(tmp_path / "out", "train").values():
        np.testing.assert_array_equal(_decode(label), expected)
    source = open_records(tmp_path / "out")
    assert source.class_names == ("sky", "road")
    assert source.class_colors == ((1, 2, 3), (4, 5, 6))
    # The same names and colours, but other labels.
    (tmp_path / "classes.csv").write_text(table.replace("0;ignore", "1;ignore"))
    again = _run(data, "--remap", "300=road", "--ignore", "11")
    assert again.exit_code == 2 and "built with other arguments exists already" in again.stderr


def test_splits_of_one_folder(tmp_path, data, save_image, save_mask, read_records):
    for number in range(6):
        save_image(tmp_path / "images" / f"{number}.png")
        save_mask(tmp_path / "masks" / f"{number}.png", np.zeros((9, 12)))
    (tmp_path / "test.txt").write_text("town/a.jpg\n4\n")
    del data["--val-images"], data["--val-masks"]
    result = _run(data, "--split", "val=0.4", "--split", f"test={tmp_path / 'test.txt'}")
    assert result.exit_code == 0, result.output
    assert open_records(tmp_path / "out").split_sizes == {"train": 4, "val": 3, "test": 2}
    names = [set(read_records(tmp_path / "out", split)) for split in ("train", "val", "test")]
    assert names[2] == {"town/a", "4"}
    assert set.union(*names) == {*"012345", "town/a", "town/b", "c.left"}


def _plan(data, **options):
    """Returns the plan of the command with some options changed."""
    arguments = {name[2:].replace("-", "_"): value for name, value in data.items()}
    del arguments["out"]
    return plan_folder(**arguments | options)


NO_VAL = {"val_images": None, "val_masks": None}


def test_images_in_no_list_need_no_mask(tmp_path, data, capsys):
    (tmp_path / "masks" / "town" / "b.png").unlink()
    lists = {"train": "town/a", "val": "c.left"}
    for split, name in lists.items():
        (tmp_path / f"{split}.txt").write_text(name)
    plan = _plan(data, split=[f"{split}={tmp_path / split}.txt" for split in lists], **NO_VAL)
    found = {split: [pair.name for pair in pairs] for split, pairs in plan.splits.items()}
    assert found == {split: [name] for split, name in lists.items()}
    assert capsys.readouterr().err == "1 of 3 images are in no list and left out\n"
    with pytest.raises(UserError, match="1 of 3 images without mask"):
        _plan(data, split=[f"val={tmp_path / 'val.txt'}"], **NO_VAL)


def test_an_image_in_two_splits(tmp_path, data):
    shutil.copy(tmp_path / "images" / "town" / "a.jpg", tmp_path / "images" / "copy.jpg")
    shutil.copy(tmp_path / "masks" / "town" / "a.png", tmp_path / "masks" / "copy.png")
    (tmp_path / "val.txt").write_text("copy")
    with pytest.raises(UserError) as error:
        _plan(data, split=[f"val={tmp_path / 'val.txt'}"], **NO_VAL)
    for name in ("town/a.jpg", "copy.jpg"):
        assert str(tmp_path / "images" / name) in str(error.value)
    (tmp_path / "val.txt").write_text("copy\ntown/a")
    assert len(_plan(data, split=[f"val={tmp_path / 'val.txt'}"], **NO_VAL).splits["val"]) == 2
    # The same holds for splits in separate folders.
    shutil.copy(tmp_path / "images" / "town" / "b.jpg", tmp_path / "val_images" / "d.jpg")
    (tmp_path / "val_images" / "d.png").unlink()
    with pytest.raises(UserError, match="d.jpg: the same image in the splits train and val"):
        _plan(data)


def test_every_option_changes_the_stored_arguments(tmp_path, data):
    classes = tmp_path / "classes.json"
    rows = [{"name": "sky", "color": [1, 1, 1]}, {"name": "road", "color": [2, 2, 2]}]
    classes.write_text(json.dumps(rows))
    data = {**data, "--classes": str(classes)}
    (tmp_path / "val.txt").write_text("c.left")
    changes = [
        {},
        {"remap": ("7=road",)},
        {"remap": ("7=sky",)},
        {"ignore": ("7",)},
        {"ignore": ("7,7,7",)},
        {"mask_encoding": "color"},
        {"split": ("val=0.3",), **NO_VAL},
        {"split": ("val=0.34",), **NO_VAL},
        {"split": (f"val={tmp_path / 'val.txt'}",), **NO_VAL},
        NO_VAL,
    ]
    arguments = [json.dumps(_plan(data, **change).arguments) for change in changes]
    assert len(set(arguments)) == len(changes)
    # Two notations of the same arguments.
    assert json.dumps(_plan(data, remap=("7=ignore",)).arguments) == arguments[3]
    paths = {name: pathlib.Path(data[f"--{name}"]) for name in ("images", "masks", "classes")}
    assert json.dumps(_plan(data, **paths).arguments) == arguments[0]


def test_building_again(tmp_path, data, monkeypatch):
    assert _run(data).exit_code == 0
    info = tmp_path / "out" / "segmentation_folder" / "1.0.0" / "dataset_info.json"
    before = info.stat().st_mtime_ns

    again = _run(data)
    assert again.exit_code == 0 and "Already built" in again.stdout

    monkeypatch.chdir(tmp_path)
    relative = {key: os.path.relpath(value) for key, value in data.items()}
    again = _run(relative)
    assert again.exit_code == 0 and "Already built" in again.stdout

    other = _run(data, "--ignore", "255")
    assert other.exit_code == 2
    assert "built with other arguments exists already; choose another --out" in other.stderr

    (tmp_path / "classes.txt").write_text("sky\nroad\nbus\n")
    other = _run(data)
    assert other.exit_code == 2 and "built with other class_names" in other.stderr

    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    os.utime(tmp_path / "images" / "town" / "a.jpg", (1, 1))
    other = _run(data)
    assert other.exit_code == 2 and "built with other or changed files" in other.stderr

    assert info.stat().st_mtime_ns == before


def test_another_data_set_in_the_same_place(tmp_path, data):
    other = tmp_path / "out" / "other" / "1.0.0"
    other.mkdir(parents=True)
    (other / "dataset_info.json").write_text("{}")
    result = _run(data)
    assert result.exit_code == 2 and f"{other}: another data set exists" in result.stderr
    (other / "dataset_info.json").unlink()
    # TFDS takes any folder with the right name for a finished build.
    (tmp_path / "out" / "segmentation_folder" / "1.0.0").mkdir(parents=True)
    assert "exists but is not a data set" in _fails(data)


def test_a_full_disk(tmp_path, data, save_image):
    save_image(tmp_path / "val_images" / "e.png", (200, 200))
    Image.new("L", (200, 200)).save(tmp_path / "val_masks" / "e.png")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        message = _fails(data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"{tmp_path / 'out'}: cannot write the records there" in message


def test_works_without_a_network(data, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert _run(data).exit_code == 0


def test_a_killed_build_is_not_a_data_set(tmp_path, data):
    # Reading a pipe that nobody writes to blocks the command after it has begun to build.
    pipe = tmp_path / "images" / "town" / "b.jpg"
    image = pipe.read_bytes()
    pipe.unlink()
    os.mkfifo(pipe)
    command = [
        sys.executable,
        "-m",
        "data_prep.folder",
        *(t for pair in data.items() for t in pair),
    ]
    out = tmp_path / "out"
    with subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not unfinished_builds(out) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert len(unfinished_builds(out)) == 1
    with pytest.raises(UserError, match="unfinished; run the same"):
        open_records(out)

    pipe.unlink()
    pipe.write_bytes(image)
    assert _run(data).exit_code == 0
    assert unfinished_builds(out) == []
    assert open_records(out).split_sizes == {"train": 3, "val": 1}


def test_the_module_is_a_command(tmp_path, data):
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [
        sys.executable,
        "-m",
        "data_prep.folder",
        *(t for pair in data.items() for t in pair),
    ]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(
        f"Built {tmp_path / 'out' / 'segmentation_folder' / '1.0.0'} in "
    )
    # Standard error has the progress bars of TFDS, and no messages of TensorFlow.
    noise = [line for line in result.stderr.replace("\r", "\n").split("\n") if "|" not in line]
    assert not "".join(noise).replace("\x1b[A", "").strip(), noise
    (tmp_path / "masks" / "c.left.png").write_bytes(b"")
    command[-1] = str(tmp_path / "other")
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 2 and "error: " in result.stderr
    assert "Traceback" not in result.stderr


def test_camvid(tmp_path, real_data, read_records):
    camvid = real_data / "camvid"
    arguments = {
        "--images": str(camvid / "train"),
        "--masks": str(camvid / "trainannot"),
        "--val-images": str(camvid / "val"),
        "--val-masks": str(camvid / "valannot"),
        "--classes": str(CHECKOUT / "experiments" / "camvid_classes.txt"),
        "--ignore": "11",
        "--out": str(tmp_path / "camvid"),
    }
    result = _run(arguments)
    assert result.exit_code == 0, result.output
    source = open_records(tmp_path / "camvid")
    assert source.split_sizes == {"train": 367, "val": 101}
    assert source.num_classes == 11 and source.class_names[0] == "Sky"
    for split, size in source.split_sizes.items():
        records = read_records(tmp_path / "camvid", split)
        assert len(records) == size
        for name in sorted(records):
            image, label = records[name]
            assert image == (camvid / split / f"{name}.jpg").read_bytes()
            mask = np.array(Image.open(camvid / f"{split}annot" / f"{name}.png"))
            mask[mask == 11] = 255
            np.testing.assert_array_equal(_decode(label), mask)
