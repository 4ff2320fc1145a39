import json

import pytest

from rnnseg.data import absolute_data, open_source
from rnnseg.data.classes import table_from_rows
from rnnseg.data.description import read_description
from rnnseg.data.pipeline import decode
from rnnseg.data.selection import Selection
from rnnseg.data.tables import CITYSCAPES
from rnnseg.errors import UserError
from tests.support.sources import halves, make_source


@pytest.fixture
def describe(tmp_path):
    def write(content, name="streets.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_only_the_data_is_given(describe, tmp_path):
    assert read_description(describe({"data": "tfds:a/b"})) == ("tfds:a/b", Selection())
    (tmp_path / "records").mkdir()
    expected = str(tmp_path / "records"), Selection()
    assert read_description(describe({"data": "records"})) == expected
    assert read_description(describe({"data": str(tmp_path / "records")})) == expected


def test_all_keys_are_given(describe, tmp_path):
    rows = [{"name": "road", "index": 7, "color": [1, 2, 3]}, {"name": "ignore", "index": 0}]
    rows.append({"name": "sky", "index": 9, "color": [4, 5, 6]})
    content = {
        "data": "tfds:a",
        "image": "photo",
        "label": "mask",
        "classes": rows,
        "splits": {"train": "train[:90%]", "val": "train[90%:]"},
    }
    _, selection = read_description(describe(content))
    assert (selection.image, selection.label) == ("photo", "mask")
    assert selection.splits == content["splits"]
    assert selection.classes == table_from_rows(rows, "here")


def test_classes_by_names_file_and_table(describe, tmp_path):
    def classes(value):
        return read_description(describe({"data": "tfds:a", "classes": value}))[1].classes

    expected = table_from_rows([{"name": "road"}, {"name": "sky"}], "here")
    assert classes(["road", "sky"]) == expected
    (tmp_path / "mine.csv").write_text("name\nroad\nsky\n")
    assert classes("mine.csv") == expected
    assert classes("cityscapes") is CITYSCAPES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[1]", "does not describe a data set"),
        ({"label": "a"}, "does not describe a data set"),
        ({"data": "tfds:a", "lable": "b"}, "unknown key 'lable', expected data, image, label"),
        ({"data": 3}, "data is 3, expected a text"),
        ({"data": "tfds:a", "image": ""}, 'image is "", expected 1 or more characters'),
        ({"data": None}, "data is null, expected a text"),
        ({"data": "tfds:a", "label": None}, "label is null, expected a text"),
        ("[" * 10_000, "more than 32 lists and objects in one another"),
        ('{"data": "tfds:a", "classes": [NaN, 1]}', r"classes\[0\] is nan, expected a finite"),
        ({"data": "nowhere"}, "data is 'nowhere', expected a folder"),
        ({"data": "shapes"}, "data is 'shapes', expected a folder"),
        ({"data": "streets.json"}, "data is 'streets.json', expected a folder"),
        ({"data": "http://a"}, "data is 'http://a', expected a folder"),
        ({"data": "tfds:a", "classes": "none.txt"}, "'none.txt', expected a file, a list, or one"),
        ({"data": "tfds:a", "classes": {}}, "classes is {}, expected a list"),
        ({"data": "tfds:a", "classes": ["one"]}, "classes: 1 classes, expected 2 to 255"),
        ({"data": "tfds:a", "splits": ["train"]}, r"splits is .*, expected an object"),
        ({"data": "tfds:a", "splits": {}}, "splits is {}, expected 1 or more elements"),
        ({"data": "tfds:a", "splits": {"train": 3}}, "splits.train is 3, expected a text"),
    ],
)
def test_mistakes(describe, content, message):
    path = describe(content)
    with pytest.raises(UserError, match=message) as error:
        open_source(str(path))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match=r"none\.json: cannot be read"):
        open_source(str(tmp_path / "none.json"))


@pytest.mark.parametrize("kind", ["model_garden", "build"])
def test_other_classes_and_splits_of_records(describe, tmp_path, kind):
    """Classes are merged and splits cut in the same way for both kinds of records."""
    images = halves(5)
    _write(kind, tmp_path / "records", images)
    path = describe(
        {
            "data": "records",
            "classes": [{"name": "side"}, {"name": "side"}, {"name": "sky"}],
            "splits": {"train": "train[:3]", "val": "train[3:]"},
        }
    )
    source = open_source(str(path))
    assert source.name == "records"
    assert source.class_names == ("side", "sky")
    assert source.split_sizes == {"train": 3, "val": 2}
    expected = {image.tobytes(): label for image, label in images}
    elements = [each for split in source.split_sizes for each in source.read(split)]
    assert len(elements) == 5
    for element in elements:
        image, label = (each.numpy() for each in decode(element))
        known = expected.pop(image.tobytes())
        assert ((label == 255) == (known == 255)).all()
        assert ((label == 1) == (known == 2)).all()
        assert set(label.flat) <= {0, 1, 255}


def _write(kind, folder, images):
    from PIL import Image

    from data_prep.to_model_garden import write_model_garden

    if kind == "model_garden":
        write_model_garden(make_source({"train": images}), "tiny", folder, shards=2)
        return
    from click.testing import CliRunner

    from data_prep.folder import main

    inputs = folder.parent / "inputs"
    for name, column in (("images", 0), ("masks", 1)):
        (inputs / name).mkdir(parents=True)
        for index, image in enumerate(images):
            Image.fromarray(image[column]).save(inputs / name / f"{index}.png")
    (inputs / "classes.txt").write_text("left\nright\ntop\n")
    arguments = ["--images", inputs / "images", "--masks", inputs / "masks", "--processes", 1]
    arguments += ["--classes", inputs / "classes.txt", "--ignore", 255, "--out", folder]
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output


def test_data_in_any_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_data("shapes") == "shapes"
    assert absolute_data("tfds:cityscapes/x:1.0.0") == "tfds:cityscapes/x:1.0.0"
    assert absolute_data("mine.json") == str(tmp_path / "mine.json")
    assert absolute_data("data/voc") == str(tmp_path / "data" / "voc")
