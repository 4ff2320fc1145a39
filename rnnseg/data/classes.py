"""Tables of classes as users and publishers write them: text, CSV or JSON."""

import csv
import dataclasses
import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError
from rnnseg.palette import default_colors

Color = tuple[int, int, int]
"""Red, green and blue, 0-255."""

IGNORE = "ignore"
"""The name, in upper or lower case, that stands for no class in place of a class name."""

MOST_VALUE = (1 << 16) - 1
"""The largest value of an index mask."""

# Labels have 8 bits, and one value marks ignored pixels.
_MOST_CLASSES = 255

_COMMENT = re.compile(r"(^|\s)#.*")
_GAP = r"[\s,;]+"
_COLOR = rf"(?P<red>\d+){_GAP}(?P<green>\d+){_GAP}(?P<blue>\d+)"
_NAME_FIRST = re.compile(rf"(?P<name>.*?){_GAP}{_COLOR}")
_COLOR_FIRST = re.compile(rf"{_COLOR}{_GAP}(?P<name>.*)")

# The accepted names of columns. If a table has several of them, the first one listed here counts.
_NAME_COLUMNS = ("name", "class")
_INDEX_COLUMNS = ("index", "idx", "id", "value", "label")
_CHANNEL_COLUMNS = (("r", "red"), ("g", "green"), ("b", "blue"))


@dataclasses.dataclass(frozen=True)
class ClassTable:
    """The names and colours of the classes, and the values that stand for them in masks.

    Attributes:
      names: one name per class, 2 to 255; the index of a name is the label in the records.
      colors: one colour per class to draw it with; None if the data set brings no colours.
      values: maps values of index masks, 0 to 65535, to class indices or `IGNORE_LABEL`.
      color_values: maps colours of colour masks to class indices or `IGNORE_LABEL`; None if there
        are no colour masks.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...] | None
    values: Mapping[int, int]
    color_values: Mapping[Color, int] | None

    @property
    def display_colors(self) -> tuple[Color, ...]:
        """One colour per class: `colors`, or the default ones."""
        return self.colors or default_colors(len(self.names))


class _Row(NamedTuple):
    where: str  # the file and the line, for messages
    name: str
    index: int | None
    color: Color | None


def read_classes(path: pathlib.Path) -> ClassTable:
    """Reads a table of classes.

    Args:
      path: the file. Its ending tells the format:

        - `.csv`, `.tsv`: a header line, then one row per line as in `table_from_rows`, separated by
          commas, semicolons or tabs; other columns are left out.
        - `.json`: a list of such rows, or of names.
        - any other: a text file with one class per line, in the order of the labels: `name`,
          `name R G B` or `R G B name`, separated by spaces, tabs or commas; `#` starts a comment.

    Returns:
      The table.

    Raises:
      UserError: the file cannot be read, a text file has a name twice, or an error of
        `table_from_rows`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as the list of classes ({error})") from error
    ending = path.suffix.lower()
    if ending == ".json":
        return table_from_rows(_json_rows(text, path), str(path))
    if ending in (".csv", ".tsv"):
        return _make_table(_csv_rows(text, path), str(path))
    return _make_table(_text_rows(text, path), str(path))


def table_from_rows(rows: Sequence[Mapping[str, Any]], where: str) -> ClassTable:
    """Makes a table from rows as in CSV and JSON files.

    Rows with the same name are one class; the first of them sets its label and colour. Rows named
    `ignore` stand for no class.

    Args:
      rows: mappings with a `name` (or `class`) and, optionally, an `index` and a colour. The index
        is the value in index masks; it may be called `id`, `value` or `label`, and defaults to the
        row's number, counted from 0. The colour is `color`, a list of three numbers, or `r`, `g`
        and `b` (or `red`, …). Other keys are left out. Keys may be in upper or lower case.
      where: the name of the table in messages.

    Returns:
      The table.

    Raises:
      UserError: a row has no name or no valid index or colour, two classes share an index or a
        colour, some classes have colours and others have none, or there are fewer than 2 or more
        than 255 classes.
    """
    parsed = (_parse_row(row, f"{where}, row {number}") for number, row in enumerate(rows, 1))
    return _make_table(parsed, where)


def _make_table(rows: Iterable[_Row], where: str) -> ClassTable:
    names, colors, values, color_values = [], [], {}, {}
    for number, row in enumerate(rows):
        if row.name.lower() == IGNORE:
            label = IGNORE_LABEL
        elif row.name in names:
            label = names.index(row.name)
        else:
            label = len(names)
            names.append(row.name)
            colors.append(row.color)
        index = number if row.index is None else row.index
        for kind, key, labels in (("index", index, values), ("colour", row.color, color_values)):
            if key is None:
                continue
            other = labels.setdefault(key, label)
            if other != label:
                name = IGNORE if other == IGNORE_LABEL else names[other]
                raise UserError(
                    f"{row.where}: {row.name!r} has the same {kind} as {name!r}, {key}; expected "
                    "another one"
                )
    if not 2 <= len(names) <= _MOST_CLASSES:
        raise UserError(
            f"{where}: {len(names)} classes, expected 2 to {_MOST_CLASSES} (a background is "
            "a class too)"
        )
    if set(color_values.values()) <= {IGNORE_LABEL}:
        return ClassTable(tuple(names), None, values, None)
    if None in colors:
        raise UserError(
            f"{where}: the class {names[colors.index(None)]!r} has no colour, expected one for "
            "every class or for none"
        )
    return ClassTable(tuple(names), tuple(colors), values, color_values)


def _text_rows(text: str, path: pathlib.Path) -> Iterator[_Row]:
    names = set()
    for number, line in enumerate(text.splitlines(), 1):
        line = _COMMENT.sub("", line).strip()
        if not line:
            continue
        row = _parse_line(line, f"{path}, line {number}")
        # Without indices beside the names, this is a slip rather than a wish to merge classes.
        if row.name in names and row.name.lower() != IGNORE:
            raise UserError(f"{row.where}: the class {row.name!r} is listed already")
        names.add(row.name)
        yield row


def _parse_line(line: str, where: str) -> _Row:
    matches = [form.fullmatch(line) for form in (_NAME_FIRST, _COLOR_FIRST)]
    if all(matches) or re.fullmatch(_COLOR, line):
        raise UserError(f"{where}: {line!r} has no name apart from the numbers of its colour")
    match = matches[0] or matches[1]
    if match is None:
        return _Row(where, line, None, None)
    color = _parse_color(match.group("red", "green", "blue"), match["name"], where)
    return _Row(where, match["name"], None, color)


def _csv_rows(text: str, path: pathlib.Path) -> Iterator[_Row]:
    header_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=header_line.count)
    reader = csv.reader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
    try:
        columns = [field.strip().lower() for field in next(reader, [])]
        if not set(columns) & set(_NAME_COLUMNS):
            raise UserError(
                f"{path}, line 1: no column is called name among {', '.join(columns) or '(none)'}; "
                "expected a header line such as name,r,g,b"
            )
        for fields in reader:
            where = f"{path}, line {reader.line_num}"
            while len(fields) > len(columns) and not fields[-1].strip():
                fields.pop()  # spreadsheets append empty ones
            if not any(field.strip() for field in fields):
                continue
            if len(fields) != len(columns):
                raise UserError(
                    f"{where}: {len(fields)} fields, expected {len(columns)} as in the first line: "
                    f"{', '.join(columns)}"
                )
            row = dict(zip(columns, fields, strict=True))
            row.pop("color", None)  # has no common notation in CSV files
            yield _parse_row(row, where)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not valid CSV ({error})") from error


def _json_rows(text: str, path: pathlib.Path) -> list[Mapping[str, Any]]:
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(rows, list):
        raise UserError(
            f"{path}: holds a {type(rows).__name__}, expected a list of names, or of rows such as "
            '{"name": "road", "index": 7, "color": [128, 64, 128]}'
        )
    return [{"name": row} if isinstance(row, str) else row for row in rows]


def _parse_row(row: Mapping[str, Any], where: str) -> _Row:
    if not isinstance(row, Mapping):
        raise UserError(f"{where}: {row!r}, expected a name or a row with one")
    row = {key.lower(): value for key, value in row.items()}
    name = _pick(row, _NAME_COLUMNS)
    if not isinstance(name, str) or not name.strip():
        raise UserError(f"{where}: no name in {', '.join(row) or 'the row'}, expected a text")
    name = name.strip()
    index = _pick(row, _INDEX_COLUMNS)
    if index is not None:
        index = _parse_number(index)
        if not isinstance(index, int) or not 0 <= index <= MOST_VALUE:
            raise UserError(
                f"{where}: the index of {name!r} is {index!r}, expected 0 to {MOST_VALUE}"
            )
    channels = [_pick(row, columns) for columns in _CHANNEL_COLUMNS]
    color = row.get("color")
    if color is None and channels != [None] * 3:
        color = channels
    return _Row(where, name, index, None if color is None else _parse_color(color, name, where))


def _parse_color(values: Any, name: str, where: str) -> Color:
    listed = isinstance(values, Sequence) and not isinstance(values, str)
    color = tuple(_parse_number(value) for value in values) if listed else values
    if (
        not listed
        or len(color) != 3
        or not all(isinstance(v, int) and 0 <= v <= 255 for v in color)
    ):
        raise UserError(
            f"{where}: the colour of {name!r} is {color!r}, expected three numbers of 0 to 255"
        )
    return color


def _parse_number(value: Any) -> Any:
    """Returns the number that a text of a CSV file stands for; any other value unchanged."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return str(value) if isinstance(value, bool) else value  # to Python, a bool is a number


def _pick(row: Mapping[str, Any], columns: Sequence[str]) -> Any:
    """Returns the first value in these columns that is not empty; None if all are empty."""
    return next((row[column] for column in columns if row.get(column) not in (None, "")), None)
