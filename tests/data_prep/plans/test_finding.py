import io
import json
import unicodedata

import numpy as np
import pytest
from PIL import Image

from data_prep.plans.finding import MASKS, find_pairs
from data_prep.plans.folder import plan_folder
from rnnseg.errors import UserError

CASES = {
    "roboflow_same_folder": ("_classes.csv", "i", ""),
    "pixel_value_out_of_order": ("_classes.csv", "m", ""),
    "cvat_labelmap": ("classes.txt", "m", ""),
    "unicode_nfd_nfc": ("classes.txt", "m", ""),
}


def _touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def _found(folder, suffix=""):
    found = find_pairs(folder, folder, suffix)
    assert found.kind == MASKS
    return {
        name: (image.name, found.labels[name].name if name in found.labels else None)
        for name, image in found.images.items()
    }


@pytest.mark.parametrize("suffix", ["_mask", "_label", "_L", "_seg"])
def test_masks_with_a_suffix_beside_the_images(tmp_path, suffix):
    _touch(tmp_path, "a.jpg", f"a{suffix}.png", "b.PNG", f"b{suffix}.png", "_classes.csv")
    expected = {"a": ("a.jpg", f"a{suffix}.png"), "b": ("b.PNG", f"b{suffix}.png")}
    assert _found(tmp_path) == expected == _found(tmp_path, suffix)
    assert f"…{suffix}.png beside the images" in find_pairs(tmp_path, tmp_path).detected


@pytest.mark.parametrize("suffix", ["_mask", "_label", "_L"])
def test_masks_with_a_usual_suffix_in_a_folder_of_their_own(tmp_path, suffix):
    images, masks = tmp_path / "images", tmp_path / "masks"
    _touch(images, "a.jpg", "sub/b.jpg")
    _touch(masks, f"a{suffix}.png", f"sub/b{suffix}.png", "other.png")
    found = find_pairs(images, masks)
    assert found.labels == {
        "a": masks / f"a{suffix}.png",
        "sub/b": masks / "sub" / f"b{suffix}.png",
    }
    assert f"…{suffix}.png" in found.detected
    _touch(masks, "a.png")  # now the names without a suffix count
    assert set(find_pairs(images, masks).labels) == {"a", f"a{suffix}", f"sub/b{suffix}", "other"}
    (masks / f"a{suffix}.png").rename(masks / "a-x.png")
    (masks / "a.png").unlink()
    (masks / "sub" / f"b{suffix}.png").unlink()
    found = find_pairs(images, masks)
    assert set(found.labels) == {"a-x", "other"} and "add --mask-suffix" in found.expected


def test_masks_of_the_same_name_beside_the_images(tmp_path):
    _touch(tmp_path, "a.jpg", "a.png", "sub/b.jpeg", "sub/b.png", "._a.jpg", ".DS_Store")
    assert _found(tmp_path) == {"a": ("a.jpg", "a.png"), "sub/b": ("b.jpeg", "b.png")}


def test_an_image_without_a_mask_beside_it_is_found(tmp_path):
    _touch(tmp_path, "a.jpg", "a_mask.png", "b.jpg")
    assert _found(tmp_path) == {"a": ("a.jpg", "a_mask.png"), "b": ("b.jpg", None)}


@pytest.mark.parametrize(
    ("names", "suffix", "message"),
    [
        ((), "", "no images, expected image files"),
        (("a.jpg", "b.jpg"), "", "the folder of the images has no masks, expected 1.png or"),
        (("a.png", "b.png"), "", "the folder of the images has no masks, expected 1.png or"),
        (("a.jpg", "b.png"), "_mask", "no masks, expected"),
        (("a_mask.png",), "_mask", "no images, expected"),
        (("a.jpg", "a.webp", "a_mask.png"), "", "two files with the same name"),
    ],
)
def test_folders_without_masks(tmp_path, names, suffix, message):
    _touch(tmp_path, *names)
    with pytest.raises(UserError, match=message) as error:
        find_pairs(tmp_path, tmp_path, suffix)
    assert str(error.value).startswith(str(tmp_path))


def test_a_folder_of_masks_below_that_of_the_images(tmp_path):
    _touch(tmp_path, "a.jpg", "masks/a.png")
    for images, masks in ((tmp_path, tmp_path / "masks"),):
        found = find_pairs(images, masks)
        assert list(found.images) == list(found.labels) == ["a"] and not found.detected
    _touch(tmp_path, "images/b.jpg", "b.png")
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "masks" / "a.png").unlink()
    found = find_pairs(tmp_path / "images", tmp_path)
    assert list(found.images) == list(found.labels) == ["b"]


@pytest.mark.parametrize("forms", [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD")])
def test_composed_and_decomposed_names_are_one(tmp_path, forms):
    names = [unicodedata.normalize(form, "café/\u00fc") for form in forms]
    _touch(tmp_path / "images", f"{names[0]}.jpg", "long.jpg")
    _touch(tmp_path / "masks", f"{names[1]}.png", "long.png")
    for name in ("images", "masks"):
        for path in (tmp_path / name).rglob("*.*"):
            Image.new("L", (4, 3 + (path.stem == "long"))).save(path)
    (tmp_path / "classes.txt").write_text("sky\nroad\n")
    (tmp_path / "val.txt").write_text(names[1], encoding="utf-8")
    plan = plan_folder(
        images=tmp_path / "images",
        masks=tmp_path / "masks",
        classes=tmp_path / "classes.txt",
        split=[f"val={tmp_path / 'val.txt'}"],
    )
    assert [pair.name for pair in plan.splits["val"]] == ["caf\u00e9/\u00fc"]
    assert plan.make_example(plan.splits["val"][0])["label"]


def test_json_files_that_are_none_of_the_tools(tmp_path):
    _touch(tmp_path, "images/a.jpg")
    masks = tmp_path / "masks"
    _touch(masks, "a.json")
    with pytest.raises(UserError, match="a.json: not valid JSON"):
        find_pairs(tmp_path / "images", masks)
    (masks / "a.json").write_text('{"version": 1}')
    with pytest.raises(UserError, match="not a file of labelme, Supervisely or COCO"):
        find_pairs(tmp_path / "images", masks)
    (masks / "a.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(UserError, match="give the file itself as --masks"):
        find_pairs(tmp_path / "images", masks)
    (masks / "a.json").unlink()
    with pytest.raises(UserError, match="no images, expected image files or .json files"):
        find_pairs(tmp_path / "images", masks)


def test_json_files_are_named_after_their_images(tmp_path):
    _touch(tmp_path, "images/a.b.jpg", "images/sub/c.jpg", "images/d.jpg")
    for name in ("a.b", "sub/c.jpg", "e"):
        _touch(tmp_path, f"masks/{name}.json")
        (tmp_path / f"masks/{name}.json").write_text(json.dumps({"shapes": []}))
    found = find_pairs(tmp_path / "images", tmp_path / "masks")
    assert found.labels.keys() == {"a.b", "sub/c", "e"}  # the last one is reported later


@pytest.mark.parametrize("name", CASES)
def test_exports_of_annotation_tools(cases, name):
    folder = cases / "label-tables" / name
    classes, masks, suffix = CASES[name]
    plan = plan_folder(
        images=folder / "i", masks=folder / masks, classes=folder / classes, mask_suffix=suffix
    )
    background = "bg" if "unicode" in name else "background"
    assert sorted(plan.class_names) == sorted([background, "red", "green"])
    counts = np.zeros(3)
    for pair in plan.splits["train"]:
        label = np.asarray(_decode(plan.make_example(pair)["label"]))
        counts += np.bincount(label.ravel(), minlength=3)
    shares = dict(zip(plan.class_names, 100 * counts / counts.sum(), strict=True))
    assert shares == {background: 81.25, "red": 6.25, "green": 12.5}


def _decode(data):
    return Image.open(io.BytesIO(data))
