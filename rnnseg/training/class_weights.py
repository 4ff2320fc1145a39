"""Weights of classes in the loss, from the pixels of a data set or from a file."""

import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from rnnseg.errors import UserError

AUTO = "auto"
"""The choice that computes the weights from the training data, with `balanced_weights`."""

_SEPARATED = re.compile(r"(?P<name>.*?)[\s,;]+(?P<weight>[^\s,;]+)")


def balanced_weights(pixels: Sequence[int]) -> tuple[float, ...]:
    """Returns weights that grow as a class gets rare: `ln(1.02 + share of the pixels) ** -0.5`.

    That is the square root of ENet's weights (Paszke et al., 2016), so that a class of few pixels
    weighs at most six times as much as one with all pixels. ENet's own weights bring rare classes
    out in the first iterations, too, but later iterations then find them where they are not.

    The weights are scaled so that the mean over all pixels is one, which leaves the size of the
    loss, and with it the learning rate, as it is without weights.

    Args:
      pixels: the number of pixels of every class.
    """
    pixels = np.asarray(pixels, np.float64)
    shares = pixels / max(pixels.sum(), 1)
    weights = np.log(1.02 + shares) ** -0.5
    mean = (shares * weights).sum() or 1.0
    return tuple(map(float, weights / mean))


def read_class_weights(path: str | pathlib.Path, class_names: Sequence[str]) -> tuple[float, ...]:
    """Reads the weights of some classes; all others weigh one.

    Args:
      path: a `.json` file with an object of weights by class name; or a text file with one class
        per line, its name and its weight, separated by spaces, tabs, commas or semicolons. A header
        that ends in "weight", empty lines and comments after `#` are left out.
      class_names: the names of all classes.

    Returns:
      One weight per class.

    Raises:
      UserError: an unreadable file, an unknown class, one that is named twice, or a weight that is
        not a number of at least 0.
    """
    path = pathlib.Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _from_json(text) if path.suffix.lower() == ".json" else _from_lines(text)
        weights = dict.fromkeys(class_names, 1.0)
        seen = set()
        for where, name, weight in rows:
            if name not in weights:
                raise UserError(
                    f"{where}: unknown class {name!r}; expected one of {', '.join(class_names)}"
                )
            if name in seen:
                raise UserError(f"{where}: class {name!r} has a weight already; keep one of them")
            seen.add(name)
            weights[name] = _number(where, weight)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UserError(f"class weights {path}: cannot be read ({reason})") from error
    except UserError as error:
        raise UserError(f"class weights {path}: {error}") from None
    if not seen:
        raise UserError(f"class weights {path}: no class; expected lines of a name and a weight")
    if not any(weights.values()):
        raise UserError(f"class weights {path}: all are 0; expected some above 0")
    return tuple(weights.values())


def _from_json(text: str) -> Iterable[tuple[str, str, object]]:
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except ValueError as error:
        raise UserError(f"no JSON ({error})") from None
    if not text.lstrip().startswith("{"):
        raise UserError('expected an object of weights by class name, such as {"pole": 4}')
    return (("the object", name, weight) for name, weight in pairs)


def _from_lines(text: str) -> Iterator[tuple[str, str, object]]:
    for number, line in enumerate(text.splitlines(), start=1):
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        if not line:
            continue
        parts = _SEPARATED.fullmatch(line)
        if parts is None:
            raise UserError(f"line {number}: {line!r}: expected a name and a weight")
        if parts["weight"].lower() == "weight":
            continue
        yield f"line {number}", parts["name"].strip("\"'"), parts["weight"]


def _number(where: str, weight) -> float:
    try:
        number = float(weight)
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(weight, bool) or not (np.isfinite(number) and number >= 0):
        raise UserError(f"{where}: weight {weight!r}: expected a number of at least 0")
    return number
