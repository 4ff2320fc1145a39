"""Files of classes as users, publishers and annotation tools write them: text, CSV or JSON."""

import csv
import pathlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rnnseg import schemas
from rnnseg.data.classes import (
    IGNORE,
    MOST_VALUE,
    NAME_COLUMNS,
    ClassTable,
    Row,
    is_column,
    make_table,
    parse_color,
    plain_key,
    table_from_rows,
)
from rnnseg.errors import UserError

BACKGROUND = ("background", "_background_", "__background__", "bg")
"""The names, in lower case, of the class that annotation tools leave blank."""

_GAP = r"[\s,;:=|]+"
# A colour such as #ff8000 begins no comment: at the end of a line, or at its beginning with a name.
_LAST = r"[0-9a-fA-F]{6}\s*(?:#.*)?$"
_COMMENT = re.compile(rf"(?:^\s*#(?!{_LAST}|[0-9a-fA-F]{{6}}{_GAP}[^\s#])|\s#(?!{_LAST})).*")
_COLOR = r"[(\[]?\s*(?P<red>[0-9]+)[\s,;|]+(?P<green>[0-9]+)[\s,;|]+(?P<blue>[0-9]+)\s*[)\]]?"
_HEX = r"(?P<hex>#[0-9a-fA-F]{6})"
_NAME_FIRST = re.compile(rf"(?P<name>.*?){_GAP}(?:{_COLOR}|{_HEX})[\s,;|]*")
_COLOR_FIRST = re.compile(rf"(?:{_COLOR}|{_HEX}){_GAP}(?P<name>.*)")
_ONLY_COLOR = re.compile(rf"(?:{_COLOR}|{_HEX})[\s,;|]*")
# Nor does one in another notation, such as #f80 and #ff8000ff. Words such as #bad are comments.
_ODD_HEX = r"#(?=[0-9a-fA-F]*[0-9]|[fF]+\b)(?:[0-9a-fA-F]{3,5}|[0-9a-fA-F]{7,8})"
_NEARLY_HEX = re.compile(rf"\s*{_ODD_HEX}{_GAP}[^\s#].*|.*[\s,;:=|]{_ODD_HEX}[\s,;|]*(?:\s#.*)?")
# The largest number that may end a name before a colour, as in "lane 2 0 0 255". A larger one is
# taken for red, and the last number for an opacity.
_MOST_IN_NAME = 31
# CVAT's labelmap.txt: label:color_rgb:parts:actions, of which all but the first may be empty.
_CVAT = re.compile(r"(?P<name>[^:]+):\s*(?P<color>[^:]*?)\s*:[^:]*:[^:]*")
_INDEX_FIRST = re.compile(rf"(?P<index>[0-9]{{1,18}}){_GAP}(?P<rest>[^\s\d(\[].*)")
_INDEX_LAST = re.compile(rf"(?P<rest>.*?[^\s\d,;:=|]){_GAP}(?P<index>[0-9]{{1,18}})")
_NUMBER = re.compile(r"[-+.]?\d\w*(\.\d*)?")
_DELIMITERS = ",;\t|"
# Some spreadsheets write the delimiter into a first line of its own.
_SEP = re.compile(rf"sep=([{_DELIMITERS}])\s*")
# Files that would be read as text, with the marks of their format in the names.
_OTHER_FORMATS = (".yaml", ".yml", ".xml", ".toml", ".pbtxt", ".html", ".py", ".md")


def read_classes(path: pathlib.Path) -> ClassTable:
    """Reads a table of classes.

    Args:
      path: the file. Its ending tells the format:

        - `.csv`, `.tsv`: a header line, then one row per line as in `table_from_rows`, separated by
          commas, semicolons, tabs or `|`; other columns are left out.
        - `.json`: a list of such rows, or of names; or a file of COCO (its `categories`), of
          Supervisely (`meta.json`), or of others with a list of `labels` or `classes`.
        - any other: a text file with one class per line, in the order of the labels: `name`,
          `name R G B` or `R G B name`, separated by spaces, tabs or commas; `#` starts a comment.
          Or CVAT's `labelmap.txt`, lines `INDEX name`, or a header line as in `.csv`.

    Returns:
      The table.

    Raises:
      UserError: the file cannot be read or is of another format, a text file has a name twice or a
        line that is nearly one with a colour, or an error of `table_from_rows`.
    """
    text = schemas.read_text(path, "expected a list of classes in UTF-8")
    ending = path.suffix.lower()
    if ending in _OTHER_FORMATS:
        raise UserError(
            f"{path}: a file {ending}, expected .txt with one class per line, .csv or .json"
        )
    if ending == ".json":
        return table_from_rows(_json_rows(text, path), str(path))
    if ending in (".csv", ".tsv"):
        return _read_csv(text.splitlines(), path)
    return _read_text(text, path)


# --- text ---


def _read_text(text: str, path: pathlib.Path) -> ClassTable:
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{path}, line {number}"
        if _NEARLY_HEX.fullmatch(line):
            raise UserError(
                f"{where}: {line.strip()!r} is nearly a line with a colour, expected a name and "
                "#rrggbb; if it is a comment, write '# …'"
            )
        if stripped := _COMMENT.sub("", line).strip():
            lines.append((where, stripped))
    header = re.split(r"[\s,;]+", lines[0][1]) if lines else []
    if len(header) > 1 and all(map(is_column, header)):
        return _read_csv(text.splitlines(), path, comments=True)
    return make_table(_text_rows(lines), str(path))


def _text_rows(lines: Sequence[tuple[str, str]]) -> Iterator[Row]:
    names = set()
    indices, lines = _split_indices(lines)
    for index, (where, line) in zip(indices, lines, strict=True):
        row = _parse_line(line, where)._replace(index=index)
        if index is not None and index > MOST_VALUE:
            raise UserError(f"{where}: the index {index}, expected 0 to {MOST_VALUE}")
        # Without indices beside the names, this is a slip rather than a wish to merge classes.
        if index is None and row.name in names and row.name.lower() != IGNORE:
            raise UserError(f"{row.where}: the class {row.name!r} is listed already")
        names.add(row.name)
        yield row


def _split_indices(
    lines: Sequence[tuple[str, str]],
) -> tuple[list[int | None], list[tuple[str, str]]]:
    """Separates the indices of lines `INDEX name` or `name INDEX`, if all lines have one."""
    for form in (_INDEX_FIRST, _INDEX_LAST):
        matches = [form.fullmatch(line) for _, line in lines]
        found = [match for match in matches if match]
        if not found or len(found) < len(matches):
            continue
        indices: list[int | None] = [int(match["index"]) for match in found]
        rests = [match["rest"].rstrip() for match in found]
        # Otherwise the numbers are parts of names, as in lane 1, lane 2.
        if form is _INDEX_FIRST or (len(set(rests)) == len(rests) == len(set(indices))):
            return indices, [(where, rest) for (where, _), rest in zip(lines, rests, strict=True)]
    return [None] * len(lines), list(lines)


def _parse_line(line: str, where: str) -> Row:
    if match := _CVAT.fullmatch(line):
        name, color = match["name"].strip(), match["color"]
        return Row(where, _normal(name), None, parse_color(color, name, where) if color else None)
    matches = [form.fullmatch(line) for form in (_NAME_FIRST, _COLOR_FIRST)]
    if all(matches) or _ONLY_COLOR.fullmatch(line):
        raise UserError(f"{where}: {line!r} has no name apart from its colour")
    match = matches[0] or matches[1]
    if match is not None and _is_name(match["name"]):
        color = match.groupdict().get("hex") or match.group("red", "green", "blue")
        return Row(where, _normal(match["name"]), None, parse_color(color, match["name"], where))
    if _has_numbers(line):
        raise UserError(
            f"{where}: {line!r} is nearly a line with a colour, expected a name and three numbers "
            "of 0 to 255; if it is a name, write the classes as .csv or .json"
        )
    return Row(where, _normal(line))


def _is_name(text: str) -> bool:
    """Returns True unless the text beside a colour seems to hold a part of it."""
    last = re.search(r"(\d+)\s*$", text)
    small = last is None or (len(last[1]) < 9 and int(last[1]) <= _MOST_IN_NAME)
    return not _has_numbers(text) and small


def _has_numbers(text: str) -> bool:
    """Returns True if two of the first or of the last three words are numbers, or nearly so."""
    words = [word for word in re.split(r"[\s,;:=|()\[\]{}\"']+", text) if word]
    numeric = [_NUMBER.fullmatch(word) is not None for word in words]
    return sum(numeric[:3]) > 1 or sum(numeric[-3:]) > 1


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip())


# --- CSV ---


def _read_csv(lines: Sequence[str], path: pathlib.Path, comments: bool = False) -> ClassTable:
    rows = list(_csv_rows(lines, path, comments))
    return table_from_rows([row for _, row in rows], str(path), [where for where, _ in rows])


def _csv_rows(
    lines: Sequence[str], path: pathlib.Path, comments: bool
) -> Iterator[tuple[str, dict[str, str]]]:
    if comments:
        lines = [_COMMENT.sub("", line) for line in lines]
    header_line = next(filter(str.strip, lines), "")
    if match := _SEP.fullmatch(header_line):
        delimiter, lines = match[1], ["" if line == header_line else line for line in lines]
    else:
        delimiter = max(_DELIMITERS, key=header_line.count)
    if comments and delimiter not in header_line:
        lines, delimiter = [" ".join(line.split()) for line in lines], " "
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    try:
        header = next((fields for fields in reader if any(map(str.strip, fields))), [])
        columns = [field.strip().lower() for field in header]
        _check_header(columns, f"{path}, line {max(reader.line_num, 1)}")
        for fields in reader:
            where = f"{path}, line {reader.line_num}"
            while len(fields) > len(columns) and not fields[-1].strip():
                fields.pop()  # spreadsheets append empty ones
            if not any(map(str.strip, fields)):
                continue
            if len(fields) != len(columns):
                raise UserError(
                    f"{where}: {len(fields)} fields, expected {len(columns)} as in the first line: "
                    f"{', '.join(columns)}"
                )
            yield where, dict(zip(columns, fields, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not valid CSV ({error})") from error


def _check_header(columns: Sequence[str], where: str) -> None:
    if not any(plain_key(column) in NAME_COLUMNS for column in columns):
        raise UserError(
            f"{where}: no column is called name among {', '.join(columns) or '(none)'}; "
            "expected a header line such as name,r,g,b"
        )
    keys = [plain_key(column) for column in columns if column]
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise UserError(f"{where}: two columns are called {twice[0]}; expected one, rename others")


# --- JSON ---


def _json_rows(text: str, path: pathlib.Path) -> list[Mapping[str, Any]]:
    content = schemas.parse_json(text, str(path), "expected a list of classes")
    return rows_of_json(content, str(path))


def rows_of_json(content: Any, where: str) -> list[Mapping[str, Any]]:
    """Returns the rows of a list of classes, or of the file of an annotation tool.

    The tools leave the background out, which is added where no class is called so.

    Args:
      content: what the file holds.
      where: the file, for messages.

    Raises:
      UserError: it is none of these.
    """
    if isinstance(content, Mapping):
        for key, to_rows in (
            ("categories", _coco_rows),
            ("classes", _supervisely_rows),
            ("labels", list),
        ):
            listed = content.get(key)
            if isinstance(listed, list) and all(isinstance(each, Mapping) for each in listed):
                return _without_database_ids(to_rows(listed))
    if not isinstance(content, list):
        raise UserError(
            f"{where}: holds a {type(content).__name__}, expected a list of names, or of rows such "
            'as {"name": "road", "index": 7, "color": [128, 64, 128]}; or the file of COCO or '
            "Supervisely"
        )
    return _without_database_ids(
        [{"name": row} if isinstance(row, str) else row for row in content]
    )


def _coco_rows(categories: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    rows = [{"name": each.get("name"), "index": each.get("id")} for each in categories]
    return _with_background(rows)


def _supervisely_rows(classes: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    if not all("title" in each for each in classes):
        return list(classes)
    rows = [
        {"name": each["title"], "index": number, "color": each.get("color")}
        for number, each in enumerate(classes, 1)
    ]
    return _with_background(rows, color=True)


def _with_background(rows: list[dict[str, Any]], color: bool = False) -> list[dict[str, Any]]:
    """Puts a row for the background in front: index 0, or the first free one, and black."""
    if any(str(row["name"]).strip().lower() in BACKGROUND for row in rows):
        return rows
    taken = [row["index"] for row in rows]
    free = next(index for index in range(len(rows) + 1) if index not in taken)
    black = {"color": [0, 0, 0]} if color else {}
    return [{"name": BACKGROUND[0], "index": free, **black}, *rows]


def _without_database_ids(rows: Sequence[Any]) -> list[Any]:
    """Drops the ids of CVAT's labels, which number them in its database."""
    return [
        {key: value for key, value in row.items() if key != "id"}
        if isinstance(row, Mapping) and "attributes" in row
        else row
        for row in rows
    ]
