import json
import math
import shutil
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from data_prep.folder import main
from rnnseg.data import open_source
from rnnseg.data.classes import table_from_rows
from rnnseg.data.pipeline import decode
from rnnseg.data.records import open_records
from rnnseg.data.selection import Selection
from rnnseg.errors import UserError
from rnnseg.palette import default_colors

COUNT = 7


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The `--out` folder of a small data set, with the images and masks beside it."""
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
def test_every_folder_from_out_to_the_version_opens(built, below):
    source = open_records(built / below)
    assert source.name == "mine"
    assert source.class_names == ("other", "thing")
    assert source.class_colors == default_colors(2)
    assert source.split_sizes == {"train": COUNT}


def test_images_are_the_bytes_of_the_files(built):
    elements = list(open_source(str(built)).read("train").as_numpy_iterator())
    assert {element["name"].decode() for element in elements} == {str(i) for i in range(COUNT)}
    for element in elements:
        assert set(element) == {"image", "label", "name"}
        name = element["name"].decode()
        assert element["image"] == (built.parent / "images" / f"{name}.jpg").read_bytes()


def test_the_pipeline_decodes_the_records(built):
    from rnnseg.data.pipeline import evaluation_images

    for image, label, name in evaluation_images(open_records(built), "train"):
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
    with pytest.raises(UserError, match="unfinished; run the same command again"):
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
    with pytest.raises(UserError, match=f"{file}: not valid JSON .*; build the data set again"):
        open_records(copied)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("features.json", {"x" * 5000: 1}, "damaged .*; remove it and build it again"),
        ("dataset_info.json", {"splits": [{"x": {}}]}, "damaged .*; remove it and build it again"),
        ("metadata.json", [], "metadata.json: the content is .*, expected an object"),
        ("features.json", {"a": math.nan}, "features.json: a is nan, expected a finite number"),
    ],
)
def test_files_that_hold_something_else(copied, file, content, message):
    (copied / "segmentation_folder" / "1.0.0" / file).write_text(json.dumps(content))
    with pytest.raises(UserError, match=message) as error:
        open_records(copied)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_a_data_set_without_its_name(copied):
    """TFDS makes the names of the files of it."""
    path = copied / "segmentation_folder" / "1.0.0" / "dataset_info.json"
    content = json.loads(path.read_text())
    del content["name"]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="1.0.0: dataset_info.json does not tell the files of spl"):
        open_records(copied)


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


def test_builds_with_more_features_and_configs(tmp_path):
    """Only the requested features are read; another label needs classes of its own."""
    tfds = pytest.importorskip("tensorflow_datasets")
    label = np.arange(48, dtype=np.uint8).reshape(6, 8, 1) % 2
    values = {"image": np.zeros((6, 8, 3), np.uint8), "label": label, "label_ids": label + 7}
    mask = tfds.features.Image(shape=(None, None, 1), encoding_format="png")
    features = {"image": tfds.features.Image(), "label": mask, "label_ids": mask}

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = "many"
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="fine", version="1.0.0")]
        url_infos = {}

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict({**features, "name": tfds.features.Text()}),
                metadata=tfds.core.MetadataDict(
                    class_names=["a", "b"], class_colors=[[0, 0, 0], [1, 2, 3]]
                ),
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            yield 0, {**values, "name": "street.jpg"}

    Builder(data_dir=tmp_path / "mine").download_and_prepare()
    source = open_records(tmp_path / "mine")
    assert (source.name, source.class_names) == ("mine", ("a", "b"))
    (element,) = source.read("train").as_numpy_iterator()
    assert set(element) == {"image", "label", "name"} and element["name"] == b"street.jpg"
    np.testing.assert_array_equal(decode(element)[1], label[..., 0])
    classes = table_from_rows([{"name": "c", "index": 8}, {"name": "d", "index": 7}], "here")
    source = open_records(tmp_path / "mine", Selection(label="label_ids", classes=classes))
    (element,) = source.read("train").as_numpy_iterator()
    np.testing.assert_array_equal(decode(element)[1], 1 - label[..., 0])
    with pytest.raises(UserError, match="classes are not known"):
        open_records(tmp_path / "mine", Selection(label="label_ids"))
