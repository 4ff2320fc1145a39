import os
import pathlib
import shutil

import pytest

from data_prep.common import Pair
from data_prep.plans.splits import parse_splits, require_disjoint, split_names
from rnnseg.errors import UserError

FOLDER = pathlib.Path("photos")


def _images(count, ending=".jpg"):
    names = [f"town/{number:04d}" for number in range(count)]
    return {name: FOLDER / f"{name}{ending}" for name in names}


def _save(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_options(tmp_path):
    listed = _save(tmp_path / "a=b.txt", "x")
    assert parse_splits(["val=0.2", f"test={listed}", "few=1e-3"]) == {
        "val": 0.2,
        "test": listed,
        "few": 0.001,
    }
    assert parse_splits([]) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["val"], "--split val: expected NAME=RATIO or NAME=FILE"),
        (["val="], "--split val=: expected NAME=RATIO or NAME=FILE"),
        (["=0.2"], "--split =0.2: expected NAME=RATIO or NAME=FILE"),
        (["my-val=0.2"], "--split my-val=0.2: expected NAME=RATIO or NAME=FILE"),
        (["all=0.2"], "--split all=0.2: expected NAME=RATIO or NAME=FILE"),
        (["val=0.2", "val=0.1"], "--split val=0.1: the split 'val' is given already"),
        (["val=1"], "--split val=1: expected a ratio between 0 and 1"),
        (["val=0"], "--split val=0: expected a ratio between 0 and 1"),
        (["val=nan"], "--split val=nan: expected a ratio between 0 and 1"),
        (["val=no.txt"], "--split val=no.txt: no such file, expected a list with one image"),
        (["val=0.5", "test=0.5"], "--split: the ratios 0.5, 0.5 leave nothing for train"),
        (["train=0.5"], "--split train=0.5: if a split has a ratio, train has the"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(UserError) as error:
        parse_splits(options)
    assert str(error.value).startswith(message)


def test_a_list_for_train_and_a_ratio(tmp_path):
    listed = _save(tmp_path / "train.txt", "x")
    with pytest.raises(UserError, match="if a split has a ratio, train has the remaining images"):
        parse_splits([f"train={listed}", "val=0.5"])


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1000, (200, 50)), (13, (3, 1)), (3, (1, 1))],  # 2.6 and 0.65; 0.6 and 0.15
)
def test_ratios_are_met_exactly(count, expected):
    images = _images(count)
    splits = split_names(images, FOLDER, {"val": 0.2, "test": 0.05})
    assert list(splits) == ["train", "val", "test"]
    assert (len(splits["val"]), len(splits["test"])) == expected
    everything = [name for names in splits.values() for name in names]
    assert sorted(everything) == sorted(images)  # every image exactly once


def test_a_ratio_always_takes_the_same_images():
    """Users rely on these five: another hash would mix training and validation images."""
    splits = split_names(_images(50), FOLDER, {"val": 0.1})
    assert splits["val"] == ["town/0022", "town/0033", "town/0042", "town/0044", "town/0049"]
    backwards = dict(reversed(_images(50, ".png").items()))
    assert split_names(backwards, FOLDER, {"val": 0.1}) == splits


def test_few_images_change_their_split_when_some_are_added():
    before = split_names(_images(1000), FOLDER, {"val": 0.2, "test": 0.1})
    after = split_names(_images(1020), FOLDER, {"val": 0.2, "test": 0.1})
    where = {name: split for split, names in after.items() for name in names}
    moved = [name for split, names in before.items() for name in names if where[name] != split]
    assert len(moved) <= 20


def test_a_ratio_does_not_take_a_slice_of_the_names():
    val = split_names(_images(1000), FOLDER, {"val": 0.5})["val"]
    first_half = sum(int(name[-4:]) < 500 for name in val)
    assert 200 < first_half < 300


def test_lists(tmp_path):
    images = {
        "town/a": FOLDER / "town/a.jpg",
        "town/b": FOLDER / "town/b.png",
        "c.left": FOLDER / "c.left.JPG",
        "d": FOLDER / "d.jpg",
    }
    val = _save(tmp_path / "val.txt", "\ufefftown/b.png\r\n\r\n  ./c.left\r\n")
    test = _save(tmp_path / "test.txt", "town\\a")
    assert split_names(images, FOLDER, {"val": val, "test": test}) == {
        "train": ["d"],
        "val": ["town/b", "c.left"],
        "test": ["town/a"],
    }
    train = _save(tmp_path / "train.txt", "c.left.JPG")
    assert split_names(images, FOLDER, {"test": test, "train": train}) == {
        "train": ["c.left"],
        "test": ["town/a"],
    }


def test_a_ratio_refers_to_images_in_no_list(tmp_path):
    images = _images(100)
    test = _save(tmp_path / "test.txt", "\n".join(sorted(images)[:60]))
    splits = split_names(images, FOLDER, {"val": 0.25, "test": test})
    assert {split: len(names) for split, names in splits.items()} == {
        "train": 30,
        "val": 10,
        "test": 60,
    }
    assert not set(splits["test"]) & {*splits["val"], *splits["train"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty, expected an image on every line"),
        ("a.jpg\nx.jpg\nb\n../c\n", "2 of 4 are no images below photos: x.jpg, ../c; expected"),
        ("a.png", "1 of 1 are no images below photos: a.png"),
        ("a.jpg\nb\na\n", "listed more than once: a"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path, text, message):
    images = {name: FOLDER / f"{name}.jpg" for name in "abcd"}
    path = _save(tmp_path / "list.txt", text)
    with pytest.raises(UserError) as error:
        split_names(images, FOLDER, {"val": path})
    assert str(error.value).startswith(f"{path}: {message}")


def test_a_list_that_is_not_text(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xff\x00\x80")
    with pytest.raises(UserError, match="list.txt: no UTF-8 text .*expected a list of images"):
        split_names(_images(3), FOLDER, {"val": tmp_path / "list.txt"})


def test_an_image_in_two_lists(tmp_path):
    val = _save(tmp_path / "val.txt", "town/0001\ntown/0002")
    test = _save(tmp_path / "test.txt", "town/0002.jpg")
    with pytest.raises(UserError) as error:
        split_names(_images(9), FOLDER, {"val": val, "test": test})
    assert str(error.value).startswith(f"{val} and {test}: 'town/0002' is in both, expected every")


@pytest.mark.parametrize(("count", "splits"), [(1, {"val": 0.1}), (2, {"a": 0.1, "b": 0.1})])
def test_nothing_left_for_train(count, splits):
    with pytest.raises(UserError, match=f"leave none of the {count} images for train"):
        split_names(_images(count), FOLDER, splits)


def _pairs(*paths):
    return [Pair(path.stem, path, path.with_suffix(".mask")) for path in paths]


def test_different_images_may_be_in_different_splits(tmp_path):
    a, b, c = (_save(tmp_path / name, text) for name, text in (("a", "1"), ("b", "2"), ("c", "12")))
    copy = _save(tmp_path / "copy", "1")
    require_disjoint({"train": _pairs(a, copy), "val": _pairs(b), "test": _pairs(c)})


@pytest.mark.parametrize("how", ["same", "symbolic link", "hard link", "copy"])
def test_one_image_under_two_names(tmp_path, how):
    a, b = _save(tmp_path / "a.jpg", "image"), _save(tmp_path / "b.jpg", "texture")
    other = tmp_path / "other" / "c.jpg"
    other.parent.mkdir()
    if how == "same":
        other = a
    elif how == "symbolic link":
        other.symlink_to(a)
    elif how == "hard link":
        os.link(a, other)
    else:
        shutil.copy(a, other)
    with pytest.raises(UserError) as error:
        require_disjoint({"train": _pairs(b, a), "val": _pairs(other)})
    assert str(error.value) == (
        f"{a} and {other}: the same image in the splits train and val, expected every image in "
        "one; remove one of the two, or list both in one split"
    )


def test_only_images_of_one_size_are_read(tmp_path, monkeypatch):
    small, large = _save(tmp_path / "small", "1"), _save(tmp_path / "large", "1" * 1000)
    monkeypatch.setattr(pathlib.Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    require_disjoint({"train": _pairs(small), "val": _pairs(large)})


def test_a_missing_image(tmp_path):
    with pytest.raises(UserError, match="gone.jpg: cannot be read"):
        require_disjoint({"train": _pairs(tmp_path / "gone.jpg")})
