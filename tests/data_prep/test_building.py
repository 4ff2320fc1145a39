import io
import json
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from data_prep.building import build, find_source, stored_lists
from data_prep.common import Pair
from data_prep.examples import Examples
from data_prep.masks import MaskReader
from rnnseg.data.records import find_builds, open_records, unfinished_builds
from rnnseg.data.tables import TABLES
from rnnseg.errors import UserError
from rnnseg.locks import hold_folder
from tests.data_prep.toy import ToyBuilder, make_example

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
COUNT = 150


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of small images."""
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for index in range(COUNT):
        pixels = generator.integers(0, 256, (8, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03}.jpg")
    return folder


@pytest.fixture
def damaged(images, tmp_path):
    """A copy of the folder with two images that cannot be used."""
    folder = tmp_path / "damaged"
    folder.mkdir()
    for path in images.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "070.jpg").write_bytes((folder / "070.jpg").read_bytes()[:-30])
    (folder / "080.jpg").write_bytes(b"")
    return folder


def _build(images, out, beam_options=None, **kwargs):
    builder = ToyBuilder(folder=images, data_dir=out, beam=beam_options is not None, **kwargs)
    return build(builder, out, beam_options=beam_options)[0]


def _records(folder):
    """Reads the values of all records of a build, by file and in order."""
    import tensorflow as tf

    files = {}
    for path in sorted(folder.glob("*.tfrecord*")):
        files[path.name] = [
            {
                key: value.bytes_list.value[0]
                for key, value in tf.train.Example.FromString(
                    record.numpy()
                ).features.feature.items()
            }
            for record in tf.data.TFRecordDataset(str(path))
        ]
    return files


@pytest.fixture(scope="module")
def built(images, tmp_path_factory):
    """The folder of a build in one process."""
    return _build(images, tmp_path_factory.mktemp("built"))


def test_one_process_writes_all_records(images, built):
    records = _records(built)
    assert {name: len(each) for name, each in records.items()} == {
        "toy_builder-train.tfrecord-00000-of-00001": COUNT,
        "toy_builder-val.tfrecord-00000-of-00001": 3,
    }
    for record in next(iter(records.values())):
        assert record["image"] == (images / f"{record['name'].decode()}.jpg").read_bytes()


def test_several_processes_write_the_same_records(images, built, tmp_path):
    assert _records(_build(images, tmp_path, processes=3)) == _records(built)


def test_beam_writes_the_same_records(images, built, tmp_path):
    pytest.importorskip("apache_beam", reason="needs apache-beam: pip install rnnseg[beam]")
    beam_built = _build(images, tmp_path / "beam", beam_options="--runner=DirectRunner")
    assert _records(beam_built) == _records(built)
    assert open_records(tmp_path / "beam").split_sizes == {"train": COUNT, "val": 3}


def test_beam_reports_the_same_faults(damaged, tmp_path):
    pytest.importorskip("apache_beam", reason="needs apache-beam: pip install rnnseg[beam]")
    with pytest.raises(UserError) as error:
        _build(damaged, tmp_path / "error", beam_options="")
    assert "\n" not in str(error.value) and "while running" not in str(error.value)
    assert str(error.value).startswith((f"{damaged}/070.jpg", f"{damaged}/080.jpg"))
    assert find_builds(tmp_path / "error") == []
    one = _build(damaged, tmp_path / "one", skip_bad=True)
    beam_built = _build(damaged, tmp_path / "beam", beam_options="", skip_bad=True)
    assert _records(beam_built) == _records(one)
    left_out = [stored_lists(folder, "left_out") for folder in (one, beam_built)]
    assert sorted(left_out[0]["train"]) == sorted(left_out[1]["train"])
    assert left_out[0].keys() == left_out[1].keys() == {"train"}
    with pytest.raises(UserError, match="--beam --runner=Nobody: .*runner"):
        _build(damaged, tmp_path / "error", beam_options="--runner=Nobody")


@pytest.mark.parametrize("processes", [1, 3])
def test_images_that_cannot_be_used(damaged, tmp_path, processes):
    with pytest.raises(UserError, match=r"/070\.jpg: cannot be read as an image \(.*truncated"):
        _build(damaged, tmp_path / "out", processes=processes)
    assert find_builds(tmp_path / "out") == unfinished_builds(tmp_path / "out") == []

    folder = _build(damaged, tmp_path / "out", processes=processes, skip_bad=True)
    faults = stored_lists(folder, "left_out")
    assert faults.keys() == {"train"}
    assert [fault.split(":")[0] for fault in faults["train"]] == [
        f"{damaged}/070.jpg",
        f"{damaged}/080.jpg",
    ]
    assert open_records(tmp_path / "out").split_sizes == {"train": COUNT - 2, "val": 3}

    with pytest.raises(UserError, match="built with other arguments"):
        _build(damaged, tmp_path / "out", processes=processes)


def test_a_split_without_usable_images(damaged, tmp_path):
    for path in damaged.iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match=f"no image is left of {COUNT}: .*000.jpg"):
        _build(damaged, tmp_path / "out", skip_bad=True)
    assert find_builds(tmp_path / "out") == []


def test_missing_images_are_listed(images, tmp_path):
    folder = _build(images, tmp_path, missing={"train": ("x", "y")})
    assert stored_lists(folder, "missing") == {"train": ["x", "y"]}
    assert stored_lists(folder, "left_out") == {}


def test_one_truncated_image_among_thousands(tmp_path):
    buffer = io.BytesIO()
    Image.effect_noise((32, 32), 100).save(buffer, "JPEG")
    for index in range(3000):
        (tmp_path / f"{index:04}.jpg").write_bytes(buffer.getvalue())
    (tmp_path / "2345.jpg").write_bytes(buffer.getvalue()[:-20])
    pairs = [Pair(path.stem, path, path) for path in sorted(tmp_path.iterdir())]
    with pytest.raises(UserError, match=r"2345\.jpg: cannot be read as an image \(.*truncated"):
        list(Examples(pairs, make_example, processes=2))
    left_out = tmp_path / "left_out.txt"
    kept = list(Examples(pairs, make_example, processes=2, left_out=left_out))
    assert [key for key, _ in kept] == [pair.name for pair in pairs if pair.name != "2345"]
    assert left_out.read_text().count("\n") == 1 and "2345.jpg" in left_out.read_text()


def test_examples_are_made_on_demand(images):
    # All examples would not fit in the memory, so they must be made on demand.
    examples = Examples([Pair("a", images / "000.jpg", None)] * 10**6, make_example)
    assert len(examples) == 10**6
    assert next(iter(examples))[0] == "a"


def test_one_process_at_a_time_builds_in_a_folder(images, tmp_path):
    with hold_folder(tmp_path / "out"), pytest.raises(UserError, match="out is being written by"):
        _build(images, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_build_leaves_no_process_behind(images, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, time\n"
        "from data_prep.common import Pair\n"
        "from data_prep.examples import Examples\n"
        "def slow(pair):\n"
        "    open(f'{sys.argv[1]}/{os.getpid()}', 'w').close()\n"
        "    time.sleep(1)\n"
        "    return {'name': pair.name}\n"
        "if __name__ == '__main__':\n"
        "    list(Examples([Pair('a', None, None)] * 1000, slow, processes=2))\n"
    )
    seen = tmp_path / "seen"
    seen.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, str(script), str(seen)]
    with subprocess.Popen(command, env=environment) as process:
        assert _wait(lambda: len(list(seen.iterdir())) == 2)
        process.send_signal(signal.SIGKILL)
    assert _wait(lambda: not any(map(_is_running, seen.iterdir())))


def _is_running(path: pathlib.Path) -> bool:
    status = pathlib.Path("/proc", path.name, "stat")
    # A zombie only waits to be collected by its new parent.
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def _wait(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_metadata(images, built):
    metadata = json.loads((built / "metadata.json").read_text())
    assert metadata["class_names"] == ["a", "b"]
    assert metadata["arguments"] == {"folder": str(images), "skip_bad": False}
    assert metadata["full_sizes"] == {"train": 1000}


class _Manager:
    """A fake of the download manager of TFDS."""

    def __init__(self, root, content=b"downloaded"):
        self.download_dir = root
        self._manual = root / "manual"
        self._content = content

    @property
    def manual_dir(self):
        if not self._manual.exists():
            raise AssertionError("Manual directory does not exist")
        return self._manual

    def download(self, url):
        if self._content is None:
            raise ConnectionError(f"no network for {url}\nand more")
        path = self.download_dir / "hash_of_the_url"
        path.write_bytes(self._content)
        return path


def test_published_files_are_found_before_they_are_downloaded(tmp_path):
    names, url = ["kit.tar", "kit"], "http://host/kit.tar"
    manager = _Manager(tmp_path)
    assert find_source(manager, names, url) == tmp_path / "hash_of_the_url"
    (tmp_path / "kit").mkdir()
    assert find_source(manager, names, url) == tmp_path / "kit"
    (tmp_path / "manual").mkdir()
    (tmp_path / "manual" / "kit.tar").touch()
    assert find_source(manager, names, url) == tmp_path / "manual" / "kit.tar"


def test_files_that_cannot_be_downloaded(tmp_path):
    manager = _Manager(tmp_path, content=None)
    with pytest.raises(UserError) as error:
        find_source(manager, ["kit.tar"], "http://host/kit.tar")
    assert str(error.value) == (
        "http://host/kit.tar: cannot be downloaded (no network for http://host/kit.tar); put "
        f"kit.tar into {tmp_path}"
    )
    with pytest.raises(UserError, match=f"a.zip or a: not found; put a.zip into {tmp_path}"):
        find_source(manager, ["a.zip", "a"])


@pytest.mark.parametrize("name", sorted(TABLES))
def test_tables_can_be_sent_to_other_processes(name):
    sent = pickle.loads(pickle.dumps(MaskReader(TABLES[name])))
    assert isinstance(sent, MaskReader)
