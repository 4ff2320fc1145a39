"""The systems of the paper's tables, and the kinds of models that they are here."""

from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

Row = TypeVar("Row")

# The names of the paper's tables, and those of `rnnseg.models.registry.MODELS`.
KINDS: Mapping[str, str] = {
    "FCN": "fcn",
    "CRF-RNN": "crf_rnn",
    "DeepLab": "deeplab",
    "PSPNet": "pspnet",
    "DeepLabv3": "deeplabv3",
    "SDN+": "sdn",
    "RNN, n = 6": "recurrent",
}


def beside_published(own: Iterable[tuple[str, Row]], published: Mapping[str, Row]) -> list[Row]:
    """Returns the rows of the paper's table, each after our own rows of the same system.

    Args:
      own: the kind of a model, a name of `rnnseg.models.registry.MODELS`, and one of its rows, in
        any order.
      published: the rows of the paper by the names of their systems, in the paper's order.

    Returns:
      All rows. Own ones of systems that the table of the paper lacks come first.
    """
    own = list(own)
    kinds = [KINDS[system] for system in published]
    rows = [row for kind, row in own if kind not in kinds]
    for system, row in published.items():
        rows += [mine for kind, mine in own if kind == KINDS[system]]
        rows.append(row)
    return rows


def without_model(kinds: Collection[str], published: Iterable[str]) -> str:
    """Returns a line that says which of the paper's systems have no model of their own yet.

    Args:
      kinds: the kinds of the models that there are.
      published: the systems of the paper's table.

    Returns:
      A line with the options of `rnnseg train`; empty if there is a model of every system.
    """
    lacking = [system for system in published if KINDS[system] not in kinds]
    if not lacking:
        return ""
    names = "; ".join(f"{system}: --model {KINDS[system]}" for system in lacking)
    return f"The paper's rows without a model beside them, and the option that trains one: {names}"
