"""Tables of classes: their names and colours, and the values that stand for them in masks."""

import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
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

_LONGEST_NAME = 1000

# The name that labelme gives to what stands for no class. It takes no index.
_LABELME_IGNORE = "__ignore__"

# If a table has several of them, the first one listed here counts.
NAME_COLUMNS = ("name", "classname", "labelname", "categoryname", "class", "label", "category")
"""The accepted names of columns of names, as `plain_key` makes them."""

# Names of columns of indices, as `plain_key` makes them, such as id, classid, pixelvalue, trainids.
_INDEX = re.compile(
    "(class|cls|label|lbl|category|pixel|mask|gr[ae]y|train|seg|segment|segmentation|semantic|object"
    "|palette|raster|gt)?(id|index|idx|value|number|level|code)s?"
    "|(class|label|category)?no|gr[ae]y(scale)?|pixel|mask|num|nr|val|key|#"
)
# Of these, texts are something else.
_LOOSE_COLUMNS = {"number", "num", "no", "nr", "code", "key", "level", "pixel", "mask", "#"}
_CHANNEL_COLUMNS = (("r", "red"), ("g", "green"), ("b", "blue"))
_COLOR_COLUMNS = ("color", "colour", "rgb", "hex", "colorrgb", "colourrgb", "hexcolor", "hexcolour")
_OTHER_COLUMNS = {"a", "alpha"}
_HEX = re.compile(r"#?([0-9a-fA-F]{6})")
_COLOR_TEXT = re.compile(r"[(\[]?\s*([0-9]+)[\s,;]+([0-9]+)[\s,;]+([0-9]+)\s*[)\]]?")


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


class Row(NamedTuple):
    """One row of a table.

    Attributes:
      where: the file and the line, for messages.
      name: the name of the class, or `ignore`.
      index: the value in index masks; None for the number of the row.
      color: the colour in colour masks; None if there is none.
    """

    where: str
    name: str
    index: int | None = None  # type: ignore[assignment]  # a tuple has a method of that name
    color: Color | None = None


def table_from_rows(
    rows: Sequence[Mapping[str, Any]], where: str, places: Sequence[str] | None = None
) -> ClassTable:
    """Makes a table from rows as in CSV and JSON files.

    Rows with the same name are one class; the first of them sets its label and colour. Rows named
    `ignore` stand for no class.

    Args:
      rows: mappings with a `name` (or `class`, `label`, …) and, optionally, an `index` and a
        colour. The index is the value in index masks; it may be called `id`, `value`,
        `Pixel Value`, … and defaults to the row's number, counted from 0. The colour is `color`, a
        list of three numbers or a text such as `#ff8000`, or `r`, `g` and `b` (or `red`, …). Other
        keys are left out. Upper and lower case, spaces and signs in keys do not matter.
      where: the name of the table in messages.
      places: the name of every row in messages; None for its number.

    Returns:
      The table.

    Raises:
      UserError: a row has no name or no valid index or colour, two classes share an index or a
        colour, some classes have colours and others have none, a column of numbers may be the
        index but is not called so, or there are fewer than 2 or more than 255 classes.
    """
    places = places or [f"{where}, row {number}" for number in range(1, len(rows) + 1)]
    rows = [_plain_keys(row, place) for row, place in zip(rows, places, strict=True)]
    names, indices = _find_columns(rows, where)
    parsed = [
        _parse_row(row, names, indices, place) for row, place in zip(rows, places, strict=True)
    ]
    without = [row for row in parsed if row.index is None and row.name.lower() != IGNORE]
    if any(row.index is not None and row.name.lower() != IGNORE for row in parsed) and without:
        raise UserError(
            f"{without[0].where}: {without[0].name!r} has no index, expected one for every class "
            "or for none"
        )
    return make_table(parsed, where)


def make_table(rows: Iterable[Row], where: str) -> ClassTable:
    """Makes a table from parsed rows, as `table_from_rows` does."""
    names: list[str] = []
    colors: list[Color | None] = []
    values: dict[int, int] = {}
    color_values: dict[Color, int] = {}
    number = 0
    for row in rows:
        if row.name == _LABELME_IGNORE:
            values.setdefault(IGNORE_LABEL, IGNORE_LABEL)
            continue
        if len(row.name) > _LONGEST_NAME:
            raise UserError(
                f"{row.where}: a name of {len(row.name)} characters, expected at most "
                f"{_LONGEST_NAME}"
            )
        if row.name.lower() == IGNORE:
            label = IGNORE_LABEL
        elif row.name in names:
            label = names.index(row.name)
        else:
            label = len(names)
            names.append(row.name)
            colors.append(row.color)
        index = number if row.index is None else row.index
        number += 1
        kinds: tuple[tuple[str, Any, dict[Any, int]], ...] = (
            ("index", index, values),
            ("colour", row.color, color_values),
        )
        for kind, key, labels in kinds:
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
    known = tuple(color for color in colors if color is not None)
    return ClassTable(tuple(names), known, values, color_values)


def _plain_keys(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise UserError(f"{where}: {row!r}, expected a name or a row with one")
    return {plain_key(key): value for key, value in row.items()}


def plain_key(key: str) -> str:
    """Returns the name of a column in lower case and without spaces and signs."""
    return re.sub(r"[\W_]+", "", str(key).lower()) or str(key).strip()


def is_column(key: str) -> bool:
    """Returns True if a column of this name has a meaning in a table of classes."""
    key = plain_key(key)
    return (
        key in NAME_COLUMNS
        or _INDEX.fullmatch(key) is not None
        or key in _COLOR_COLUMNS
        or any(key in names for names in _CHANNEL_COLUMNS)
    )


def _find_columns(
    rows: Sequence[Mapping[str, Any]], where: str
) -> tuple[Sequence[str], Sequence[str]]:
    """Returns the columns of names and those of indices.

    Raises:
      UserError: nothing says whether a column of numbers is the index.
    """
    columns = dict.fromkeys(key for row in rows for key in row)
    filled = {key: [row[key] for row in rows if row.get(key) not in (None, "")] for key in columns}
    numeric = {key for key, values in filled.items() if values and all(map(_is_whole, values))}
    names = [key for key in NAME_COLUMNS if key == "name" or key not in numeric]
    indices = [
        key
        for key, values in filled.items()
        if (_INDEX.fullmatch(key) and (key not in _LOOSE_COLUMNS or any(map(_is_whole, values))))
        or (key in NAME_COLUMNS and key not in names)
    ]
    known = {key for channel in _CHANNEL_COLUMNS for key in channel}
    known |= {"name", *_COLOR_COLUMNS, *_OTHER_COLUMNS}
    unknown = [key for key in filled if key in numeric and key not in known]
    if unknown and not any(filled[key] for key in indices):
        raise UserError(
            f"{where}: the column {unknown[0]!r} holds numbers; if they are the values in the "
            "masks, call it index; otherwise remove it"
        )
    return names, indices


def _parse_row(
    row: Mapping[str, Any], names: Sequence[str], indices: Sequence[str], where: str
) -> Row:
    name = _pick(row, names)
    if not isinstance(name, str) or not name.strip():
        raise UserError(f"{where}: no name in {', '.join(row) or 'the row'}, expected a text")
    name = unicodedata.normalize("NFC", name.strip())
    channels = [_pick(row, columns) for columns in _CHANNEL_COLUMNS]
    color = channels if channels != [None] * 3 else _pick(row, _COLOR_COLUMNS)
    color = None if color is None else parse_color(color, name, where)
    return Row(where, name, _find_index(row, indices, name, where), color)


def _find_index(
    row: Mapping[str, Any], columns: Sequence[str], name: str, where: str
) -> int | None:
    found = {key: _parse_number(row[key]) for key in columns if row.get(key) not in (None, "")}
    if "index" in found:
        found = {"index": found["index"]}
    for index in found.values():
        if not isinstance(index, int) or not 0 <= index <= MOST_VALUE:
            raise UserError(
                f"{where}: the index of {name!r} is {index!r}, expected 0 to {MOST_VALUE}"
            )
    if len(set(found.values())) > 1:
        listed = " and ".join(f"{key} {index}" for key, index in found.items())
        raise UserError(
            f"{where}: {name!r} has {listed}, expected one value in the masks; call the column "
            "that holds it index"
        )
    return next(iter(found.values()), None)


def parse_color(values: Any, name: str, where: str) -> Color:
    """Returns the colour that a list of three numbers or a text stands for.

    Args:
      values: three numbers of 0 to 255, or a text such as "#ff8000" or "255, 128, 0".
      name: the name of the class, for the message.
      where: the file and the line, for the message.

    Raises:
      UserError: it is no colour.
    """
    if isinstance(values, str):
        if match := _HEX.fullmatch(values.strip()):
            values = bytes.fromhex(match[1])
        elif match := _COLOR_TEXT.fullmatch(values.strip()):
            values = match.groups()
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
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}(\.0*)?", value.strip()):
        return int(value.strip().partition(".")[0])  # some tools write 7 as 7.0
    return str(value) if isinstance(value, bool) else value  # to Python, a bool is a number


def _is_whole(value: Any) -> bool:
    """Returns True for a whole number, also as the text of a CSV file, and for one such as 0x1f."""
    if isinstance(value, str):
        return re.fullmatch(r"-?\d+(\.0*)?|0[xX][0-9a-fA-F]+", value.strip()) is not None
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1


def _pick(row: Mapping[str, Any], columns: Sequence[str]) -> Any:
    """Returns the first value in these columns that is not empty; None if all are empty."""
    return next((row[column] for column in columns if row.get(column) not in (None, "")), None)
