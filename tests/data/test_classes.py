import json
import subprocess
import sys

import pytest

from rnnseg.data.class_files import read_classes
from rnnseg.data.classes import ClassTable, table_from_rows
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


@pytest.mark.parametrize(
    "line",
    [
        "car: 1, 2, 3",
        "car=1,2,3",
        "car (1, 2, 3)",
        "car [1 2 3]",
        "car,1,2,3,",
        "car #010203",
        "car:1,2,3::",
        "car:1,2,3:wheel,door:drive,stop",
        "car 1 2 3  # a comment",
        "car|1|2|3",
        "car #010203  # a comment",
        "#010203 car",
        "#010203, car  # facade",
    ],
)
def test_notations_of_a_color(tmp_path, line):
    table = _read(tmp_path, f"# label:color_rgb:parts:actions\nsky 0 0 255\n{line}\n")
    assert (table.names, table.colors) == (("sky", "car"), ((0, 0, 255), (1, 2, 3)))


@pytest.mark.parametrize(
    "text",
    [
        "2 sky\n0 road\n1 lane 5\n",
        "2: sky\n0: road\n1: lane 5\n",
        "2,sky\n0,road\n1,lane 5\n",
        "name index\nsky 2\nroad 0\n'lane 5' 1\n".replace("'", '"'),
        "index,name\n2,sky\n0,road\n1,lane 5\n",
    ],
)
def test_indices_in_text_files(tmp_path, text):
    table = _read(tmp_path, text)
    assert (table.names, table.values) == (("sky", "road", "lane 5"), {2: 0, 0: 1, 1: 2})


@pytest.mark.parametrize("gap", [" ", ",", ": ", "\t"])
def test_indices_behind_names_in_text_files(tmp_path, gap):
    table = _read(tmp_path, f"sky{gap}2\nroad{gap}0\ntraffic light{gap}1\n")
    assert (table.names, table.values) == (("sky", "road", "traffic light"), {2: 0, 0: 1, 1: 2})


def test_indices_and_colors_in_text_files(tmp_path):
    table = _read(tmp_path, "5 sky 0 0 255\n7 car 1 2 3\n")
    assert table == ClassTable(
        ("sky", "car"),
        ((0, 0, 255), (1, 2, 3)),
        {5: 0, 7: 1},
        {(0, 0, 255): 0, (1, 2, 3): 1},
    )


def test_numbers_that_are_parts_of_names(tmp_path):
    assert _read(tmp_path, "lane 1\nlane 2\nroad 1\n").names == ("lane 1", "lane 2", "road 1")
    assert _read(tmp_path, "2 wheeler\ncar\n").names == ("2 wheeler", "car")
    assert _read(tmp_path, "0\n1\n2\n").names == ("0", "1", "2")

    table = _read(tmp_path, "lane 1 0 0 255\nlane 2 0 0 254\n")
    assert (table.names, table.colors) == (("lane 1", "lane 2"), ((0, 0, 255), (0, 0, 254)))


def test_names_are_composed(tmp_path):
    table = _read(tmp_path, "caf\u0065\u0301\nroad\n")
    assert table.names == ("caf\u00e9", "road")


def test_labelmes_list(tmp_path):
    table = _read(tmp_path, "__ignore__\n_background_\ncar\n")
    assert (table.names, table.values) == (("_background_", "car"), {255: 255, 0: 0, 1: 1})


def test_the_column_called_index_counts_whatever_others_hold(tmp_path):
    rows = [{"name": "sky", "index": 4, "id": [2]}, {"name": "road", "index": 2, "id": None}]
    assert _read(tmp_path, json.dumps(rows), ending=".json").values == {4: 0, 2: 1}


def test_comments_in_text_files(tmp_path):
    text = "# of #010203\n#comment\n  # two\nsky # as in sky.txt\nroad #facade of a house\n"
    assert _read(tmp_path, text).names == ("sky", "road")


def test_color_of_three_equal_numbers(tmp_path):
    assert _read(tmp_path, "a 1 1 1\nb 2 2 2\n").colors == ((1, 1, 1), (2, 2, 2))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_a_byte_order_mark(tmp_path, encoding):
    names = ("sky", "stra\u00dfe")
    assert _read(tmp_path, "sky\r\nstra\u00dfe\r\n", encoding).names == names
    table = _read(tmp_path, "Pixel Value;Class\r\n1;sky\r\n0;stra\u00dfe\r\n", encoding, ".csv")
    assert (table.names, table.values) == (names, {1: 0, 0: 1})
    assert _read(tmp_path, '["sky", "stra\u00dfe"]', encoding, ".json").names == names


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
        ("#010203  # grey\nroad\n", "line 1: '#010203' has no name"),
        *(
            (f"sky\n{line}\n", f"line 2: {line!r} is nearly a line with a colour")
            for line in (
                "road #f80",
                "road,#ff8000ff  # orange",
                "#fff road",
                "road|128|64",
                "road 128 64 \uff11",
                "road 128 64",
                "road 128 64 128 255",
                "128 64 road",
                "road,128,64,12O",
                "road 128 6A 128",
                "road 0.5 0.25 0.5",
                "road 128 -64 128",
                "road 128 64 128 flat",
            )
        ),
    ],
)
def test_faults_in_text_files_are_named(tmp_path, text, message):
    assert message in _complaint(tmp_path, text, ".txt")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_classes(tmp_path / "missing.txt")
    (tmp_path / "binary.csv").write_bytes(b"\xff\x00\x80")
    with pytest.raises(UserError, match="binary.csv: no UTF-8 text .byte 0.; expected a list of"):
        read_classes(tmp_path / "binary.csv")
    (tmp_path / "data.yaml").write_text("names:\n  0: sky\n  1: road\n")
    with pytest.raises(UserError, match="data.yaml: a file .yaml, expected .txt with one class"):
        read_classes(tmp_path / "data.yaml")


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("a.txt", f"{'9' * 5000} road\n{'8' * 5000} sky", "line 1: a name of 5005 characters"),
        ("a.txt", "70000 road\n1 sky", "line 1: the index 70000, expected 0 to 65535"),
        ("a.txt", f"road {'9' * 5000} 0 0\nsky 1 2 3", "line 1: "),
        ("a.csv", f"name,index\nroad,{'9' * 5000}\nsky,1", "line 2: the index of 'road' is"),
        ("a.csv", f"name,r,g,b\nroad,{'9' * 5000},0,0\nsky,1,2,3", "line 2: the colour of 'road'"),
        ("a.json", "[" * 100_000, "more than 32 lists"),
        ("a.json", '[{"name": "a", "index": NaN}]', "0..index is nan, expected a finite number"),
        ("a.json", '[{"name": "a", "index": 1e99}, "b"]', "expected one for every|expected 0 to"),
        ("a.json", '[{"name": "a", "index": -1}, {"name": "b", "index": 1}]', "is -1, expected 0"),
        ("a.json", '[{"name": ["a"]}, "b"]', "no name"),
        ("a.json", '[{"name": null}, "b"]', "no name"),
        ("a.json", '[[1], "b"]', "expected a name or a row"),
        ("a.json", '{"categories": [{"name": "a", "id": [1]}, {"name": "b", "id": {}}]}', "index"),
        ("a.json", '{"classes": [{"title": 5}, {"title": {}}]}', "no name"),
        ("a.json", '[{"name": "a", "color": [[1], 2, 3]}, "b"]', "the colour of 'a'"),
        ("a.json", '[{"name": "a", "color": {"r": 1}}, "b"]', "the colour of 'a'"),
        ("a.json", '[{"name": "a", "r": true, "g": 1, "b": 1}, "b"]', "the colour of 'a'"),
        ("a.json", '["a\\u0000", "b"]', "NUL"),
    ],
)
def test_damaged_tables_are_refused(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_classes(path)


# The layouts of tables in published data sets: CamVid's class_dict.csv, one with spaces as in drone
# data sets, a spreadsheet's export with decimal commas, and one with additional columns.
CSV = {
    "camvid": "name,r,g,b\nSky,128,128,128\nRoad,128,64,128\n",
    "spaces": "name, r, g, b\nSky, 128, 128, 128\nRoad, 128, 64, 128\n",
    "semicolons": "\ufeffName;Red;Green;Blue\r\nSky;128;128;128\r\nRoad;128;64;128\r\n;;;\r\n",
    "tabs": "class\tr\tg\tb\nSky\t128\t128\t128\nRoad\t128\t64\t128",
    "bars": "class|r|g|b\nSky|128|128|128\nRoad|128|64|128",
    "spreadsheet": "sep=;\nclass;r;g;b\nSky;128;128;128\nRoad;128;64;128",
    "others": 'stuff,"Name",R,G,B,share\nyes,"Sky",128,128,128,0.25\n1,Road,128,64,128,0.5,\n',
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


@pytest.mark.parametrize(
    "column",
    [
        *("Pixel Value", "pixel_value", "ID", "class_id", "ClassIndex", "label id", "trainId"),
        *("Value", "cls_id", "segmentation id", "raster value", "palette index", "#", "Nr."),
    ],
)
def test_usual_names_of_the_index(tmp_path, column):
    table = _read(tmp_path, f"{column}, Class\n2, sky\n0, road\n1.0, sea\n", ending=".csv")
    assert (table.names, table.values) == (("sky", "road", "sea"), {2: 0, 0: 1, 1: 2})
    rows = [{column: 1, "label": "sky"}, {column: 0, "label": "road"}]
    assert table_from_rows(rows, "here").values == {1: 0, 0: 1}


def test_a_class_that_is_a_number_is_the_index(tmp_path):
    table = _read(tmp_path, "class,name\n1,sky\n0,road\n", ending=".csv")
    assert (table.names, table.values) == (("sky", "road"), {1: 0, 0: 1})


@pytest.mark.parametrize("numbers", [(1, 0), (-1, 0), ("1.0", "0.0"), (3, 3), ("0x1", "0X0")])
def test_an_unknown_column_of_numbers_is_no_row_number(tmp_path, numbers):
    text = "name,wert\n" + "".join(f"c{n},{each}\n" for n, each in enumerate(numbers))
    message = "the column 'wert' holds numbers; if they are the values in the masks, call it index"
    assert message in _complaint(tmp_path, text, ".csv")
    # Beside an index, or if they are no whole numbers, they are something else.
    text = text.replace("name", "index,name").replace("c0", "1,c0").replace("c1", "0,c1")
    assert _read(tmp_path, text, ending=".csv").values == {1: 0, 0: 1}
    text = "name,wert\nsky,0.5\nroad,1\n"
    assert _read(tmp_path, text, ending=".csv").values == {0: 0, 1: 1}


def test_two_columns_of_indices(tmp_path):
    text = "id,trainId,name\n7,0,road\n8,1,sky\n"
    assert "'road' has id 7 and trainid 0, expected one value" in _complaint(tmp_path, text, ".csv")
    table = _read(tmp_path, text.replace("id,", "index,", 1), ending=".csv")
    assert table.values == {7: 0, 8: 1}
    assert _read(tmp_path, "id,value,name\n7,7,road\n8,8,sky\n", ending=".csv").values[7] == 0


def test_colors_as_texts(tmp_path):
    for text in (
        "name,color\nsky,#0000ff\ncar,#010203\n",
        "name;rgb\nsky;0,0,255\ncar;(1, 2, 3)\n",
    ):
        table = _read(tmp_path, text, ending=".csv")
        assert table.colors == ((0, 0, 255), (1, 2, 3))


def test_files_of_annotation_tools(tmp_path):
    supervisely = {"classes": [{"title": "car", "color": "#010203", "id": 99}], "tags": []}
    assert _read(tmp_path, json.dumps(supervisely), ending=".json") == ClassTable(
        ("background", "car"), ((0, 0, 0), (1, 2, 3)), {0: 0, 1: 1}, {(0, 0, 0): 0, (1, 2, 3): 1}
    )
    coco = {"images": [], "categories": [{"id": 3, "name": "car"}, {"id": 1, "name": "sky"}]}
    table = _read(tmp_path, json.dumps(coco), ending=".json")
    assert (table.names, table.values) == (("background", "car", "sky"), {0: 0, 3: 1, 1: 2})
    cvat = [
        {"name": "sky", "id": 70001, "color": "#0000ff", "attributes": []},
        {"name": "car", "id": 70002, "color": "#010203", "attributes": []},
    ]
    table = _read(tmp_path, json.dumps(cvat), ending=".json")
    assert (table.values, table.colors) == ({0: 0, 1: 1}, ((0, 0, 255), (1, 2, 3)))


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
        ('["sky", {"name": "road", "id": [1], "value": 1}]', "row 2: the index of 'road' is [1], "),
        ('["sky", {"name": "road", "id": 1.5}]', "row 2: the index of 'road' is 1.5, expected"),
        ('[{"name": "sky", "color": "#01020"}]', "row 1: the colour of 'sky' is '#01020', expe"),
        ('[{"name": "sky", "index": 1}, "road"]', "row 2: 'road' has no index, expected one for"),
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
