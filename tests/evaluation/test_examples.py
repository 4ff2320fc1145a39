import numpy as np
import pytest

from rnnseg.evaluation.examples import choose_examples, read_examples
from tests.support.sources import halves, make_source

NAN = float("nan")


@pytest.mark.parametrize(
    ("miou", "expected"),
    [
        ([0.2, 0.9, 0.5, 0.4, 0.7], {"best": 1, "median": 2, "worst": 0}),
        ([0.2, NAN, 0.9, 0.5], {"best": 2, "median": 3, "worst": 0}),
        ([0.4, 0.6], {"best": 1, "worst": 0}),
        ([NAN, 0.6], {"best": 1}),
        ([NAN], {}),
    ],
)
def test_best_median_and_worst(miou, expected):
    assert choose_examples(np.array(miou, np.float32)) == expected


def test_images_are_read_by_number():
    examples = halves(4)
    found = read_examples(make_source({"val": examples}), "val", [3, 1])
    assert {number: each.name for number, each in found.items()} == {1: "val_1", 3: "val_3"}
    for number, each in found.items():
        np.testing.assert_array_equal(each.image, examples[number][0])
        np.testing.assert_array_equal(each.label, examples[number][1])
