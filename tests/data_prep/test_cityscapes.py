import dataclasses
import io
import json
import os
import pickle
import shutil
import sys
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from data_prep.cityscapes import main
from data_prep.plans.cityscapes import make_example, plan_cityscapes
from rnnseg.data.classes import ClassTable
from rnnseg.data.records import find_builds, open_records
from rnnseg.data.selection import Selection
from rnnseg.errors import UserError

SIZE = (12, 9)
NAMES = {
    "train": ["aachen/aachen_000000_000019", "bochum/bochum_000000_000313"],
    "val": ["frankfurt/frankfurt_000000_000576"],
    "test": ["berlin/berlin_000000_000019"],
    "train_extra": ["erfurt/erfurt_000000_000000"],
}
# From the paper and the pages of Cityscapes: the labels and the splits that make up a split.
CONFIGS = {
    "fine": {
        "train": [("gtFine", "train")],
        "val": [("gtFine", "val")],
        "test": [("gtFine", "test")],
    },
    "coarse": {
        "train": [("gtCoarse", "train"), ("gtCoarse", "train_extra")],
        "val": [("gtFine", "train"), ("gtFine", "val")],
    },
    "both": {
        "train": [("gtFine", "train"), ("gtCoarse", "train_extra")],
        "val": [("gtFine", "val")],
        "test": [("gtFine", "test")],
    },
}
FULL_SIZES = {
    "fine": {"train": 2975, "val": 500, "test": 1525},
    "coarse": {"train": 22973, "val": 3475},
    "both": {"train": 22973, "val": 500, "test": 1525},
}
ARCHIVES = {
    "leftImg8bit_trainvaltest.zip": ["leftImg8bit/train", "leftImg8bit/val", "leftImg8bit/test"],
    "leftImg8bit_trainextra.zip": ["leftImg8bit/train_extra"],
    "gtFine_trainvaltest.zip": ["gtFine"],
    "gtCoarse.zip": ["gtCoarse"],
}


@pytest.fixture
def unpacked(tmp_path, save_image):
    """All parts of a small Cityscapes, with random label ids."""
    root = tmp_path / "unpacked"
    generator = np.random.default_rng(0)
    for split, names in NAMES.items():
        for name in names:
            save_image(root / "leftImg8bit" / split / f"{name}_leftImg8bit.png", SIZE)
            for part in ("gtFine", "gtCoarse"):
                if (part, split) in (("gtFine", "train_extra"), ("gtCoarse", "test")):
                    continue
                ids = generator.integers(0, 34, SIZE[::-1])
                instances = np.where(ids < 24, ids, ids * 1000 + 1).astype(np.uint16)
                stem = root / part / split / f"{name}_{part}"
                stem.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(ids.astype(np.uint8)).save(f"{stem}_labelIds.png")
                Image.fromarray(instances).save(f"{stem}_instanceIds.png")
                # Cityscapes also provides these; they are not read if the ids exist.
                Image.fromarray(ids.astype(np.uint8)).save(f"{stem}_color.png")
                stem.with_name(f"{stem.name}_polygons.json").write_text("{}")
    return root


def _zip(root, to, archives=tuple(ARCHIVES)):
    """Packs the folders into the archives of Cityscapes."""
    to.mkdir(exist_ok=True)
    for archive in archives:
        with zipfile.ZipFile(to / archive, "w") as file:
            file.writestr("license.txt", "terms")
            for folder in ARCHIVES[archive]:
                for path in sorted((root / folder).rglob("*.*")):
                    file.write(path, path.relative_to(root))
    return to


@pytest.fixture
def zipped(tmp_path, unpacked):
    return _zip(unpacked, tmp_path / "zipped")


@pytest.fixture
def mixed(tmp_path, unpacked):
    """Two archives, and the unpacked contents of the other two."""
    packed = ["leftImg8bit_trainextra.zip", "gtFine_trainvaltest.zip"]
    root = _zip(unpacked, tmp_path / "mixed", packed)
    for folder in ("leftImg8bit", "gtCoarse"):
        shutil.copytree(unpacked / folder, root / folder)
    shutil.rmtree(root / "leftImg8bit" / "train_extra")
    return root


def _pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def _train_ids(ids):
    """Returns the training labels according to cityscapesscripts."""
    labels = pytest.importorskip("cityscapesscripts.helpers.labels")
    table = np.array([labels.id2label[index].trainId for index in range(34)])
    return table[ids]


def _check_example(example, root, part, split):
    """Compares a record with the files of an unpacked Cityscapes."""
    name = example["name"]
    image = root / "leftImg8bit" / split / f"{name}_leftImg8bit.png"
    stem = root / part / split / f"{name}_{part}"
    assert example["image"] == image.read_bytes()
    for key, kind in (("label_ids", "labelIds"), ("instance_ids", "instanceIds")):
        assert example[key] == stem.with_name(f"{stem.name}_{kind}.png").read_bytes()
    ids = np.asarray(Image.open(f"{stem}_labelIds.png"))
    np.testing.assert_array_equal(_pixels(example["label"]), _train_ids(ids))


def _read_examples(out, split):
    """Reads all values of the records of a split directly from the files, by name."""
    tf = pytest.importorskip("tensorflow")
    examples = {}
    for file in out.rglob(f"*-{split}.tfrecord-*"):
        for record in tf.data.TFRecordDataset(str(file)):
            values = tf.train.Example.FromString(record.numpy()).features.feature
            example = {key: value.bytes_list.value[0] for key, value in values.items()}
            example["name"] = example["name"].decode()
            examples[example["name"]] = example
    return examples


def _fails(root, out, *options):
    result = CliRunner().invoke(main, ["--root", str(root), "--out", str(out), *options])
    assert result.exit_code == 2, result.output
    assert find_builds(out) == []
    last = result.stderr.splitlines()[-1].split("\r")[-1]
    assert last.startswith("error: ")
    return last


@pytest.mark.parametrize("form", ["unpacked", "zipped", "mixed"])
@pytest.mark.parametrize("config", CONFIGS)
def test_all_configs(request, unpacked, config, form):
    plan = plan_cityscapes(request.getfixturevalue(form), config)
    assert plan.full_sizes == FULL_SIZES[config]
    assert set(plan.splits) == set(CONFIGS[config])
    for split, sources in CONFIGS[config].items():
        origins = [(name, *source) for source in sources for name in NAMES[source[1]]]
        for pair, (name, *source) in zip(plan.splits[split], origins, strict=True):
            assert pair.name == name and len(pair.files) == 3
            _check_example(make_example(pair), unpacked, *source)


def test_a_config_needs_only_its_own_files(unpacked, zipped):
    (zipped / "gtCoarse.zip").write_bytes(b"not looked at")
    (zipped / "leftImg8bit_trainextra.zip").unlink()
    for folder in ("train_extra", "test"):
        shutil.rmtree(unpacked / "leftImg8bit" / folder)
    assert list(plan_cityscapes(zipped, "fine").splits) == ["train", "val", "test"]
    assert list(plan_cityscapes(unpacked, "fine").splits) == ["train", "val"]


def test_classes(unpacked):
    plan = plan_cityscapes(unpacked, "fine")
    official = pytest.importorskip("cityscapesscripts.helpers.labels").trainId2label
    assert plan.class_names == tuple(official[index].name for index in range(19))
    assert plan.class_colors == tuple(official[index].color for index in range(19))


def test_plans_can_be_sent_to_other_processes(zipped):
    plan = plan_cityscapes(zipped, "both")
    sent = pickle.loads(pickle.dumps((plan.make_example, plan.splits)))
    assert sent[0](sent[1]["val"][0]) == plan.make_example(plan.splits["val"][0])


def test_the_command(tmp_path, unpacked, zipped):
    out = tmp_path / "out"
    arguments = ["--root", str(zipped), "--out", str(out), "--config", "both"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "train: 3 images, of 22973 in the full data set" in result.stdout
    assert open_records(out).split_sizes == {"train": 3, "val": 1, "test": 1}
    for split, sources in CONFIGS["both"].items():
        examples = _read_examples(out, split)
        for part, source in sources:
            for name in NAMES[source]:
                _check_example(examples.pop(name), unpacked, part, source)
        assert examples == {}
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 0 and "nothing to do" in again.stdout


def test_through_tfds(tmp_path, zipped, unpacked):
    """TFDS finds the archives in the manual folder and decodes all masks."""
    tfds = pytest.importorskip("tensorflow_datasets")
    import data_prep.builders  # noqa: F401

    downloads = tmp_path / "downloads"
    downloads.mkdir()
    zipped.rename(downloads / "manual")
    (example,) = tfds.load(
        "cityscapes_segmentation/fine",
        split="val",
        data_dir=tmp_path / "data",
        download_and_prepare_kwargs={"download_dir": downloads},
    )
    stem = unpacked / "gtFine" / "val" / f"{NAMES['val'][0]}_gtFine"
    ids, instances = (
        np.asarray(Image.open(f"{stem}_{kind}.png")) for kind in ("labelIds", "instanceIds")
    )
    np.testing.assert_array_equal(example["label_ids"][..., 0], ids)
    np.testing.assert_array_equal(example["instance_ids"][..., 0], instances)
    assert example["instance_ids"].dtype == np.uint16 and instances.max() > 255
    np.testing.assert_array_equal(example["label"][..., 0], _train_ids(ids))


def test_instance_ids_are_read_for_the_official_scores(tmp_path, unpacked):
    pipeline = pytest.importorskip("rnnseg.data.pipeline")
    result = CliRunner().invoke(main, ["--root", str(unpacked), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    source = open_records(tmp_path / "out")
    assert source.has_instances
    images = pipeline.evaluation_images(source, "train", instances=True).as_numpy_iterator()
    for _, label, name, instance_ids in images:
        stem = unpacked / "gtFine" / "train" / f"{name.decode()}_gtFine"
        expected = np.asarray(Image.open(f"{stem}_instanceIds.png"))
        assert instance_ids.dtype == np.uint16 and instance_ids.shape == label.shape
        np.testing.assert_array_equal(instance_ids, expected)
    assert all(len(each) == 3 for each in pipeline.evaluation_images(source, "train"))
    # Instance ids are meaningless for other classes than Cityscapes' own.
    classes = ClassTable(("road", "others"), None, {0: 0, 1: 1}, None)
    assert not open_records(tmp_path / "out", Selection(classes=classes)).has_instances


def test_archives_missing_from_the_downloads_are_named(tmp_path):
    result = CliRunner().invoke(
        main, ["--download-dir", str(tmp_path / "none"), "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 2
    assert "leftImg8bit_trainvaltest.zip" in result.stderr
    assert "cityscapes-dataset.com/downloads" in result.stderr


def _rectangle(label, left, top, right, bottom, **more):
    """Returns a polygon that covers the pixels up to and including the last column and row."""
    corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return {"label": label, "polygon": corners, **more}


def _replace_by_polygons(root, objects, size=SIZE):
    """Replaces the masks of the image of val with polygons."""
    stem = root / "gtFine" / "val" / f"{NAMES['val'][0]}_gtFine"
    for kind in ("labelIds", "instanceIds", "color"):
        stem.with_name(f"{stem.name}_{kind}.png").unlink(missing_ok=True)
    path = stem.with_name(f"{stem.name}_polygons.json")
    path.write_text(json.dumps({"imgWidth": size[0], "imgHeight": size[1], "objects": objects}))
    return path


def test_polygons(unpacked, capsys):
    _replace_by_polygons(
        unpacked,
        [
            _rectangle("road", 0, 0, 11, 5),
            _rectangle("car", 1, 1, 3, 2),
            _rectangle("license plate", 2, 2, 2, 2),  # has no id, so the car stays
            _rectangle("car", 3, 2, 5, 4),  # covers a part of the first one
            _rectangle("cargroup", 7, 1, 8, 2),  # has no single instances
            _rectangle("person", 7, 4, 7, 5, deleted=1),
            _rectangle("no label", 7, 4, 7, 5, deleted=1),
            _rectangle("caravan", 10, 1, 11, 1),  # has instances, but is not a training class
            _rectangle("pole", 11, 3, 20, 4),  # extends past the edge
        ],
    )
    plan = plan_cityscapes(unpacked, "fine")
    (pair,) = plan.splits["val"]
    assert pair.files == (pair.image, pair.mask) and str(pair.mask).endswith("_polygons.json")
    example = plan.make_example(pair)
    ids, instances = np.zeros((9, 12), int), np.zeros((9, 12), int)
    for rows, columns, label_id, instance_id in (
        (slice(0, 6), slice(0, 12), 7, 7),
        (slice(1, 3), slice(1, 4), 26, 26000),
        (slice(2, 5), slice(3, 6), 26, 26001),
        (slice(1, 3), slice(7, 9), 26, 26),
        (slice(1, 2), slice(10, 12), 29, 29000),
        (slice(3, 5), slice(11, 12), 17, 17),
    ):
        ids[rows, columns], instances[rows, columns] = label_id, instance_id
    np.testing.assert_array_equal(_pixels(example["label_ids"]), ids)
    np.testing.assert_array_equal(_pixels(example["instance_ids"]), instances)
    np.testing.assert_array_equal(_pixels(example["label"]), _train_ids(ids))
    # The bits per channel, and the colour type grey.
    assert example["label_ids"][24:26] == b"\x08\0" and example["instance_ids"][24:26] == b"\x10\0"
    assert example["image"] == pair.image.read_bytes()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("objects", "complaint"),
    [
        ([_rectangle("lamppost", 0, 0, 1, 1)], "labelled 'lamppost'"),
        ([_rectangle("skygroups", 0, 0, 1, 1)], "labelled 'skygroups'"),
        ([{"label": "car", "polygon": []}], "has 0 points"),
        ([{"label": "car", "polygon": [[1, 1]]}], "has 1 points"),
        ([{"label": "car", "polygon": [[1, 1], [float("nan"), 2]]}], "expected 2 or more"),
        ([{"label": "car", "polygon": [["a", 1], [2, 2]]}], "does not hold polygons"),
        ([{"label": "car", "polygon": [1, 2]}], "does not hold polygons"),
        ([{"polygon": [[1, 1], [2, 2]]}], "does not hold polygons"),
        (["car"], "does not hold polygons"),
        (None, "does not hold polygons"),
    ],
)
def test_damaged_polygons(unpacked, objects, complaint, capsys):
    path = _replace_by_polygons(unpacked, objects)
    plan = plan_cityscapes(unpacked, "fine")
    with pytest.raises(UserError, match=complaint) as error:
        plan.make_example(plan.splits["val"][0])
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
    assert capsys.readouterr().out == ""


def test_polygons_that_are_not_json(unpacked):
    path = _replace_by_polygons(unpacked, [])
    (pair,) = plan_cityscapes(unpacked, "fine").splits["val"]
    for data in (path.read_bytes()[:-10], b"", b"\xff\xfe\xfd"):
        path.write_bytes(data)
        with pytest.raises(UserError, match="not valid JSON"):
            make_example(pair)
    path.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        make_example(pair)


def test_polygons_for_an_image_of_another_size(unpacked):
    path = _replace_by_polygons(unpacked, [], (1 << 40, 9))
    (pair,) = plan_cityscapes(unpacked, "fine").splits["val"]
    with pytest.raises(UserError, match="9x1099511627776 pixels, expected 9x12") as error:
        make_example(pair)
    assert str(error.value).startswith(str(path))


def test_polygons_without_cityscapesscripts(unpacked, monkeypatch):
    module = "cityscapesscripts.helpers.annotation"
    monkeypatch.setitem(sys.modules, module, None)
    assert len(plan_cityscapes(unpacked, "fine").splits["val"]) == 1
    _replace_by_polygons(unpacked, [])
    with pytest.raises(UserError, match=r"pip install rnnseg\[data\]"):
        plan_cityscapes(unpacked, "fine")


@pytest.mark.parametrize("form", ["unpacked", "zipped"])
@pytest.mark.parametrize(
    ("part", "kept", "complaint"),
    [
        ("gtFine", "_color.png", "1 of 2 images without labels: {root}/leftImg8bit"),
        ("gtFine", "_labelIds.png", "1 of 2 label ids without instance ids: {root}/gtFine"),
        ("leftImg8bit", None, "1 of 2 labels without image: {root}/gtFine"),
    ],
)
def test_images_and_labels_without_counterpart_are_named(
    tmp_path, unpacked, form, part, kept, complaint
):
    name = NAMES["train"][1]
    for path in (unpacked / part / "train").glob(f"{name}_*"):
        if kept is None or not path.name.endswith(kept):
            path.unlink()
    root = unpacked if form == "unpacked" else _zip(unpacked, tmp_path / "zipped")
    message = _fails(root, tmp_path / "out")
    start, file = complaint.format(root=root).rsplit("/", 1)
    assert start in message and f"{file}" in message and f"{name}_" in message
    assert "expected …_" in message


@pytest.mark.parametrize("archive", ARCHIVES)
def test_a_missing_archive(tmp_path, zipped, archive):
    (zipped / archive).unlink()
    message = _fails(zipped, tmp_path / "out", "--config", "coarse")
    assert "zipped: missing: " in message and "cityscapes-dataset.com/downloads" in message
    assert [each for each in ARCHIVES if each in message] == [archive]


def test_a_missing_split(tmp_path, unpacked):
    shutil.rmtree(unpacked / "gtFine" / "val")
    assert "missing: gtFine/val (gtFine_trainvaltest.zip)" in _fails(unpacked, tmp_path / "out")
    assert "no such folder" in _fails(tmp_path / "away", tmp_path / "out")


@pytest.mark.parametrize("kept", [0.3, 0.99])
def test_a_truncated_archive(tmp_path, zipped, kept):
    archive = zipped / "gtFine_trainvaltest.zip"
    os.truncate(archive, int(archive.stat().st_size * kept))
    assert f"{archive}: truncated or damaged" in _fails(zipped, tmp_path / "out")


def _first_of_val(root):
    (pair,) = plan_cityscapes(root, "fine").splits["val"]
    return pair


@pytest.mark.parametrize("attribute", ["mask", "instances"])
def test_masks_that_cannot_be_used(unpacked, attribute):
    pair = _first_of_val(unpacked)
    path = getattr(pair, attribute)
    bits, value = {"mask": (8, np.uint8(7)), "instances": (16, np.uint16(300))}[attribute]

    def fails(save):
        save(path)
        with pytest.raises(UserError) as error:
            make_example(pair)
        assert str(path) in str(error.value)
        return str(error.value)

    whole = path.read_bytes()
    small = Image.fromarray(np.full((9, 11), value))
    palette = Image.fromarray(np.full((9, 12), 7, np.uint8))
    palette.putpalette([0] * 768)
    assert "9x11 pixels, expected 9x12" in fails(small.save)
    assert f"expected a grey PNG of {bits} bits" in fails(palette.save)
    assert "Cityscapes' own" in fails(palette.save)
    assert "truncated" in fails(lambda path: path.write_bytes(whole[:-8]))
    assert "cannot be read" in fails(lambda path: path.write_bytes(b""))


def test_swapped_masks_are_refused(unpacked):
    pair = _first_of_val(unpacked)
    swapped = dataclasses.replace(pair, mask=pair.instances, instances=pair.mask)
    with pytest.raises(UserError, match="instanceIds.png: value"):
        make_example(swapped)
    jpeg = unpacked / "mask.jpg"
    Image.new("L", SIZE).save(jpeg)
    with pytest.raises(UserError, match="mask.jpg: expected a grey PNG of 16 bits"):
        make_example(dataclasses.replace(pair, instances=jpeg))


def test_a_value_that_is_not_a_label_id(tmp_path, unpacked):
    path = _first_of_val(unpacked).mask
    Image.fromarray(np.full((9, 12), 34, np.uint8)).save(path)
    message = _fails(unpacked, tmp_path / "out")
    assert f"{path}: value 34 (first at column 0, row 0)" in message
    assert "0 to 33" in message and "Cityscapes' own" in message


def test_the_real_pairs(tmp_path, real_data):
    root = real_data / "cityscapes"
    zipped = _zip(root, tmp_path, ["leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"])
    plans = [plan_cityscapes(each, "fine") for each in (root, zipped)]
    sizes = [{split: len(pairs) for split, pairs in plan.splits.items()} for plan in plans]
    assert sizes == [{"train": 6, "val": 1}] * 2
    for split in ("train", "val"):
        for from_folder, from_zip in zip(*(plan.splits[split] for plan in plans), strict=True):
            example = make_example(from_zip)
            assert example == make_example(from_folder)
            _check_example(example, root, "gtFine", split)
