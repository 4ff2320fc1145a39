"""The reading and checking of small files."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from rnnseg import schemas
from rnnseg.errors import UserError


@dataclasses.dataclass(frozen=True)
class Row:
    """A schema in another one."""

    miou: schemas.Fraction
    scale: schemas.Scale = 1.0


@dataclasses.dataclass(frozen=True)
class Table:
    """A schema with every kind of field."""

    name: schemas.Text
    count: schemas.Count
    rows: tuple[Row, ...] = ()
    size: tuple[schemas.Side, schemas.Side] | None = None
    times: Mapping[schemas.Iterations, schemas.Milliseconds] = dataclasses.field(
        default_factory=dict
    )
    flip: bool = False


def read(tmp_path, content, schema=Table, **options):
    path = tmp_path / "table.json"
    text = content if isinstance(content, (str, bytes)) else json.dumps(content)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return schemas.read_json(path, schema, "make it anew", **options)


def test_what_is_right_is_read(tmp_path):
    content = {
        "name": "höhe",
        "count": 3,
        "rows": [{"miou": 1}, {"miou": 0.5, "scale": 2}],
        "size": [4, 5],
        "times": {"12": 3.5},
        "of_a_later_version": {},
    }
    expected = Table("höhe", 3, (Row(1.0), Row(0.5, 2.0)), (4, 5), {12: 3.5})
    assert read(tmp_path, content) == expected
    assert read(tmp_path, b"\xef\xbb\xbf" + json.dumps(content).encode()) == expected
    assert read(tmp_path, content, Mapping[str, Any]) == content


WRONG = {
    "missing": ({"count": 3}, "name is missing"),
    "null": ({"name": None, "count": 3}, "name is null, expected a text"),
    "number for text": ({"name": 5, "count": 3}, "name is 5, expected a text"),
    "empty text": ({"name": "", "count": 3}, 'name is "", expected 1 or more characters'),
    "text for number": ({"name": "a", "count": "3"}, 'count is "3", expected a whole number'),
    "fraction": ({"name": "a", "count": 3.5}, "count is 3.5, expected a whole number"),
    "truth": ({"name": "a", "count": True}, "count is true, expected a whole number"),
    "too small": ({"name": "a", "count": 0}, "count is 0, expected at least 1"),
    "too large": ({"name": "a", "count": 1 << 60}, f"count is {1 << 60}, expected at most"),
    "list": ([1], r"the content is \[1\], expected an object"),
    "text": ('"a"', 'the content is "a", expected an object'),
    "rows": ({"name": "a", "count": 3, "rows": {}}, r"rows is \{\}, expected a list"),
    "row": ({"name": "a", "count": 3, "rows": [5]}, r"rows\[0\] is 5, expected an object"),
    "in a row": (
        {"name": "a", "count": 3, "rows": [{"miou": 0.5}, {"miou": 50}]},
        r"rows\[1\].miou is 50, expected at most 1",
    ),
    "not above": (
        {"name": "a", "count": 3, "rows": [{"miou": 0.5, "scale": 0}]},
        r"rows\[0\].scale is 0, expected more than 0",
    ),
    "short": ({"name": "a", "count": 3, "size": [4]}, r"size\[1\] is missing"),
    "long": ({"name": "a", "count": 3, "size": [4, 5, 6]}, "size is .*, expected .* 2 elements"),
    "key": (
        {"name": "a", "count": 3, "times": {"x": 1}},
        'times has the key "x", expected a whole number',
    ),
    "small key": (
        {"name": "a", "count": 3, "times": {"0": 1}},
        'times has the key "0", expected at least 1',
    ),
    "number for truth": ({"name": "a", "count": 3, "flip": 1}, "flip is 1, expected true or false"),
    "NaN": ('{"name": "a", "count": NaN}', "count is nan, expected a finite number"),
    "infinite": ('{"rows": [{"miou": 1e999}]}', r"rows\[0\].miou is inf, expected a finite number"),
    "huge": (f'{{"count": {10**400}}}', "count is 1000.*…0+, expected a number of at most 63 bits"),
    "huger": (f'{{"count": {"9" * 5000}}}', "not valid JSON .*digits"),
    "half a character": (
        r'{"name": "\ud800", "count": 3}',
        "name is .*ud800.*, with NUL or half a character",
    ),
    "escaped NUL": (r'{"name": "a\u0000"}', "name is .*, with NUL or half a character"),
    "deep": ("[" * 33 + "]" * 33, "more than 32 lists and objects in one another"),
    "very deep": ("[" * 200_000, "more than 32 lists and objects in one another"),
    "empty": ("", r"not valid JSON \(it is empty\)"),
    "cut": ('{"name": "a", "cou', "not valid JSON .*char 14"),
    "other text": ("name: a", "not valid JSON"),
    "twice": ('{"name": "a", "name": "b"}', "the key 'name' is there twice"),
    "bytes": (b'{"name": "\xe9"}', r"no UTF-8 text \(byte 10\)"),
    "NUL": (b'{"name": "\x00"}', "a NUL character"),
    "large": (b" " * (schemas.MOST_BYTES + 1), "more than 16777216 bytes"),
}


@pytest.mark.parametrize("content, message", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(tmp_path, content, message):
    with pytest.raises(UserError, match=f"table.json: .*({message})") as caught:
        read(tmp_path, content)
    text = str(caught.value)
    assert text.endswith("; make it anew") and "\n" not in text
    assert len(text) < len(str(tmp_path)) + 200


@pytest.mark.parametrize("name", ["", "nothing.json", "nul\0.json", "folder"])
def test_what_is_no_file_is_named(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"cannot be read \(.+\); make it anew"):
        schemas.read_json(tmp_path / name, Table, "make it anew")


def test_earlier_forms_are_converted_and_judged_by_the_schema(tmp_path):
    def convert(content):
        return {"name": content["title"], "count": len(content["members"])}

    converted = read(tmp_path, {"title": "a", "members": [1, 2]}, convert=convert)
    assert converted == Table("a", 2)
    for wrong in ({}, [], "5", {"title": "a", "members": 5}):
        with pytest.raises(UserError, match="table.json: (name is missing|the content is)"):
            read(tmp_path, wrong, convert=convert)


def test_the_library_is_loaded_when_a_file_is_read():
    program = "import sys, rnnseg.cli.app, rnnseg.schemas; print('pydantic' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == "False", found.stderr
