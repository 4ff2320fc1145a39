import pytest

from data_prep.classes import read_classes
from rnnseg.errors import UserError


def _read(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "classes.txt"
    path.write_text(text, encoding=encoding)
    return read_classes(path)


def test_names_alone(tmp_path):
    names, colors = _read(tmp_path, "# mine\n\nroad  # grey\ntraffic light\nlane 1\n")
    assert names == ("road", "traffic light", "lane 1")
    assert colors is None


@pytest.mark.parametrize(
    "line",
    ["traffic light 1 2 3", "1 2 3 traffic light", "traffic light,1,2,3", "1\t2\t3\ttraffic light"],
)
def test_names_and_colors(tmp_path, line):
    names, colors = _read(tmp_path, f"sky 0 0 255\n{line}\n")
    assert names == ("sky", "traffic light")
    assert colors == ((0, 0, 255), (1, 2, 3))


def test_name_that_is_a_number_of_its_color(tmp_path):
    assert _read(tmp_path, "a 1 1 1\nb 2 2 2\n")[1] == ((1, 1, 1), (2, 2, 2))


def test_byte_order_mark_and_windows_lines(tmp_path):
    assert _read(tmp_path, "sky\r\nroad\r\n", "utf-8-sig")[0] == ("sky", "road")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 classes, expected 2 to 255"),
        ("alone\n", "1 classes, expected 2 to 255"),
        ("".join(f"class-{i}\n" for i in range(256)), "256 classes, expected 2 to 255"),
        ("sky\nsky\n", "line 2: the class 'sky' is there already"),
        ("sky 1 2 3\nroad 1 2 3\n", "line 2: 'road' has the colour of 'sky'"),
        ("sky 1 2 3\nroad\n", "'road' has no colour"),
        ("sky\nroad 0 0 0\n", "'sky' has no colour"),
        ("sky 1 2 256\nroad 0 0 0\n", "line 1: the colour of 'sky' is (1, 2, 256)"),
        ("1 2 3\nroad 0 0 0\n", "line 1: '1 2 3' has no name"),
        ("1 2 3 4\nroad 0 0 0\n", "line 1: '1 2 3 4' has no name"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    with pytest.raises(UserError) as error:
        _read(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "classes.txt"))
    assert message in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_classes(tmp_path / "missing.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UserError, match="cannot be read"):
        read_classes(tmp_path / "binary.txt")
