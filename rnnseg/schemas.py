"""Small files that are read back: their text, their JSON, and the schemas of what they hold.

A schema is a frozen dataclass. The annotations of its fields are plain types, or those with a range
from this module, such as `Count`; pydantic checks a file against them. A file may hold keys that
the schema does not have, as those of later versions do. A field that came later has the default
that earlier files mean: to add one is all that a new key takes.

Whatever is wrong is a `UserError` of one line: the file, the key, its value, what was expected, and
the way out. pydantic is loaded when the first file is read.
"""

import codecs
import csv
import functools
import json
import math
import os
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Le, MaxLen, MinLen

from rnnseg.errors import UserError, shortened

if TYPE_CHECKING:  # loaded with the first file
    from pydantic import TypeAdapter

MOST_BYTES = 1 << 24
"""The most that a small file may hold; those that are written have less than a hundredth of it."""

_DEEPEST = 32  # nested lists and objects
# The byte order marks of other encodings than UTF-8, as spreadsheets on Windows write them. Those
# of 32 bits come first, since one of them begins like one of 16.
_ENCODINGS = {
    **dict.fromkeys((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE), "utf-32"),
    **dict.fromkeys((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), "utf-16"),
}
_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # NUL, and halves of characters
_LARGEST = 1 << 63  # whole numbers beyond it are no counts of anything

Text = Annotated[str, MinLen(1), MaxLen(4096)]
Count = Annotated[int, Ge(1), Le(1 << 53)]
Total = Annotated[int, Ge(0), Le(1 << 62)]
Side = Annotated[int, Ge(1), Le(1 << 15)]
Pixels = Annotated[int, Ge(1), Le(1 << 20)]
Channels = Annotated[int, Ge(1), Le(1 << 16)]
Iterations = Annotated[int, Ge(1), Le(1 << 20)]
Stride = Annotated[int, Ge(1), Le(256)]
Level = Annotated[int, Ge(0), Le(255)]
Fraction = Annotated[float, Ge(0), Le(1)]
Scale = Annotated[float, Gt(0), Le(1000)]
Milliseconds = Annotated[float, Ge(0), Le(1e12)]
Color = tuple[Level, Level, Level]

_T = TypeVar("_T")

# The words of pydantic's messages, by the type of the error.
_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "an object",
    "mapping_type": "an object",
    "dataclass_type": "an object",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "too_short": "{min_length} or more elements",
    "too_long": "no more than {max_length} elements",
    "string_too_short": "{min_length} or more characters",
    "string_too_long": "no more than {max_length} characters",
    "literal_error": "{expected}",
    "unexpected_positional_argument": "fewer elements",
}


def read_json(
    path: str | os.PathLike,
    schema: type[_T],
    way_out: str,
    convert: Callable[[Any], Any] = lambda content: content,
) -> _T:
    """Reads a JSON file of this package.

    Args:
      path: the file.
      schema: what it holds, a dataclass or a type such as `Mapping[str, Any]`.
      way_out: the end of messages, such as "make it anew by rnnseg benchmark".
      convert: brings what files of earlier versions hold into the present form. Its exceptions of
        wrong types and missing keys leave the content as it is, for the schema to judge.

    Returns:
      An instance of the schema.

    Raises:
      UserError: the file cannot be read, or does not hold what the schema says.
    """
    content = parse_json(read_text(path, way_out), str(path), way_out)
    try:
        content = convert(content)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        pass
    return check(content, schema, str(path), way_out)


def read_csv(path: str | os.PathLike, schema: type, way_out: str) -> list[dict[str, str]]:
    """Reads a CSV file of this package, whose first line names the columns.

    Args:
      path: the file.
      schema: what a line holds, a dataclass. An empty field is None, and a column may be missing
        if it has a default. Other columns are texts.
      way_out: the end of messages.

    Returns:
      The texts of every line by the names of the columns, as they stand in the file.

    Raises:
      UserError: the file cannot be read, a line has more or fewer fields than the first one, or a
        field is not what the schema says.
    """
    reader = csv.DictReader(read_text(path, way_out).splitlines())
    rows = []
    try:
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if None in row or None in row.values():
                raise UserError(
                    f"{where}: expected {len(reader.fieldnames or ())} fields, as in the first "
                    f"line; {way_out}"
                )
            values = {key: text or None for key, text in row.items()}
            held: Any = _validate(schema, where, way_out, "python", values)
            for key, value in vars(held).items():
                if isinstance(value, int) and row[key] != str(value):  # such as 1.0
                    raise UserError(
                        f"{where}: {key} is {shortened(row[key], 60)!r}, expected {value}; "
                        f"{way_out}"
                    )
            rows.append(row)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}; {way_out}") from error
    return rows


def read_text(path: str | os.PathLike, way_out: str, most_bytes: int = MOST_BYTES) -> str:
    """Reads a file of UTF-8 text, or of UTF-16 or UTF-32 with a byte order mark.

    Args:
      path: the file.
      way_out: the end of messages.
      most_bytes: the largest size.

    Raises:
      UserError: no such file, one that is larger, or no text.
    """
    try:
        with pathlib.Path(path).open("rb") as file:
            data = file.read(most_bytes + 1)
    except (OSError, ValueError) as error:  # a path with a NUL byte is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read ({reason}); {way_out}") from error
    if len(data) > most_bytes:
        raise UserError(f"{path}: more than {most_bytes} bytes, expected fewer; {way_out}")
    return decode_text(data, str(path), way_out)


def decode_text(data: bytes, where: str, way_out: str) -> str:
    """Returns the text that bytes stand for, without a byte order mark.

    Raises:
      UserError: they are no UTF-8, nor what their byte order mark says, or hold a NUL character.
    """
    encoding = next((name for mark, name in _ENCODINGS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where}: no {encoding.upper()} text (byte {error.start}); {way_out}"
        ) from error
    if "\0" in text:
        raise UserError(f"{where}: a NUL character, expected text; {way_out}")
    return text


def parse_json(text: str, where: str, way_out: str) -> Any:
    """Returns what a JSON text holds.

    Args:
      text: the text.
      where: the file, for messages.
      way_out: the end of messages.

    Raises:
      UserError: no valid JSON, a key that an object has twice, a number that is not finite or has
        more than 63 bits, NUL or half a character, or more than 32 lists and objects in one
        another.
    """
    try:
        content = json.loads(text, object_pairs_hook=_unique)
    except RecursionError as error:
        raise UserError(f"{where}: {_too_deep()}; {way_out}") from error
    except ValueError as error:  # also for a number of more than 4300 digits
        reason = "it is empty" if not text.strip() else shortened(str(error), 100)
        raise UserError(f"{where}: not valid JSON ({reason}); {way_out}") from error

    def fail(fault: str) -> None:
        raise UserError(f"{where}: {fault}; {way_out}")

    _check_values(content, (), fail)
    return content


def check(content: Any, schema: type[_T], where: str, way_out: str) -> _T:
    """Checks what a JSON file holds against a schema.

    Args:
      content: as `parse_json` returns it. Numbers are no texts, texts no numbers, and nothing but
        true and false is True or False.
      schema: a dataclass, or another type that pydantic knows.
      where: the file, for messages.
      way_out: the end of messages.

    Returns:
      An instance of the schema, with tuples for lists where it says so.

    Raises:
      UserError: the first difference.
    """
    # In this form, pydantic tells all types apart and still takes lists as tuples.
    return _validate(schema, where, way_out, "json", json.dumps(content), strict=True)


def _validate(
    schema: type[_T], where: str, way_out: str, form: str, content: Any, **options: Any
) -> _T:
    """Returns an instance of a schema, by the method `validate_FORM` of pydantic."""
    from pydantic import ValidationError

    try:
        kind: Any = schema  # classes are hashable
        return getattr(_adapter(kind), f"validate_{form}")(content, **options)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=True)[0]
        raise UserError(f"{where}: {_in_words(first)}; {way_out}") from error


@functools.cache
def _adapter(schema: Any) -> "TypeAdapter":
    from pydantic import TypeAdapter

    return TypeAdapter(schema)


def _in_words(error: Mapping[str, Any]) -> str:
    """Returns an error of pydantic as "KEY is VALUE, expected …"."""
    place = error["loc"]
    is_key = bool(place) and place[-1] == "[key]"
    key = _dotted(place[:-2] if is_key else place)
    if error["type"] == "missing":
        return f"{key} is missing"
    value = shortened(json.dumps(error["input"], ensure_ascii=False), 60)
    subject = f"{key} has the key {value}" if is_key else f"{key or 'the content'} is {value}"
    words = _EXPECTED.get(error["type"])
    if words is None:
        reason = re.sub(r"^(Input should be|Value error,) ", "", error["msg"])
        return f"{subject}: {reason[:1].lower()}{reason[1:]}"
    return f"{subject}, expected {words.format(**_plain(error.get('ctx', {})))}"


def _plain(limits: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the limits of a range, whole numbers without a point."""
    return {
        key: int(value)
        if isinstance(value, float) and value.is_integer() and value < 1e15
        else value
        for key, value in limits.items()
    }


def _dotted(place: Sequence[str | int]) -> str:
    """Returns a place in a JSON file, such as results[0].miou."""
    parts = (f"[{each}]" if isinstance(each, int) else f".{shortened(each, 60)}" for each in place)
    return "".join(parts).lstrip(".")


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shortened(twice, 60)!r} is there twice")
    return found


def _check_values(content: Any, place: tuple, fail: Callable[[str], None]) -> None:
    """Calls `fail` for numbers and texts that are none, and for what is nested too deeply."""
    name = _dotted(place) or "the content"
    if isinstance(content, (dict, list)):
        if len(place) >= _DEEPEST:
            fail(_too_deep())
        members = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in members:
            _check_values(value, (*place, key), fail)
    elif isinstance(content, float) and not math.isfinite(content):
        fail(f"{name} is {content}, expected a finite number")
    elif isinstance(content, int) and abs(content) >= _LARGEST:
        fail(f"{name} is {shortened(str(content), 30)}, expected a number of at most 63 bits")
    elif isinstance(content, str) and _NO_TEXT.search(content):
        fail(f"{name} is {shortened(ascii(content), 60)}, with NUL or half a character")


def _too_deep() -> str:
    return f"more than {_DEEPEST} lists and objects in one another"
