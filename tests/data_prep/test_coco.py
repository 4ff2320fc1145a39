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

from data_prep.coco import main
from data_prep.plans.coco import make_example, plan_coco
from rnnseg.data.records import find_builds, open_records
from rnnseg.errors import UserError

SIZE = (60, 40)
# COCO's categories in the order of their ids, with the name of VOC's class after a colon.
CATEGORIES = """
person:person bicycle:bicycle car:car motorcycle:motorbike airplane:aeroplane bus:bus train:train
truck boat:boat traffic_light fire_hydrant stop_sign parking_meter bench bird:bird cat:cat dog:dog
horse:horse sheep:sheep cow:cow elephant bear zebra giraffe backpack umbrella handbag tie suitcase
frisbee skis snowboard sports_ball kite baseball_bat baseball_glove skateboard surfboard
tennis_racket bottle:bottle wine_glass cup fork knife spoon bowl banana apple sandwich orange
broccoli carrot hot_dog pizza donut cake chair:chair couch:sofa potted_plant:pottedplant bed
dining_table:diningtable toilet tv:tvmonitor laptop mouse remote keyboard cell_phone microwave oven
toaster sink refrigerator book clock vase scissors teddy_bear hair_drier toothbrush
"""
VOC = [
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair"),
    *("cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
]
NAMES = {}
for number, entry in enumerate(CATEGORIES.split()):
    coco, _, voc = entry.replace("_", " ").partition(":")
    NAMES[coco] = (number + number // 11 + 1, voc)  # ids with gaps, as in COCO


def _rectangle(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def _annotation(name, box, **more):
    left, top, right, bottom = box
    return {
        "category_id": NAMES[name][0],
        "area": (right - left) * (bottom - top),
        "iscrowd": 0,
        "segmentation": _rectangle(*box),
        **more,
    }


def _crowd(name, column):
    """Returns the annotation of a crowd in all pixels from a column on."""
    before = column * SIZE[1]
    counts = [before, SIZE[0] * SIZE[1] - before]
    box = (column, 0, *SIZE)
    segmentation = {"size": [SIZE[1], SIZE[0]], "counts": counts}
    return _annotation(name, box, iscrowd=1, segmentation=segmentation)


# The annotations of every image, and the expected boxes and labels; later ones cover earlier ones.
LARGE = (0, 0, 50, 30)
IMAGES = {
    "train": {
        "000000000001": (
            [
                _annotation("bottle", (30, 10, 36, 20)),
                _annotation("dining table", LARGE),
                _annotation("pizza", (0, 0, 9, 9)),
                _crowd("person", 25),
            ],
            [((25, 0, *SIZE), 255), (LARGE, 11), ((30, 10, 36, 20), 5)],
        ),
        "000000000002": ([_annotation("couch", LARGE)], [(LARGE, 18)]),
        "000000000003": ([_annotation("person", (0, 0, 40, 25))], None),  # 1000 pixels
        "000000000004": ([_annotation("pizza", LARGE)], None),
        "000000000005": ([_crowd("person", 0)], None),
        "000000000006": ([], None),
    },
    "val": {
        "000000000007": (
            [_annotation("tv", (0, 0, 40, 25)), _annotation("cat", (50, 30, 51, 31))],
            [((0, 0, 40, 25), 20), ((50, 30, 51, 31), 8)],
        ),
    },
}
KEPT = {"train": ["000000000001", "000000000002"], "val": ["000000000007"]}


def _labels(boxes):
    labels = np.zeros(SIZE[::-1], np.uint8)
    for (left, top, right, bottom), label in boxes:
        labels[top:bottom, left:right] = label
    return labels


def _save_json(path, images, change=lambda content: None):
    annotations = [
        {"id": 100 * number + place, "image_id": number, "bbox": [], **annotation}
        for number, (of, _) in enumerate(images.values())
        for place, annotation in enumerate(of)
    ]
    content = {
        "info": {},
        "licenses": [{"id": 1, "name": "none"}],
        "images": [
            {"id": number, "file_name": f"{name}.jpg", "width": SIZE[0], "height": SIZE[1]}
            for number, name in enumerate(images)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, (number, _) in NAMES.items()],
    }
    change(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def _save(root, save_image, year="2017"):
    for split, images in IMAGES.items():
        _save_json(root / "annotations" / f"instances_{split}{year}.json", images)
        for name in images:
            save_image(root / f"{split}{year}" / f"{name}.jpg", SIZE)
    # Another file of the published archive, which must be ignored.
    (root / "annotations" / f"captions_train{year}.json").write_text("{}")
    return root


@pytest.fixture
def root(tmp_path, save_image):
    """The contents of the archives, with few images."""
    return _save(tmp_path / "coco", save_image)


def _pack(root, folder, archive):
    with zipfile.ZipFile(root / archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted((root / folder).iterdir()):
            file.write(path, f"{folder}/{path.name}")
    shutil.rmtree(root / folder)


ARCHIVES = {
    "annotations": "annotations_trainval2017.zip",
    "train2017": "train2017.zip",
    "val2017": "val2017.zip",
}


def _run(out, *arguments):
    arguments = ["--out", str(out), "--processes", "1", *map(str, arguments)]
    return CliRunner().invoke(main, arguments)


def _decode(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def _check(plan):
    """Compares all records of a plan with the expected ones."""
    assert {split: [pair.name for pair in pairs] for split, pairs in plan.splits.items()} == KEPT
    for split, pairs in plan.splits.items():
        for pair in pickle.loads(pickle.dumps(pairs)):
            example = pickle.loads(pickle.dumps(plan.make_example))(pair)
            assert example["name"] == pair.name
            assert example["image"] == pair.image.read_bytes()
            expected = _labels(IMAGES[split][pair.name][1])
            np.testing.assert_array_equal(_decode(example["label"]), expected)


@pytest.mark.parametrize(
    "packed", [[], ["annotations"], ["train2017"], ["annotations", "val2017"], list(ARCHIVES)]
)
def test_archives_and_folders_in_any_combination(root, packed):
    for folder in packed:
        _pack(root, folder, ARCHIVES[folder])
    _check(plan_coco([root], "2017"))
    parts = [root / (ARCHIVES[name] if name in packed else name) for name in ARCHIVES]
    _check(plan_coco(parts, "2017"))


def test_other_folder_structures(tmp_path, root, monkeypatch):
    (root / "images").mkdir()
    for split in KEPT:
        (root / f"{split}2017").rename(root / "images" / f"{split}2017")
    _check(plan_coco([root], "2017"))
    monkeypatch.chdir(root)
    _check(plan_coco([type(root)(".")], "2017"))


def test_unpacked_files_are_preferred_to_archives(root, save_image):
    for folder, archive in ARCHIVES.items():
        _pack(root, folder, archive)
    image = root / "train2017" / "000000000002.jpg"
    save_image(image, SIZE)
    plan = plan_coco([root], "2017")
    _check(plan)
    assert plan.splits["train"][1].image == image


def test_the_split_of_2014(tmp_path, root, save_image):
    _save(root, save_image, "2014")
    shutil.rmtree(root / "val2017")
    _check(plan_coco([root], "2014"))


def test_the_command(tmp_path, root, read_records):
    result = _run(tmp_path / "out", "--root", root)
    assert result.exit_code == 0, result.output
    assert "train2017: 2 of 6 images kept, with more than 1000 labelled pixels; 4 left out" in (
        result.stderr
    )
    assert "val2017: 1 of 1 images kept" in result.stderr
    source = open_records(tmp_path / "out")
    assert source.split_sizes == {"train": 2, "val": 1}
    assert list(source.class_names) == VOC
    for split, names in KEPT.items():
        records = read_records(tmp_path / "out", split)
        assert sorted(records) == names
        for name, (image, label) in records.items():
            assert image == (root / f"{split}2017" / f"{name}.jpg").read_bytes()
            expected = _labels(IMAGES[split][name][1])
            np.testing.assert_array_equal(_decode(label), expected)
    again = _run(tmp_path / "out", "--root", root)
    assert again.exit_code == 0 and "Already built" in again.stdout
    os.utime(root / "annotations" / "instances_val2017.json", (0, 0))
    changed = _run(tmp_path / "out", "--root", root)
    assert changed.exit_code == 2 and "changed files" in changed.stderr


def test_files_are_found_among_the_downloads(tmp_path, root):
    _pack(root, "annotations", ARCHIVES["annotations"])
    downloads = tmp_path / "downloads"
    (downloads / "manual").mkdir(parents=True)
    (root / ARCHIVES["annotations"]).rename(downloads / ARCHIVES["annotations"])
    for folder in ("train2017", "val2017"):
        (root / folder).rename(downloads / "manual" / folder)
    result = _run(tmp_path / "out", "--download-dir", downloads)
    assert result.exit_code == 0, result.output
    assert open_records(tmp_path / "out").split_sizes == {"train": 2, "val": 1}


def test_every_category_becomes_its_class(root):
    assert len(NAMES) == 80 and sorted(voc for _, voc in NAMES.values() if voc) == sorted(VOC[1:])
    images = {
        f"{number:012d}": ([_annotation("bird", (0, 10, 60, 40)), _annotation(name, (0, 0, 9, 9))],)
        for name, (number, _) in NAMES.items()
    }
    images = {name: (of, None) for name, (of,) in images.items()}
    _save_json(root / "annotations" / "instances_train2017.json", images)
    template = (root / "train2017" / "000000000001.jpg").read_bytes()
    for name in images:
        (root / "train2017" / f"{name}.jpg").write_bytes(template)
    pairs = plan_coco([root], "2017").splits["train"]
    assert len(pairs) == 80
    for pair, (_, voc) in zip(pairs, NAMES.values(), strict=True):
        label = _decode(make_example(pair)["label"])
        assert VOC[label[4, 4]] == (voc or "background") and VOC[label[20, 20]] == "bird"


def _plan_fails(root):
    with pytest.raises(UserError) as error:
        plan_coco([root], "2017")
    return str(error.value)


def test_missing_parts(tmp_path, root):
    (root / "annotations").rename(tmp_path / "away")
    assert f"{root}: instances_train2017.json is missing; expected annotations_trainval2017" in (
        _plan_fails(root)
    )
    (tmp_path / "away").rename(root / "annotations")
    (root / "train2017" / "000000000001.jpg").unlink()
    (root / "train2017" / "000000000003.jpg").unlink()  # not needed
    assert "1 images are missing of the 2 needed: train2017/000000000001.jpg; expected" in (
        _plan_fails(root)
    )
    shutil.rmtree(root / "train2017")
    assert "2 images are missing of the 2 needed: train2017/000000000001.jpg, train" in (
        _plan_fails(root)
    )


def test_a_split_without_labelled_pixels_is_an_error(root):
    path = root / "annotations" / "instances_val2017.json"
    _save_json(path, {"000000000007": ([_annotation("kite", LARGE)], None)})
    assert _plan_fails(root) == f"{path}: no image has more than 1000 labelled pixels"


def test_other_annotations(root):
    path = root / "annotations" / "instances_train2017.json"
    keypoints = [{"id": 1, "name": "person"}]
    _save_json(path, {}, lambda content: content.update(categories=keypoints))
    assert f"{path}: no category called airplane, bicycle, bird and 16 more" in _plan_fails(root)


@pytest.mark.parametrize("part", ARCHIVES)
def test_truncated_archives(root, part):
    _pack(root, part, ARCHIVES[part])
    archive = root / ARCHIVES[part]
    os.truncate(archive, archive.stat().st_size // 2)
    assert f"{archive}: truncated or damaged" in _plan_fails(root)


def test_damaged_json(root):
    path = root / "annotations" / "instances_train2017.json"
    os.truncate(path, path.stat().st_size // 2)
    assert f"{path}: not valid JSON" in _plan_fails(root)


def test_without_pycocotools(root, monkeypatch):
    for name in ("pycocotools", "pycocotools.mask"):
        monkeypatch.setitem(sys.modules, name, None)
    assert "pip install rnnseg[data]" in _plan_fails(root)


def test_images_that_cannot_be_used(tmp_path, root, save_image):
    images = dict(IMAGES["train"])
    for number in range(10, 13):
        images[f"{number:012d}"] = IMAGES["train"]["000000000002"]
        save_image(root / "train2017" / f"{number:012d}.jpg", SIZE)
    wrong_size = root / "train2017" / "000000000010.jpg"
    save_image(wrong_size, SIZE[::-1])
    truncated = root / "train2017" / "000000000011.jpg"
    os.truncate(truncated, 700)
    broken = _annotation("cat", LARGE, id=777, segmentation=[[1, 2, 3, 4, 5, 6, 7]])
    images["000000000012"] = ([broken], None)
    annotations = root / "annotations" / "instances_train2017.json"
    _save_json(annotations, images)
    faults = [
        f"{wrong_size}: 60x40 pixels, expected 40x60 as in {annotations}; replace the image",
        f"{truncated}: cannot be read",
        f"{annotations}, annotation 777: a polygon of 7 numbers",
    ]
    pairs = plan_coco([root], "2017").splits["train"]
    for pair, fault in zip(pairs[2:], faults, strict=True):
        with pytest.raises(UserError) as error:
            make_example(pair)
        assert str(error.value).startswith(fault)
    result = _run(tmp_path / "out", "--root", root)
    assert result.exit_code == 2 and f"error: {faults[0]}" in result.stderr
    assert find_builds(tmp_path / "out") == []
    result = _run(tmp_path / "out", "--root", root, "--skip-bad")
    assert result.exit_code == 0 and "3 images left out" in result.stdout
    assert all(fault in result.stdout for fault in faults)
    assert open_records(tmp_path / "out").split_sizes == {"train": 2, "val": 1}
