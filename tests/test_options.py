import dataclasses
import os
import pathlib

import numpy as np
import pytest

from rnnseg import UserError
from rnnseg.options import check_options, option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Declared:
    count: int = option(3, "Count.", least=1, most=9)
    rate: float = option(0.5, "Rate.", above=0)
    share: float = option(0.0, "Share.", least=0, below=1)
    widths: tuple[int, ...] = option((4, 2), "Widths.", least=1)
    size: tuple[int, int] = option((8, 6), "Size.")
    weights: tuple[float, ...] | None = option(None, "Weights.")
    path: str | os.PathLike | None = option(None, "Path.")
    network: str | object = option("small", "Network.")
    kind: str = option("a", "Kind.", choices=("a", "b"))
    turn: bool = option(True, "Turn.")

    def __post_init__(self):
        check_options(self)


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("count", 0, "count=0: expected 1 to 9"),
        ("count", 10, "count=10: expected 1 to 9"),
        ("count", 2.0, "count=2.0: expected a whole number"),
        ("count", True, "count=True: expected a whole number"),
        ("count", None, "count=None: expected a whole number"),
        ("rate", 0, "rate=0: expected more than 0"),
        ("rate", float("inf"), "rate=inf: expected a finite number"),
        ("share", 1, "share=1: expected at least 0 and less than 1"),
        ("widths", (3, 0), "widths=(3, 0): expected at least 1"),
        ("widths", (3, "2"), "widths=(3, '2'): expected a whole number"),
        ("widths", 3, "widths=3: expected some numbers in a tuple"),
        ("size", (3, 4, 5), "size=(3, 4, 5): expected 2 numbers in a tuple"),
        ("weights", "ab", "weights='ab': expected some numbers in a tuple"),
        ("path", 3, "path=3: expected a text"),
        ("kind", "c", "kind='c': expected one of a, b"),
        ("turn", 1, "turn=1: expected True or False"),
    ],
)
def test_wrong_values_are_named(name, value, message):
    with pytest.raises(UserError) as raised:
        Declared(**{name: value})
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "name, value",
    [
        ("count", 1),
        ("count", 9),
        ("rate", 1e-9),
        ("share", 0.999),
        ("widths", ()),
        ("weights", None),
        ("path", pathlib.Path("file")),
        ("network", object()),
        ("kind", "b"),
        ("turn", False),
    ],
)
def test_values_in_range_stay(name, value):
    assert getattr(Declared(**{name: value}), name) is value


def test_values_get_the_declared_type():
    declared = Declared(
        count=np.int64(5), rate=1, share=np.float32(0.25), widths=[np.int32(3), 2], weights=[1, 0.5]
    )
    assert declared.widths == (3, 2) and declared.weights == (1.0, 0.5)
    numbers = (declared.count, declared.rate, declared.share, *declared.widths, *declared.weights)
    assert [type(each) for each in numbers] == [int, float, float, int, int, float, float]


def test_defaults_are_class_attributes_too():
    assert Declared.count == 3 and Declared() == Declared(count=3)
