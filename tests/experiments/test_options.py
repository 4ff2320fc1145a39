import pytest

from experiments import options
from rnnseg import UserError

KNOWN = ("one", "two, a half", "three")


def test_names_are_chosen_in_their_order():
    def chosen(names):
        return options.chosen_names(names, KNOWN, "--names", ";")

    assert chosen(None) == list(KNOWN)
    assert chosen("three; one") == ["one", "three"]
    assert chosen("two, a half") == ["two, a half"]
    with pytest.raises(UserError, match="--names: 'four': expected some of one; two, a half; th"):
        chosen("one;four")
