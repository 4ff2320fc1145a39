"""The costs that `rnnseg.budgets.costs` keeps for every model, since counting takes seconds."""

import gc
import weakref

import pytest

from rnnseg.budgets import costs
from tests.support.models import make_model


@pytest.fixture
def counted(monkeypatch):
    """The number of functions that were counted, in a list of one."""
    number = [0]
    count = costs._count

    def count_and_tell(*args):
        number[0] += 1
        return count(*args)

    monkeypatch.setattr(costs, "_count", count_and_tell)
    monkeypatch.setattr(costs, "_COUNTED", weakref.WeakKeyDictionary())
    return number


def test_the_same_size_is_counted_once(counted):
    model = make_model()
    first = costs.stage_costs(model, 33, 41)
    assert costs.stage_costs(model, 33, 41) == first
    assert counted == [3]  # encode, prepare and refine


def test_another_size_is_counted_anew(counted):
    model = make_model()
    small, large = costs.stage_costs(model, 33, 41), costs.stage_costs(model, 65, 41)
    assert counted == [6]
    # The canvas has 5x6 and 9x6 pixels.
    assert large.refine * 5 == small.refine * 9 and large.read * 33 == small.read * 65
    assert large.encode > small.encode
    assert costs.stage_costs(model, 41, 33) == small and counted == [9]
    assert costs.stage_costs(model, 33, 41) == small and counted == [9]


def test_a_second_model_is_counted_anew(counted):
    model, wider = make_model(), make_model(hidden_channels=(12, 5))
    first, second = costs.stage_costs(model, 33, 41), costs.stage_costs(wider, 33, 41)
    assert counted == [6]
    assert second.prepare == 2 * first.prepare and second.refine > first.refine
    coarser = costs.stage_costs(make_model(output_stride=16, canvas_stride=16), 33, 41)
    assert counted == [9] and coarser.refine * 30 == first.refine * 12
    assert costs.stage_costs(model, 33, 41) == first


def test_a_deleted_model_is_freed(counted):
    model = make_model()
    costs.stage_costs(model, 33, 41)
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None and len(costs._COUNTED) == 0
