"""Public functions are annotated, and type checkers see it; mypy itself runs in `make lint`."""

import ast
import importlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
# The functions of commands take what their options are declared as.
MODULES = sorted(
    path for path in (ROOT / "rnnseg").rglob("*.py") if path.parent != ROOT / "rnnseg" / "cli"
)
PACKAGES = [
    path for path in MODULES if path.name == "__init__.py" and "\n_NAMES = {" in path.read_text()
]


def public_functions(tree):
    """The functions of a module and the methods of its classes, without private ones."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node, False
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for inner in node.body:
                is_public = isinstance(inner, ast.FunctionDef) and (
                    not inner.name.startswith("_") or inner.name.startswith("__")
                )
                if is_public:
                    names = [getattr(each, "id", "") for each in inner.decorator_list]
                    yield inner, "staticmethod" not in names


def missing(function, is_method):
    """The parameters without a type, and "return"."""
    given = function.args
    parameters = [*given.posonlyargs, *given.args][is_method:] + given.kwonlyargs
    parameters += [each for each in (given.vararg, given.kwarg) if each is not None]
    found = [each.arg for each in parameters if each.annotation is None]
    # That of a constructor is None, which mypy knows where a parameter has a type.
    has_none = function.name == "__init__" and parameters and not found
    return found + ["return"] * (function.returns is None and not has_none)


def test_functions_without_types_are_found():
    tree = ast.parse(
        "def f(a: int, *b, c=1): ...\n"
        "class C:\n"
        "    def __init__(self): ...\n"
        "    def m(self) -> int: ...\n"
        "    def _private(self, x): ...\n"
    )
    assert [missing(*each) for each in public_functions(tree)] == [
        ["c", "b", "return"], ["return"], [],
    ]  # fmt: skip


def test_public_functions_are_annotated():
    for path in MODULES:
        for function, is_method in public_functions(ast.parse(path.read_text())):
            found = missing(function, is_method)
            place = f"{path.relative_to(ROOT)}:{function.lineno}"
            assert not found, f"{place}: {function.name} has no types for {found}"


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: path.parent.name)
def test_type_checkers_know_the_names_that_load_on_first_use(path):
    (block,) = [
        node
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    package = ".".join(path.relative_to(ROOT).parent.parts)
    known = {
        alias.asname: node.module.removeprefix(f"{package}.")
        for node in block.body
        for alias in node.names
        if node.module != package  # `from rnnseg import data as data`, the rooms
    }
    assert known == importlib.import_module(package)._NAMES
