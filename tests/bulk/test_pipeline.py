"""Bulk prediction on Beam's DirectRunner, beside `segment_files`, and interrupted jobs."""

import io
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from rnnseg import Budget, Predictor, UserError
from rnnseg.evaluation import metrics
from rnnseg.inference.image_files import segment_files
from tests.support.models import make_model
from tests.support.sources import halves

pytest.importorskip("apache_beam", reason="needs apache-beam: pip install rnnseg[beam]")

from rnnseg.bulk.job import Job
from rnnseg.bulk.pipeline import segment_in_bulk

TWO_PROCESSES = "--direct_num_workers=2 --direct_running_mode=multi_processing"
COUNT = 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a model, images, of which one is damaged, and labels, of which one is wrong."""
    folder = tmp_path_factory.mktemp("bulk")
    make_model(num_classes=3, class_names=("left", "right", "top")).save(folder / "model.keras")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    for index, (image, label) in enumerate(halves(COUNT, 40, 48) + halves(1, 33, 57, seed=9)):
        Image.fromarray(image).save(folder / f"images/{index}.png")
        Image.fromarray(label).save(folder / f"labels/{index}.png")
    data = (folder / "images/2.png").read_bytes()
    (folder / "images/2.png").write_bytes(data[: len(data) // 2])
    Image.fromarray(np.full((40, 48), 3, np.uint8)).save(folder / "labels/5.png")
    return folder


@pytest.fixture(scope="module")
def images(folder):
    return tuple(str(folder / f"images/{index}.png") for index in range(COUNT + 1))


@pytest.fixture(scope="module")
def expected(folder, images):
    """The class maps that `rnnseg segment` writes, by the name of their files."""
    out = folder / "expected"
    with pytest.raises(UserError, match=f"1 of {COUNT + 1} images were not segmented"):
        segment_files(Predictor.load(folder / "model.keras"), list(map(pathlib.Path, images)), out)
    return {path.name: path.read_bytes() for path in out.glob("*_classes.png")}


@pytest.fixture
def job(folder, images, tmp_path):
    return dict(
        model=str(folder / "model.keras"),
        out=str(tmp_path / "out"),
        images=images,
        images_per_shard=3,
    )


def class_maps(out):
    return {path.name: path.read_bytes() for path in pathlib.Path(out).glob("*_classes.png")}


def test_two_processes_write_what_one_command_does(job, folder, expected):
    summary, done_before = segment_in_bulk(Job(**job, labels=str(folder / "labels")), TWO_PROCESSES)
    assert class_maps(job["out"]) == expected and len(expected) == COUNT
    assert (summary.images, summary.shards, done_before) == (COUNT, 3, 0)

    faults = (pathlib.Path(job["out"]) / "damaged.txt").read_text().splitlines()
    assert len(faults) == summary.damaged == 2
    assert faults[0].startswith(f"{folder}/images/2.png: cannot be read as an image (")
    assert faults[1].startswith(f"{folder}/labels/5.png: label 3 found; expected 0-2 (3 classes)")

    confusion = np.zeros((3, 3), int)
    for name in expected:
        number = name.partition("_")[0]
        if number != "5":
            label = np.asarray(Image.open(folder / f"labels/{number}.png"))
            class_map = np.asarray(Image.open(pathlib.Path(job["out"], name)))
            confusion += metrics.confusion_matrix(label, class_map, 3)
    assert summary.scored == COUNT - 1
    np.testing.assert_array_equal(summary.confusion, confusion)
    assert summary.miou == pytest.approx(float(metrics.mean_iou(confusion)))
    assert list(summary.class_iou) == ["left", "right", "top"]
    written = json.loads((pathlib.Path(job["out"]) / "summary.json").read_text())
    assert written["miou"] == summary.miou and written["damaged"] == 2


def test_finished_shards_are_not_done_again(job, expected):
    first, _ = segment_in_bulk(Job(**job))
    out = pathlib.Path(job["out"])
    assert class_maps(out) == expected
    # As a kill leaves it: the last shard has a part of its maps and is not marked as done.
    (out / "shards/00002-of-00003.json").unlink()
    (out / "6_classes.png").unlink()
    (out / "summary.json").unlink()
    (out / "0_classes.png").write_bytes(b"of a finished shard")
    again, done_before = segment_in_bulk(Job(**job))
    assert (again, done_before) == (first, 2)
    assert class_maps(out) == expected | {"0_classes.png": b"of a finished shard"}
    with pytest.raises(UserError, match="holds another job: budget is None there, not '2 iter"):
        segment_in_bulk(Job(**job, budget=Budget(iterations=2)))


def test_a_shard_is_there_as_soon_as_it_is_done(job, expected):
    """In a process that is killed after the first one, as by the end of a machine."""
    code = (
        "import os, signal\n"
        "from rnnseg.bulk import pipeline\n"
        "from rnnseg.bulk.job import Job\n"
        "write = pipeline.write_shard\n"
        "def write_and_end(result, job):\n"
        "    write(result, job)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "pipeline.write_shard = write_and_end\n"
        f"pipeline.segment_in_bulk(Job(**{job!r}))"
    )
    killed = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True)
    assert killed.returncode == -9, killed.stderr[-2000:]
    assert len(list(pathlib.Path(job["out"], "shards").glob("*.json"))) == 1
    summary, done_before = segment_in_bulk(Job(**job))
    assert done_before == 1 and summary.images == COUNT
    assert class_maps(job["out"]) == expected


def test_tfrecords_hold_the_same_maps_with_paths(job, images, expected):
    import tensorflow as tf

    options = "--direct_num_workers=2 --direct_running_mode=multi_threading"
    segment_in_bulk(Job(**job, form="tfrecord"), options)
    files = sorted(pathlib.Path(job["out"]).glob("*.tfrecord"))
    assert [file.name for file in files] == [
        f"class_maps-0000{index}-of-00003.tfrecord" for index in range(3)
    ]
    found = {}
    for record in tf.data.TFRecordDataset(list(map(str, files))).as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        value = {
            key: each.bytes_list.value or each.int64_list.value for key, each in features.items()
        }
        encoded = value["image/segmentation/class/encoded"][0]
        height, width = value["image/height"][0], value["image/width"][0]
        assert Image.open(io.BytesIO(encoded)).size == (width, height)
        found[value["image/filename"][0].decode()] = encoded
    assert list(found) == [each for each in images if not each.endswith("/2.png")]
    assert {f"{pathlib.Path(path).stem}_classes.png": data for path, data in found.items()} == (
        expected
    )


def test_what_cannot_be_a_job(job, folder, tmp_path):
    for change, fault in (
        (dict(images=(*job["images"], "other/0.png")), "have the same name and would write the s"),
        (dict(budget=Budget(milliseconds=5)), "how long workers take is not known here"),
        (dict(labels=str(folder / "nowhere")), "nowhere: no such folder"),
        (dict(out=str(folder)), "is not empty and holds no job of --beam"),
        (dict(images=(str(folder / "images/2.png"),)), "no image could be segmented of 1; the"),
    ):
        with pytest.raises(UserError, match=fault):
            segment_in_bulk(Job(**job | change))
    with pytest.raises(UserError, match="--beam --runner=Nobody: "):
        segment_in_bulk(Job(**job), "--runner=Nobody")
