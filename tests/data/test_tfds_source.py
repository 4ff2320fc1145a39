import sys

import numpy as np
import pytest

from rnnseg.data import open_source, tfds_source
from rnnseg.data.classes import table_from_rows
from rnnseg.data.pipeline import decode
from rnnseg.data.selection import Selection
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.data.tables import CITYSCAPES
from rnnseg.data.tfds_source import open_tfds
from rnnseg.errors import UserError
from tests.support.sources import encode, halves

tfds = pytest.importorskip("tensorflow_datasets")

IMAGES = halves(4)
CLASSES = ("left", "right", "top")


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    """The folder in which TFDS prepares and finds data sets."""
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def define(data_dir):
    """Registers data sets with given features and splits with TFDS and returns their names."""
    names = []

    def make(features, splits):
        class Defined(tfds.core.GeneratorBasedBuilder):
            name = f"defined_for_a_test_{len(names)}"
            VERSION = tfds.core.Version("1.0.0")
            url_infos = {}

            def _info(self):
                return tfds.core.DatasetInfo(
                    builder=self, features=tfds.features.FeaturesDict(features)
                )

            def _split_generators(self, dl_manager):
                return {
                    split: self._generate_examples(examples) for split, examples in splits.items()
                }

            def _generate_examples(self, examples):
                yield from enumerate(examples)

        names.append(Defined.name)
        return Defined.name

    yield make
    for name in names:
        tfds.core.registered._DATASET_REGISTRY.pop(name)


@pytest.fixture
def fill(data_dir, monkeypatch):
    """Replaces the examples of a TFDS data set; its features stay."""

    # Nothing has to be downloaded then.
    monkeypatch.setattr(tfds_source, "check_downloads", lambda builder, where: None)

    def prepare(name, splits):
        builder = tfds.builder_cls(name.partition("/")[0])
        generators = {
            split: lambda examples=examples: enumerate(examples)
            for split, examples in splits.items()
        }
        monkeypatch.setattr(
            builder,
            "_split_generators",
            lambda self, dl_manager: {split: make() for split, make in generators.items()},
        )

    return prepare


def read(source, split):
    return list(source.read(split).as_numpy_iterator())


IMAGE = tfds.features.Image(shape=(None, None, 3))
MASK = tfds.features.Image(shape=(None, None, 1), encoding_format="png")


def test_hosts_that_cannot_be_reached_end_it_at_once(data_dir, monkeypatch):
    monkeypatch.setattr("rnnseg.data.downloads._any_answers", lambda addresses: False)
    with pytest.raises(UserError, match=r"^tfds:oxford_iiit_pet: .* but [\w.]+ cannot be reached"):
        open_tfds("oxford_iiit_pet", Selection())


def test_keys_are_found_and_bytes_are_unchanged(define):
    name = define(
        {
            "photo": IMAGE,
            "classes": tfds.features.LabeledImage(labels=list(CLASSES), encoding_format="png"),
            "kind": tfds.features.ClassLabel(num_classes=3),
            "file_name": tfds.features.Text(),
            "depth": tfds.features.Image(
                shape=(None, None, 1), dtype=np.float32, encoding_format="png"
            ),
        },
        {
            "train": [
                {
                    "photo": encode(image),
                    "classes": encode(label),
                    "kind": 1,
                    "file_name": f"street/{index}.jpg",
                    "depth": np.zeros((4, 4, 1), np.float32),
                }
                for index, (image, label) in enumerate(IMAGES)
            ]
        },
    )
    source = open_source(f"tfds:{name}")
    assert (source.name, source.class_names) == (name, CLASSES)
    assert source.split_sizes == {"train": 4}
    found = {each["name"]: each for each in read(source, "train")}
    assert sorted(found) == [b"street/%d" % index for index in range(4)]
    for index, (image, label) in enumerate(IMAGES):
        element = found[b"street/%d" % index]
        assert set(element) == {"image", "label", "name"}
        assert element["image"] == encode(image) and element["label"] == encode(label)
    assert [each["name"] for each in read(source, "train")] == list(found)  # always this order


@pytest.mark.parametrize(
    ("feature", "shape"),
    [
        (tfds.features.Tensor(shape=(None, 48), dtype=np.int32), (40, 48)),
        (tfds.features.Tensor(shape=(None, 48, 1), dtype=np.uint8), (40, 48, 1)),
        (tfds.features.Tensor(shape=(None, None), dtype=np.int64, encoding="zlib"), (40, 48)),
        (
            tfds.features.Image(shape=(None, None, 1), dtype=np.uint16, encoding_format="png"),
            (40, 48, 1),
        ),
    ],
)
def test_masks_of_all_types(define, feature, shape):
    dtype = feature.np_dtype
    name = define(
        {"image": IMAGE, "mask": feature},
        {
            "train": [
                {"image": encode(image), "mask": label.reshape(shape).astype(dtype)}
                for image, label in IMAGES[:1]
            ]
        },
    )
    classes = table_from_rows([{"name": each} for each in CLASSES], "here")
    (element,) = read(open_tfds(name, Selection(classes=classes)), "train")
    image, label = decode(element)
    np.testing.assert_array_equal(image, IMAGES[0][0])
    np.testing.assert_array_equal(label, IMAGES[0][1])
    assert element["name"] == b"train_00000"


def test_16_bit_masks_and_parts_of_splits(define):
    label = np.array([[[300], [7]], [[0], [65535]]], np.uint16)
    mask = tfds.features.Image(shape=(None, None, 1), dtype=np.uint16, encoding_format="png")
    examples = [{"image": np.full((2, 2, 3), i, np.uint8), "mask": label} for i in range(10)]
    name = define({"image": IMAGE, "mask": mask}, {"train": examples})
    classes = table_from_rows(
        [
            {"name": "b", "index": 7},
            {"name": "a", "index": 300},
            {"name": "ignore", "index": 65535},
        ],
        "here",
    )
    splits = {"train": "train[:80%]", "val": "train[80%:]"}
    source = open_tfds(name, Selection(classes=classes, splits=splits))
    assert source.split_sizes == {"train": 8, "val": 2}
    parts = {
        split: [decode(each)[0].numpy()[0, 0, 0] for each in read(source, split)]
        for split in splits
    }
    assert sorted(parts["train"] + parts["val"]) == list(range(10))
    assert len(parts["val"]) == 2
    for element in read(source, "val"):  # 0 belongs to no class: 254, which every check reports
        np.testing.assert_array_equal(decode(element)[1], [[1, 0], [254, IGNORE_LABEL]])


def test_cityscapes_by_trainids(fill):
    """The labelIds of TFDS's Cityscapes become trainIds."""
    ids = np.arange(34, dtype=np.uint8).reshape(2, 17)
    fill(
        "cityscapes",
        {
            "validation": [
                {
                    "image_id": "bonn_000001_000019",
                    "image_left": encode(np.zeros((2, 17, 3), np.uint8)),
                    "segmentation_label": encode(ids),
                }
            ]
        },
    )
    source = open_source("tfds:cityscapes/semantic_segmentation:1.0.0")
    assert source.name == "cityscapes" and source.split_sizes == {"validation": 1}
    assert source.class_names == CITYSCAPES.names and source.class_colors == CITYSCAPES.colors
    (element,) = read(source, "validation")
    assert element["name"] == b"bonn_000001_000019"
    labels = pytest.importorskip("cityscapesscripts.helpers.labels")
    expected = [labels.id2label[value].trainId for value in range(34)]
    np.testing.assert_array_equal(decode(element)[1].numpy().ravel(), expected)


def test_oxford_iiit_pet(fill):
    trimap = np.array([[1, 2, 3]], np.uint8)
    fill(
        "oxford_iiit_pet",
        {
            "train": [
                {
                    "image": encode(np.zeros((1, 3, 3), np.uint8)),
                    "label": 0,
                    "species": 0,
                    "file_name": "Bombay_7.jpg",
                    "segmentation_mask": encode(trimap),
                    "head_bbox": tfds.features.BBox(0.0, 0.0, 1.0, 1.0),
                }
            ]
        },
    )
    source = open_source("tfds:oxford_iiit_pet")
    assert source.class_names == ("pet", "background")
    (element,) = read(source, "train")
    assert element["name"] == b"Bombay_7"
    np.testing.assert_array_equal(decode(element)[1], [[0, 1, IGNORE_LABEL]])


def test_scene_parse150_has_objects_in_red(fill):
    masks = np.zeros((1, 3, 3), np.uint8)
    masks[0, :, 0] = 0, 4, 100  # the classes of the objects
    masks[0, :, 1] = 0, 1, 2  # the numbers of the objects
    example = np.full((1, 3, 3), 9, np.uint8)
    fill("scene_parse150", {"test": [{"image": encode(example), "annotation": encode(masks)}]})
    source = open_source("tfds:scene_parse150")
    (element,) = read(source, "test")
    image, label = decode(element)
    np.testing.assert_array_equal(image, example)
    assert [source.class_names[value] for value in label.numpy()[0]] == [
        "background",
        "person",
        "flag",
    ]


def test_built_in_classes_belong_to_one_key_of_masks(define, monkeypatch):
    pair = {"image": IMAGES[0][0], "a": IMAGES[0][1][..., np.newaxis]}
    name = define({"image": IMAGE, "a": MASK, "b": MASK}, {"train": [{**pair, "b": pair["a"]}]})
    monkeypatch.setitem(tfds_source._KNOWN, name, tfds_source.Known("a", CITYSCAPES))
    assert open_source(f"tfds:{name}").class_names == CITYSCAPES.names
    with pytest.raises(UserError, match="classes are not known"):
        open_tfds(name, Selection(label="b"))


TWO = {"left": IMAGE, "right": IMAGE, "a": MASK, "b": MASK, "kind": tfds.features.Scalar(np.int64)}


@pytest.mark.parametrize(
    ("features", "selection", "message"),
    [
        (TWO, {}, r'a or b could be the label.*a \(Image \(None, None, 1\)\).*"label": KEY'),
        (TWO, {"label": "a"}, r'left or right could be the image.*"image": KEY'),
        (TWO, {"label": "kind"}, "'kind' is not a key of labels"),
        (TWO, {"label": "none"}, "'none' is not a key of labels"),
        (TWO, {"label": "a", "image": "b"}, "'b' is not a key of images"),
        ({"image": IMAGE}, {}, "no feature can be the label"),
        ({"mask": MASK}, {}, "no feature can be the image"),
        ({"image": IMAGE, "mask": MASK}, {}, r"classes are not known; .*\"classes\": \[NAME"),
        (
            {"image": IMAGE, "mask": MASK},
            {"classes": table_from_rows([{"name": n} for n in CLASSES], ""), "splits": {"a": "b"}},
            "no split 'b'; expected one of train",
        ),
    ],
)
def test_missing_and_ambiguous_features_are_named(define, features, selection, message):
    values = {"left": IMAGES[0][0], "a": IMAGES[0][1][..., np.newaxis], "kind": 1}
    values |= {"right": values["left"], "image": values["left"]}
    values |= {"b": values["a"], "mask": values["a"]}
    name = define(features, {"train": [{key: values[key] for key in features}]})
    with pytest.raises(UserError, match=message) as error:
        open_tfds(name, Selection(**selection))
    assert f"tfds:{name}" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["no_such_data", "cityscapes/none", "cityscapes:0.1.0", "", "a b"])
def test_no_such_data_set(data_dir, name):
    with pytest.raises(UserError, match=f"^tfds:{name}: no such data set") as error:
        open_source(f"tfds:{name}")
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_a_data_set_that_needs_manual_downloads(data_dir):
    with pytest.raises(UserError, match=r"cannot be prepared in .*leftImg8bit_train") as error:
        open_source("tfds:cityscapes")
    assert "\n" not in str(error.value)


def test_without_tensorflow_datasets(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(UserError, match=r"pip install rnnseg\[data\]"):
        tfds_source.open_tfds("cityscapes", Selection())


def test_a_missing_file(define):
    name = define(
        {"image": IMAGE, "mask": MASK},
        {"train": [{"image": IMAGES[0][0], "mask": IMAGES[0][1][..., np.newaxis]}]},
    )
    selection = Selection(classes=table_from_rows([{"name": each} for each in CLASSES], "here"))
    open_tfds(name, selection)
    builder = tfds.builder(name)
    (shard,) = builder.info.splits["train"].filepaths
    shard.unlink()
    with pytest.raises(UserError, match="missing, a part of split 'train'; remove") as error:
        open_tfds(name, selection)
    assert str(shard) in str(error.value)
