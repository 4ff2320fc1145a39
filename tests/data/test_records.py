import shutil
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from data_prep.folder import main
from rnnseg.data import open_source
from rnnseg.data.records import open_records
from rnnseg.errors import UserError
from rnnseg.palette import default_colors

COUNT = 7


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The `--out` folder of a small data set, and its files."""
    root = tmp_path_factory.mktemp("records")
    generator = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for index in range(COUNT):
        pixels = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{index}.jpg")
        labels = generator.integers(0, 2, (6, 8), dtype=np.uint8)
        Image.fromarray(labels).save(root / "masks" / f"{index}.png")
    (root / "classes.txt").write_text("other\nthing\n")
    options = {"images": "images", "masks": "masks", "classes": "classes.txt", "out": "mine"}
    arguments = [text for key, name in options.items() for text in (f"--{key}", str(root / name))]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return root / "mine"


@pytest.fixture
def copied(built, tmp_path):
    return shutil.copytree(built, tmp_path / "mine")


@pytest.mark.parametrize("below", [".", "segmentation_folder", "segmentation_folder/1.0.0"])
def test_the_folder_above_and_the_versions_own(built, below):
    source = open_records(built / below)
    assert source.name == "mine"
    assert source.class_names == ("other", "thing")
    assert source.class_colors == tuple(default_colors(2))
    assert source.split_sizes == {"train": COUNT}


def test_what_is_read_is_what_lies_in_the_folders(built):
    elements = list(open_source(str(built)).read("train").as_numpy_iterator())
    assert {element["name"].decode() for element in elements} == {str(i) for i in range(COUNT)}
    for element in elements:
        assert set(element) == {"image", "label", "name"}
        name = element["name"].decode()
        assert element["image"] == (built.parent / "images" / f"{name}.jpg").read_bytes()


def test_what_is_read_fits_the_pipeline(built):
    from rnnseg.data.pipeline import evaluation_pictures

    for image, label, name in evaluation_pictures(open_records(built), "train"):
        assert image.shape == (6, 8, 3)
        mask = Image.open(built.parent / "masks" / f"{name.numpy().decode()}.png")
        np.testing.assert_array_equal(label, np.asarray(mask))


def test_the_order_is_always_the_same(built):
    orders = [
        [element["name"] for element in open_records(built).read("train").as_numpy_iterator()]
        for _ in range(2)
    ]
    assert orders[0] == orders[1]


def test_no_folder_and_no_data_set(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        open_records(tmp_path / "missing")
    with pytest.raises(UserError, match="no data set there; build one"):
        open_records(tmp_path)


def test_an_unfinished_build(copied):
    version = copied / "segmentation_folder" / "1.0.0"
    version.rename(version.with_name("incomplete.AB12CD_1.0.0"))
    with pytest.raises(UserError, match="unfinished; run the same data_prep command again"):
        open_records(copied)


def test_several_data_sets(copied):
    name = copied / "segmentation_folder"
    shutil.copytree(name, copied / "voc_segmentation")
    with pytest.raises(UserError, match="several data sets") as error:
        open_records(copied)
    assert str(name / "1.0.0") in str(error.value)
    assert str(copied / "voc_segmentation" / "1.0.0") in str(error.value)


def test_an_unfinished_build_beside_a_finished_one(copied):
    version = copied / "segmentation_folder" / "1.0.0"
    shutil.copytree(version, version.with_name("incomplete.AB12CD_1.0.0"))
    assert open_records(copied).split_sizes == {"train": COUNT}


def test_no_class_names(copied):
    (copied / "segmentation_folder" / "1.0.0" / "metadata.json").unlink()
    with pytest.raises(UserError, match="no class names in its metadata"):
        open_records(copied)


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json", "metadata.json"])
def test_damaged_files(copied, file):
    path = copied / "segmentation_folder" / "1.0.0" / file
    path.write_text(path.read_text()[:20])
    with pytest.raises(UserError, match="damaged .*; remove it and build it again") as error:
        open_records(copied)
    assert "\n" not in str(error.value)


def test_a_missing_shard(copied):
    (shard,) = copied.rglob("*.tfrecord-*")
    shard.unlink()
    with pytest.raises(UserError, match="missing, a part of split 'train'; remove") as error:
        open_records(copied)
    assert str(shard) in str(error.value)


def test_without_tensorflow_datasets(built, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(UserError, match=r"pip install rnnseg\[data\]"):
        open_records(built)
