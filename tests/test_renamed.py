import inspect
import sys
import warnings

import pytest

from rnnseg import UserError, export_model
from rnnseg._renamed import RenamedAttribute, present_names, renamed_arguments, renamed_attributes


@renamed_arguments(old="new", former="present")
def function(first, *, new=0, present=0):
    return first, new, present


@renamed_arguments(old="new")
class Class:
    def __init__(self, new):
        self.new = new


def test_old_names_of_arguments_work_and_warn():
    with pytest.warns(DeprecationWarning) as caught:
        assert function(1, old=2, former=3) == (1, 2, 3)
        assert Class(old=4).new == 4
    assert [str(each.message) for each in caught] == [
        "former is now called present",
        "old is now called new",
        "old is now called new",
    ]
    assert {each.filename for each in caught} == {__file__}


def test_present_names_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert function(1, new=2, present=3) == (1, 2, 3)
        assert Class(5).new == 5
        assert present_names({"new": 1, "x": 2}, {"old": "new"}) == {"new": 1, "x": 2}


def test_the_signature_shows_present_names():
    assert list(inspect.signature(function).parameters) == ["first", "new", "present"]
    assert list(inspect.signature(Class).parameters) == ["new"]


def test_export_takes_pictures_for_one_more_release(tmp_path):
    assert "images" in inspect.signature(export_model).parameters
    with pytest.warns(DeprecationWarning, match="pictures is now called images"):
        with pytest.raises(UserError, match="limit"):
            export_model(None, tmp_path / "out", pictures=["photos"], limit=0)


def test_old_names_of_attributes_work_and_warn(monkeypatch):
    get = renamed_attributes(__name__, {"Former": "Class", "warned": "warnings.warn"})
    monkeypatch.setattr(sys.modules[__name__], "__getattr__", get, raising=False)
    with pytest.warns(DeprecationWarning) as caught:
        from tests.test_renamed import Former, warned
    assert Former is Class and warned is warnings.warn
    assert [str(each.message) for each in caught] == [
        "tests.test_renamed.Former is now tests.test_renamed.Class",
        "tests.test_renamed.warned is now warnings.warn",
    ]
    assert {each.filename for each in caught} == {__file__}
    with pytest.raises(AttributeError, match="tests.test_renamed' has no attribute 'other'"):
        get("other")
    get = renamed_attributes(__name__, {"Former": "Class"}, others=str.upper)
    assert get("other") == "OTHER"
    with pytest.warns(DeprecationWarning):
        assert get("Former") is Class


def test_old_names_of_an_objects_attributes_work_and_warn():
    class Point:
        column = 7
        x = RenamedAttribute("column")

    with pytest.warns(DeprecationWarning, match="^Point.x is now called column$") as caught:
        assert Point().x == 7
    assert caught[0].filename == __file__
    assert isinstance(Point.x, RenamedAttribute)
