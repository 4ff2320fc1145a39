"""The changes of a table of classes by `--remap` and `--ignore`."""

import dataclasses
from collections.abc import Sequence

from rnnseg.data.classes import IGNORE, MOST_VALUE, ClassTable, Color
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError

from ..common import composed


def remap_table(
    table: ClassTable, remap: Sequence[str] = (), ignore: Sequence[str] = (), encoding: str = "auto"
) -> ClassTable:
    """Makes values and colours of masks stand for other classes, or for no class.

    Args:
      table: the original table. Names, display colours and labels stay, even if no value stands for
        a class any more.
      remap: texts FROM=TO, where FROM is an index or R,G,B in the masks, and TO is the name of a
        class or `ignore`.
      ignore: texts FROM, which stand for no class.
      encoding: the encoding of the masks, as in `MaskReader`.

    Returns:
      The changed table.

    Raises:
      UserError: an option has another form, does not fit the encoding or names an unknown class,
        two options contradict each other, or colours are given for classes without colours.
    """
    changes = [(f"--ignore {value}", value, IGNORE) for value in ignore]
    changes += [(f"--remap {text}", *_parse_remap(text)) for text in remap]
    values, color_values = {}, {}
    for option, source, target in changes:
        key = _parse_source(option, source)
        if isinstance(key, int) and encoding == "color":
            raise UserError(f"{option}: expected R,G,B with --mask-encoding color")
        if not isinstance(key, int) and encoding == "index":
            raise UserError(f"{option}: expected an index with --mask-encoding index")
        if not isinstance(key, int) and table.color_values is None:
            raise UserError(
                f"{option}: colour masks need the colour of every class, expected lines in the "
                "classes file: name R G B"
            )
        label = _find_label(option, target, table.names)
        labels = values if isinstance(key, int) else color_values
        if labels.setdefault(key, label) != label:
            raise UserError(f"{option}: another option gives {source} to another class; drop one")
    return dataclasses.replace(
        table,
        values={**table.values, **values},
        color_values=table.color_values and {**table.color_values, **color_values},
    )


def remap_names(
    names: Sequence[str], remap: Sequence[str] = (), ignore: Sequence[str] = ()
) -> dict[str, int]:
    """Makes the table of the labels of outlines, whose files hold names.

    Args:
      names: the names of the classes.
      remap: texts NAME=TO, where NAME is a name in the files, and TO is a class or `ignore`.
      ignore: names in the files that stand for no class.

    Returns:
      Class indices, or `IGNORE_LABEL`, by the names in the files.

    Raises:
      UserError: an option has another form or names an unknown class, or two options contradict
        each other.
    """
    changes = [(f"--ignore {name}", name, IGNORE) for name in ignore]
    changes += [(f"--remap {text}", *_parse_remap(text)) for text in remap]
    changed = {}
    for option, source, target in changes:
        label = _find_label(option, target, names)
        if changed.setdefault(composed(source.strip()), label) != label:
            raise UserError(f"{option}: another option gives {source} to another class; drop one")
    own = {name: label for label, name in enumerate(names)}
    return {IGNORE: IGNORE_LABEL, "__ignore__": IGNORE_LABEL, **own, **changed}


def _parse_remap(text: str) -> tuple[str, str]:
    source, equals, target = text.partition("=")
    if not equals:
        raise UserError(f"--remap {text}: expected VALUE=CLASS, such as 7=road or 7={IGNORE}")
    return source, target


def _parse_source(option: str, source: str) -> int | Color:
    parts = source.replace(",", " ").split()
    numbers = tuple(int(part) for part in parts if part.isdecimal())
    if len(numbers) == len(parts) == 1 and numbers[0] <= MOST_VALUE:
        return numbers[0]
    if len(numbers) == len(parts) == 3 and max(numbers) < 256:
        return numbers
    raise UserError(f"{option}: expected an index, 0 to {MOST_VALUE}, or R,G,B, each 0 to 255")


def _find_label(option: str, target: str, names: Sequence[str]) -> int:
    target = composed(target.strip())
    if target.lower() == IGNORE:
        return IGNORE_LABEL
    if target not in names:
        raise UserError(
            f"{option}: no class {target!r}, expected {IGNORE} or one of {', '.join(names)}"
        )
    return names.index(target)
