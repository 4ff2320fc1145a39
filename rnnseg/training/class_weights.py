"""Weights of classes in the loss, from the pixels of a data set or from a file."""

import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from rnnseg import schemas
from rnnseg.errors import UserError

AUTO = "auto"
"""The choice that computes the weights from the training data, with `balanced_weights`."""

_MOST = 1e6
Weight = Annotated[float, Ge(0), Le(_MOST)]
"""The weight of a class in a JSON file."""

_FORM = 'expected weights by class name, such as {"pole": 4} or lines such as pole 4'
_SEPARATED = re.compile(r"(?P<name>.*?)[\s,;]+(?P<weight>[^\s,;]+)")


def balanced_weights(pixels: Sequence[int] | np.ndarray) -> tuple[float, ...]:
    """Returns weights that grow as a class gets rare: `ln(1.02 + share of the pixels) ** -0.5`.

    That is the square root of ENet's weights (Paszke et al., 2016), so that a class of few pixels
    weighs at most six times as much as one with all pixels. ENet's own weights bring rare classes
    out in the first iterations, too, but later iterations then find them where they are not.

    The weights are scaled so that the mean over all pixels is one, which leaves the size of the
    loss, and with it the learning rate, as it is without weights.

    Args:
      pixels: the number of pixels of every class.
    """
    counts = np.asarray(pixels, np.float64)
    shares = counts / max(counts.sum(), 1)
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
        not a number from 0 to a million.
    """
    path = pathlib.Path(path)
    try:
        text = schemas.read_text(path, _FORM)
        rows = _from_json(text, path) if path.suffix.lower() == ".json" else _from_lines(text, path)
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
    except UserError as error:
        raise UserError(f"class weights {error}") from None
    if not seen:
        raise UserError(f"class weights {path}: no class; expected lines of a name and a weight")
    if not any(weights.values()):
        raise UserError(f"class weights {path}: all are 0; expected some above 0")
    return tuple(weights.values())


def _from_json(text: str, path: pathlib.Path) -> Iterable[tuple[str, str, object]]:
    content = schemas.parse_json(text, str(path), _FORM)
    held = schemas.check(content, Mapping[str, Weight], str(path), _FORM)
    return ((str(path), name, weight) for name, weight in held.items())


def _from_lines(text: str, path: pathlib.Path) -> Iterator[tuple[str, str, object]]:
    for number, line in enumerate(text.splitlines(), start=1):
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        if not line:
            continue
        parts = _SEPARATED.fullmatch(line)
        if parts is None:
            raise UserError(f"{path}, line {number}: {line!r}: expected a name and a weight")
        if parts["weight"].lower() == "weight":
            continue
        yield f"{path}, line {number}", parts["name"].strip("\"'"), parts["weight"]


def _number(where: str, weight) -> float:
    try:
        number = float(weight)
    except (TypeError, ValueError):
        number = -1.0
    if not (str(weight).isascii() and 0 <= number <= _MOST):
        raise UserError(f"{where}: weight {weight!r}: expected a number from 0 to {_MOST:g}")
    return number
