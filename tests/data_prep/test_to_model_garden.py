import io
import os
import pathlib
import re
import runpy
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image

from data_prep.to_model_garden import main, write_model_garden
from rnnseg.data import Source, open_source
from rnnseg.data.model_garden import open_model_garden
from rnnseg.data.selection import Selection
from rnnseg.errors import UserError
from tests.support.sources import encode, halves, make_source, tiny_source

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]


def jpeg(pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def photos(splits, mode="RGB") -> Source:
    """Makes a source from `{split: [(image, label), …]}`, with alternating JPEG and PNG images."""
    elements = {
        split: {
            "image": [(jpeg, encode)[i % 2](image) for i, (image, _) in enumerate(images)],
            "label": [encode(label) for _, label in images],
            "name": [f"{split}/street.{i}.png" for i in range(len(images))],
        }
        for split, images in splits.items()
    }
    sizes = {split: len(images) for split, images in splits.items()}
    colors = ((1, 2, 3), (4, 5, 6), (7, 8, 9))
    names = ("one, two", 'a "b"', "c # d")
    return Source(
        "photos",
        names,
        colors,
        sizes,
        lambda split: tf.data.Dataset.from_tensor_slices(elements[split]),
    )


def read(source, split):
    return list(source.read(split).as_numpy_iterator())


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def run(*arguments):
    return CliRunner().invoke(main, [str(each) for each in arguments])


def test_written_records_read_back_unchanged(tmp_path):
    source = photos({"train": halves(5), "val": halves(3, 43, 51)})
    assert write_model_garden(source, "photos", tmp_path / "out", shards=2)
    assert files(tmp_path / "out") == [
        "classes.csv",
        "to_garden.json",
        "train-00000-of-00002.tfrecord",
        "train-00001-of-00002.tfrecord",
        "val-00000-of-00002.tfrecord",
        "val-00001-of-00002.tfrecord",
    ]
    again = open_source(str(tmp_path / "out"))
    assert again.class_names == source.class_names
    assert again.class_colors == source.class_colors
    assert again.split_sizes == source.split_sizes
    for split in source.split_sizes:
        assert read(again, split) == read(source, split)


def test_the_keys_of_the_records(tmp_path):
    source = photos({"train": halves(2, 40, 48)})
    write_model_garden(source, "photos", tmp_path / "out", shards=1)
    records = tf.data.TFRecordDataset(str(tmp_path / "out" / "train-00000-of-00001.tfrecord"))
    found = [tf.train.Example.FromString(record.numpy()).features.feature for record in records]
    for values, element, kind in zip(found, read(source, "train"), (b"jpeg", b"png"), strict=True):
        texts = {key: v.bytes_list.value[0] for key, v in values.items() if v.bytes_list.value}
        numbers = {key: v.int64_list.value[0] for key, v in values.items() if v.int64_list.value}
        assert numbers == {"image/height": 40, "image/width": 48, "image/channels": 3}
        assert texts == {
            "image/encoded": element["image"],
            "image/format": kind,
            "image/filename": element["name"] + {b"jpeg": b".jpg", b"png": b".png"}[kind],
            "image/segmentation/class/encoded": element["label"],
            "image/segmentation/class/format": b"png",
        }


@pytest.mark.parametrize(("images", "shards", "sizes"), [(7, 3, [3, 2, 2]), (2, 5, [1, 1])])
def test_splits_are_divided_into_a_number_of_files(tmp_path, images, shards, sizes):
    source = make_source({"train": halves(images)})
    write_model_garden(source, "tiny", tmp_path / "out", shards=shards)
    written = sorted((tmp_path / "out").glob("train-*"))
    assert [path.name for path in written] == [
        f"train-{number:05d}-of-{len(sizes):05d}.tfrecord" for number in range(len(sizes))
    ]
    counts = [sum(1 for _ in tf.data.TFRecordDataset(str(path))) for path in written]
    assert sorted(counts, reverse=True) == sizes
    assert read(open_source(str(tmp_path / "out")), "train") == read(source, "train")


def test_splits_are_divided_into_files_of_a_size(tmp_path):
    source = make_source({"train": halves(10)})
    sizes = [len(each["image"]) + len(each["label"]) for each in read(source, "train")]
    write_model_garden(source, "tiny", tmp_path / "out", shard_bytes=3 * max(sizes))
    written = sorted((tmp_path / "out").glob("train-*"))
    assert 3 <= len(written) <= 6
    assert all(path.stat().st_size < 3.2 * max(sizes) for path in written)
    assert read(open_source(str(tmp_path / "out")), "train") == read(source, "train")


def test_the_command_twice(tmp_path):
    write_model_garden(tiny_source(), "tiny", tmp_path / "first", shards=1)
    arguments = "--data", tmp_path / "first", "--out", tmp_path / "second"
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert "Wrote" in result.stdout and "train: 8 images" in result.stdout
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "second").iterdir()}
    result = run(*arguments)
    assert result.exit_code == 0 and "Already written" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "second").iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]
    result = run(*arguments, "--shards", 3)
    assert result.exit_code == 2
    assert "error: " in result.stderr and "holds records with other shard bytes" in result.stderr


def test_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years")
    with pytest.raises(UserError, match="holds something else already; choose another --out"):
        write_model_garden(tiny_source(), "tiny", tmp_path / "out", shards=1)
    assert files(tmp_path / "out") == ["thesis.tex"]
    with pytest.raises(UserError, match="holds something else already"):
        write_model_garden(tiny_source(), "tiny", tmp_path / "out" / "thesis.tex", shards=1)


def test_an_empty_folder_is_accepted(tmp_path):
    (tmp_path / "out").mkdir()
    assert write_model_garden(tiny_source(), "tiny", tmp_path / "out", shards=1)


def test_both_options_for_the_size_of_files_are_refused(tmp_path):
    result = run("--data", "shapes", "--out", tmp_path / "o", "--shards", 1, "--shard-size", 1)
    assert result.exit_code == 2 and "expected one of them" in result.stderr


def broken(position, **values):
    """Makes a source with one invalid element."""
    good = read(make_source({"train": halves(4)}), "train")
    good[position] |= values

    def examples(split):
        columns = {key: [each[key] for each in good] for key in good[0]}
        return tf.data.Dataset.from_tensor_slices(columns)

    return Source("tiny", ("a", "b"), ((0, 0, 0), (1, 1, 1)), {"train": 4}, examples)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image": b"no image"}, "train_2: cannot be read as an image"),
        ({"label": b"no image"}, "label of train_2: not a usable JPEG or PNG file"),
        ({"label": encode(np.zeros((4, 5), np.uint8))}, "40x48 and label of 4x5 pixels"),
    ],
)
def test_a_failed_run_leaves_no_files(tmp_path, values, message):
    with pytest.raises(UserError, match=message) as error:
        write_model_garden(broken(2, **values), "tiny", tmp_path / "out", shards=1)
    assert "tiny, split 'train'" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_record_is_reported_as_an_error_of_reading(tmp_path):
    write_model_garden(tiny_source(), "tiny", tmp_path / "first", shards=1)
    path = tmp_path / "first" / "val-00000-of-00001.tfrecord"
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="first, split 'val': cannot be read .*corrupted record"):
        write_model_garden(open_source(str(tmp_path / "first")), "tiny", tmp_path / "out", shards=1)
    assert not (tmp_path / "out").exists()


def test_a_full_disk(tmp_path):
    code = (
        "import resource, signal, sys; from data_prep.to_model_garden import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); main()"
    )
    write_model_garden(make_source({"train": halves(60)}), "tiny", tmp_path / "first", shards=1)
    arguments = ["--data", tmp_path / "first", "--out", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert re.search(r"error: .*out: cannot be written \(.*File too large", done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


def test_a_killed_command(tmp_path):
    """A killed run leaves no finished folder, and the same command starts again."""
    write_model_garden(make_source({"train": halves(30)}), "tiny", tmp_path / "first", shards=1)
    arguments = ["--data", str(tmp_path / "first"), "--out", str(tmp_path / "out"), "--shards", "3"]
    slowly = (
        "import time\n"
        "from data_prep import to_model_garden\n"
        "make = to_model_garden._make_record\n"
        "to_model_garden._make_record = lambda *values: time.sleep(0.1) or make(*values)\n"
        "to_model_garden.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", slowly, *arguments], cwd=CHECKOUT, stderr=subprocess.DEVNULL
    )
    while not (unfinished := list(tmp_path.glob(".incomplete.*/train-*1"))):
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert unfinished[0].parent.exists() and not (tmp_path / "out").exists()
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "out"]
    assert open_source(str(tmp_path / "out")).split_sizes == {"train": 30}


def test_the_reader_of_model_garden(tmp_path):
    """Its decoder and parser return the images and labels of the files exactly."""
    segmentation_input = pytest.importorskip(
        "official.vision.dataloaders.segmentation_input",
        reason="needs Model Garden: pip install rnnseg[model-garden]",
    )
    height, width = 40, 48
    images = halves(4, height, width)
    source = photos({"train": images})
    write_model_garden(source, "photos", tmp_path / "out", shards=2)
    decoder = segmentation_input.Decoder()
    # With the size of the image and one scale, nothing is resized or padded.
    parser = segmentation_input.Parser(output_size=[height, width])
    parse = parser.parse_fn(is_training=False)
    names = sorted(str(path) for path in (tmp_path / "out").glob("train-*"))
    records = list(tf.data.TFRecordDataset(names))
    assert len(records) == len(images)
    config = segmentation_input.config_lib.DenseFeatureConfig()
    for record, element, (_, label) in zip(records, read(source, "train"), images, strict=True):
        decoded = decoder.decode(record)
        assert decoded["image/encoded"].numpy() == element["image"]
        assert decoded["image/segmentation/class/encoded"].numpy() == element["label"]
        assert (decoded["image/height"], decoded["image/width"]) == (height, width)
        normalized, labels = parse(decoded)
        # JPEG decoders differ in the last bits; Model Garden uses TensorFlow's.
        pixels = tf.io.decode_image(element["image"]).numpy()
        restored = normalized.numpy() * config.stddev + config.mean
        np.testing.assert_allclose(restored, pixels, atol=1e-3)
        np.testing.assert_array_equal(np.rint(restored), pixels)
        np.testing.assert_array_equal(labels["masks"].numpy()[..., 0], label)
        np.testing.assert_array_equal(labels["valid_masks"].numpy()[..., 0], label != 255)


def test_real_images(tmp_path, real_data):
    """Images of VOC are read back byte for byte from a folder of records."""
    root = real_data / "VOCdevkit" / "VOC2012"
    names = (root / "ImageSets/Segmentation/val.txt").read_text().split()[:12]
    columns = {
        "image": [(root / "JPEGImages" / f"{name}.jpg").read_bytes() for name in names],
        "label": [
            encode(np.array(Image.open(root / "SegmentationClass" / f"{name}.png")))
            for name in names
        ],
        "name": names,
    }
    classes = tuple(f"class {index}" for index in range(21))
    source = Source(
        "voc",
        classes,
        tuple((index, 0, 0) for index in range(21)),
        {"val": len(names)},
        lambda split: tf.data.Dataset.from_tensor_slices(columns),
    )
    write_model_garden(source, "voc", tmp_path / "out", shards=3)
    found = read(open_model_garden(tmp_path / "out", Selection()), "val")
    assert [each["name"].decode() for each in found] == names
    for element, image, label in zip(found, columns["image"], columns["label"], strict=True):
        assert element["image"] == image and element["label"] == label


def test_the_old_name_of_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["to_garden", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("data_prep.to_garden", run_name="__main__")
    output = capsys.readouterr()
    assert "--shard-size" in output.out
    assert output.err == "warning: to_garden is now rnnseg prepare to_model_garden\n"
