import json
import subprocess
import sys

import pytest

from rnnseg.data.classes import ClassTable, read_classes, table_from_rows
from rnnseg.errors import UserError


def _read(tmp_path, text, encoding="utf-8", ending=".txt"):
    path = tmp_path / f"classes{ending}"
    path.write_bytes(text.encode(encoding))
    return read_classes(path)


def _complaint(tmp_path, text, ending):
    with pytest.raises(UserError) as error:
        _read(tmp_path, text, ending=ending)
    assert str(error.value).startswith(str(tmp_path / f"classes{ending}"))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_names_alone(tmp_path):
    table = _read(tmp_path, "# mine\n\nroad  # grey\ntraffic light\nlane 1\n")
    assert table == ClassTable(
        ("road", "traffic light", "lane 1"), None, values={0: 0, 1: 1, 2: 2}, color_values=None
    )


@pytest.mark.parametrize(
    "line",
    ["traffic light 1 2 3", "1 2 3 traffic light", "traffic light,1,2,3", "1\t2\t3\ttraffic light"],
)
def test_names_and_colors(tmp_path, line):
    table = _read(tmp_path, f"sky 0 0 255\n{line}\n")
    assert table == ClassTable(
        names=("sky", "traffic light"),
        colors=((0, 0, 255), (1, 2, 3)),
        values={0: 0, 1: 1},
        color_values={(0, 0, 255): 0, (1, 2, 3): 1},
    )


def test_color_of_three_equal_numbers(tmp_path):
    assert _read(tmp_path, "a 1 1 1\nb 2 2 2\n").colors == ((1, 1, 1), (2, 2, 2))


def test_byte_order_mark_and_windows_lines(tmp_path):
    assert _read(tmp_path, "sky\r\nroad\r\n", "utf-8-sig").names == ("sky", "road")


def test_a_line_that_stands_for_no_class(tmp_path):
    table = _read(tmp_path, "sky 0 0 1\nIgnore 224 224 192\nroad 0 0 2\nignore 0 0 0\n")
    assert table == ClassTable(
        names=("sky", "road"),
        colors=((0, 0, 1), (0, 0, 2)),
        values={0: 0, 1: 255, 2: 1, 3: 255},
        color_values={(0, 0, 1): 0, (224, 224, 192): 255, (0, 0, 2): 1, (0, 0, 0): 255},
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 classes, expected 2 to 255"),
        ("alone\n", "1 classes, expected 2 to 255"),
        ("".join(f"class-{i}\n" for i in range(256)), "256 classes, expected 2 to 255"),
        ("sky\nsky\n", "line 2: the class 'sky' is listed already"),
        ("sky 1 2 3\nroad 1 2 3\n", "line 2: 'road' has the same colour as 'sky'"),
        ("sky 1 2 3\nroad\n", "'road' has no colour"),
        ("sky\nroad 0 0 0\n", "'sky' has no colour"),
        ("sky 1 2 256\nroad 0 0 0\n", "line 1: the colour of 'sky' is (1, 2, 256)"),
        ("1 2 3\nroad 0 0 0\n", "line 1: '1 2 3' has no name"),
        ("1 2 3 4\nroad 0 0 0\n", "line 1: '1 2 3 4' has no name"),
    ],
)
def test_faults_in_text_files_are_named(tmp_path, text, message):
    assert message in _complaint(tmp_path, text, ".txt")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_classes(tmp_path / "missing.txt")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UserError, match="cannot be read"):
        read_classes(tmp_path / "binary.csv")


# The layouts of tables in published data sets: CamVid's class_dict.csv, one with spaces as in drone
# data sets, a spreadsheet's export with decimal commas, and one with additional columns.
CSV = {
    "camvid": "name,r,g,b\nSky,128,128,128\nRoad,128,64,128\n",
    "spaces": "name, r, g, b\nSky, 128, 128, 128\nRoad, 128, 64, 128\n",
    "semicolons": "\ufeffName;Red;Green;Blue\r\nSky;128;128;128\r\nRoad;128;64;128\r\n;;;\r\n",
    "tabs": "class\tr\tg\tb\nSky\t128\t128\t128\nRoad\t128\t64\t128",
    "others": 'stuff,"Name",R,G,B,color\n1,"Sky",128,128,128,"#808080"\n0,Road,128,64,128,x,\n',
}


@pytest.mark.parametrize("text", CSV.values(), ids=CSV.keys())
def test_csv_tables(tmp_path, text):
    assert _read(tmp_path, text, ending=".csv") == ClassTable(
        names=("Sky", "Road"),
        colors=((128, 128, 128), (128, 64, 128)),
        values={0: 0, 1: 1},
        color_values={(128, 128, 128): 0, (128, 64, 128): 1},
    )


def test_csv_indices_that_are_not_in_order_and_names_with_delimiters(tmp_path):
    text = 'Idx,Ratio,Name\n7,0.1,building;edifice\n65535,0.2,"bed, cot"\n0,0.3,ignore\n'
    table = _read(tmp_path, text, ending=".CSV")
    assert table == ClassTable(
        names=("building;edifice", "bed, cot"),
        colors=None,
        values={7: 0, 65535: 1, 0: 255},
        color_values=None,
    )


def test_rows_with_the_same_name_are_one_class(tmp_path):
    text = "id,name,r,g,b\n4,car,0,0,1\n5,ignore,0,0,0\n6,road,0,0,2\n9,car,0,0,3\n8,IGNORE,,,\n"
    table = _read(tmp_path, text, ending=".csv")
    assert table == ClassTable(
        names=("car", "road"),
        colors=((0, 0, 1), (0, 0, 2)),
        values={4: 0, 5: 255, 6: 1, 9: 0, 8: 255},
        color_values={(0, 0, 1): 0, (0, 0, 0): 255, (0, 0, 2): 1, (0, 0, 3): 0},
    )


def test_a_color_of_the_ignored_pixels_alone_makes_no_color_table(tmp_path):
    table = _read(tmp_path, "name,r,g,b\nsky,,,\nroad,,,\nignore,0,0,0\n", ending=".csv")
    assert table.colors is None and table.color_values is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: no column is called name among (none); expected"),
        ("title,r,g,b\nsky,1,2,3\n", "line 1: no column is called name among title, r, g, b;"),
        ("name,r,g,b\n", "0 classes, expected 2 to 255"),
        ("name,r,g,b\n\nsky,1,2\n", "line 3: 3 fields, expected 4 as in the first line"),
        ("name,r,g,b\ntraffic, light,1,2,3\n", "line 2: 5 fields, expected 4"),
        ("name,r,g,b\n,1,2,3\n", "line 2: no name in name, r, g, b, expected"),
        ("name,r,g,b\nsky,1,2,x\n", "line 2: the colour of 'sky' is (1, 2, 'x'), expected three"),
        ("name,r,g,b\nsky,1,2,\n", "line 2: the colour of 'sky' is (1, 2, None), expected three"),
        ("name,r,g,b\nsky,1,2,256\n", "line 2: the colour of 'sky' is (1, 2, 256), expected"),
        ("name,r,g\nsky,1,2\n", "line 2: the colour of 'sky' is (1, 2, None), expected three"),
        ("name,r,g,b\nsky,1,2,3\nroad,1,2,3\n", "line 3: 'road' has the same colour as 'sky', ("),
        ("name,r,g,b\nsky,1,2,3\nroad,,,\n", "'road' has no colour, expected one for every class"),
        ("name,id\nsky,-1\n", "line 2: the index of 'sky' is '-1', expected 0 to 65535"),
        ("name,id\nsky,65536\n", "line 2: the index of 'sky' is 65536, expected 0 to 65535"),
        ("name,id\nsky,3\nroad,3\n", "line 3: 'road' has the same index as 'sky', 3; expected"),
        ("name,id\nsky,3\nignore,3\n", "line 3: 'ignore' has the same index as 'sky', 3; expected"),
        ("name,id\nIgnore,3\nsky,3\n", "line 3: 'sky' has the same index as 'ignore', 3; expected"),
    ],
)
def test_faults_in_csv_files_are_named(tmp_path, text, message):
    assert message in _complaint(tmp_path, text, ".csv")


def test_json_rows_and_names(tmp_path):
    rows = [
        {"name": "sky", "color": [0, 0, 1]},
        {"name": "road", "r": 0, "g": 0, "b": 2, "note": None},
        {"name": "ignore", "index": 255},
    ]
    assert _read(tmp_path, json.dumps(rows), ending=".json") == ClassTable(
        names=("sky", "road"),
        colors=((0, 0, 1), (0, 0, 2)),
        values={0: 0, 1: 1, 255: 255},
        color_values={(0, 0, 1): 0, (0, 0, 2): 1},
    )
    assert _read(tmp_path, '["sky", "road"]', ending=".json") == ClassTable(
        ("sky", "road"), None, {0: 0, 1: 1}, None
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('["sky",]', "not valid JSON"),
        ('{"sky": 1}', "dict, expected a list of names, or of rows such as"),
        ('["sky", 5]', "row 2: 5, expected a name or a row"),
        ('["sky", {"id": 5}]', "row 2: no name in id, expected a text"),
        ('["sky", {}]', "row 2: no name in the row, expected a text"),
        ('["sky", {"name": 5}]', "row 2: no name in name, expected a text"),
        ('["sky", {"name": "road", "id": true}]', "row 2: the index of 'road' is 'True', expected"),
        ('["sky", {"name": "road", "id": 1.5}]', "row 2: the index of 'road' is 1.5, expected"),
        ('[{"name": "sky", "color": "#010203"}]', "row 1: the colour of 'sky' is '#010203', expe"),
        ('[{"name": "sky", "color": [1, 2]}]', "row 1: the colour of 'sky' is (1, 2), expected"),
        ('[{"name": "sky", "color": 7}]', "row 1: the colour of 'sky' is 7, expected three"),
    ],
)
def test_faults_in_json_files_are_named(tmp_path, text, message):
    assert message in _complaint(tmp_path, text, ".json")


def test_tables_from_rows_name_where_they_come_from():
    rows = [{"Name": "sky", "Value": 3}, {"class": "road", "label": "4"}]
    assert table_from_rows(rows, "here").values == {3: 0, 4: 1}
    with pytest.raises(UserError, match="^here, row 3: 'sea' has the same index as 'sky', 3;"):
        table_from_rows([*rows, {"name": "sea", "value": 3}], "here")


def test_loads_without_tensorflow():
    code = (
        "import sys, rnnseg.data.classes; "
        "print([m for m in ('tensorflow', 'tensorflow_datasets', 'keras') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
