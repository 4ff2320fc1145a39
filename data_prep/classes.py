"""The text file in which a user lists classes."""

import pathlib
import re

from rnnseg.errors import UserError

_COMMENT = re.compile(r"(^|\s)#.*")
_GAP = r"[\s,;]+"
_COLOR = rf"(?P<red>\d+){_GAP}(?P<green>\d+){_GAP}(?P<blue>\d+)"
_NAME_FIRST = re.compile(rf"(?P<name>.*?){_GAP}{_COLOR}")
_COLOR_FIRST = re.compile(rf"{_COLOR}{_GAP}(?P<name>.*)")
# Labels have 8 bits, and one value is for pixels that are ignored.
_MOST_CLASSES = 255

Color = tuple[int, int, int]


def read_classes(path: pathlib.Path) -> tuple[tuple[str, ...], tuple[Color, ...] | None]:
    """Reads class names, and colours if the file has them.

    Args:
      path: a text file with one class a line, in the order of the labels: `name`, `name R G B` or
        `R G B name`, with spaces, tabs or commas between; `#` starts a comment.

    Returns:
      The names, and the colours of 0-255, or None if no class has one.

    Raises:
      UserError: the file cannot be read, has fewer than 2 or more than 255 classes, has a name or a
        colour twice, or gives colours to some classes only.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as the list of classes ({error})") from error
    names, colors = [], []
    for number, line in enumerate(lines, 1):
        line = _COMMENT.sub("", line).strip()
        if not line:
            continue
        name, color = _parse_line(line, f"{path}, line {number}")
        if name in names:
            raise UserError(f"{path}, line {number}: the class {name!r} is there already")
        if color is not None and color in colors:
            raise UserError(
                f"{path}, line {number}: {name!r} has the colour of "
                f"{names[colors.index(color)]!r}, expected one of its own"
            )
        names.append(name)
        colors.append(color)
    if not 2 <= len(names) <= _MOST_CLASSES:
        raise UserError(
            f"{path}: {len(names)} classes, expected 2 to {_MOST_CLASSES}, one a line (a "
            "background is a class too)"
        )
    if None not in colors:
        return tuple(names), tuple(colors)
    if any(colors):
        raise UserError(
            f"{path}: the class {names[colors.index(None)]!r} has no colour, expected one for "
            "every class or for none"
        )
    return tuple(names), None


def _parse_line(line: str, where: str) -> tuple[str, Color | None]:
    """The name and the colour of a line without comment; `where` is for messages."""
    matches = [form.fullmatch(line) for form in (_NAME_FIRST, _COLOR_FIRST)]
    if all(matches) or re.fullmatch(_COLOR, line):
        raise UserError(f"{where}: {line!r} has no name that differs from the numbers of a colour")
    match = matches[0] or matches[1]
    if match is None:
        return line, None
    color = tuple(int(value) for value in match.group("red", "green", "blue"))
    if max(color) > 255:
        raise UserError(f"{where}: the colour of {match['name']!r} is {color}, expected 0 to 255")
    return match["name"], color
