"""The imports of Python files, read from their text."""

import ast
import pathlib
from collections.abc import Iterator

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]


def find_modules(*packages: str) -> dict[str, pathlib.Path]:
    """Returns the file of every module of some packages of the checkout, by the module's name."""
    modules = {}
    for package in packages:
        for path in sorted(CHECKOUT.glob(f"{package}/**/*.py")):
            parts = path.relative_to(CHECKOUT).with_suffix("").parts
            modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def imported_modules(path: pathlib.Path, modules: dict[str, pathlib.Path]) -> set[str]:
    """Returns those of `modules` that a file imports, in functions or at its top.

    An attribute of a package (`from rnnseg.data import Source`) counts as an import of the package.
    Imports under `if TYPE_CHECKING` do not count, since they never run.
    """
    found = set()
    for node in _running(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path}:{node.lineno}: imports are absolute in this project")
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & modules.keys()
            if inner - modules.keys():
                found.add(node.module)
    return found & modules.keys()


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Yields all nodes but those under `if TYPE_CHECKING`."""
    yield tree
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield from _running(node)
