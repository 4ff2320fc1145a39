"""The faults of `make mutations` fit the code."""

import ast

import pytest

from tests.mutations import CHECKOUT, MUTATIONS, find_place, likely_tests


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_fault_can_be_made(mutation):
    """Its text is in one place, and what comes of it is Python, but another program."""
    text = find_place(mutation, CHECKOUT).read_text(encoding="utf-8")
    broken = ast.parse(text.replace(mutation.find, mutation.replace))
    assert ast.dump(broken) != ast.dump(ast.parse(text))
    assert likely_tests(mutation, CHECKOUT)
