"""The runtime imports no TensorFlow, by its text and in a process that has none."""

import ast
import sys

import pytest

from tests.support.imports import find_modules, imported_modules
from tests.support.without_tensorflow import run_without_tensorflow

MODULES = find_modules("rnnseg")
ROOM = [name for name in MODULES if name.startswith("rnnseg.runtime")]
FOUNDATION = {
    *(f"rnnseg.{name}" for name in ("_lazy", "_renamed", "checks", "errors", "grid", "stages")),
    "rnnseg.schemas",
    # Presets, by their names.
    *(name for name in MODULES if name.startswith("rnnseg.pretrained")),
}
# annotated_types and pydantic check files against schemas; huggingface_hub loads presets.
ALLOWED = {
    *("rnnseg", "numpy", "ai_edge_litert"),
    *("annotated_types", "pydantic", "pydantic_core", "huggingface_hub"),
}


@pytest.mark.parametrize("name", ROOM)
def test_a_module_imports_its_room_and_the_foundation(name):
    assert imported_modules(MODULES[name], MODULES) - {"rnnseg"} <= {*ROOM, *FOUNDATION}


@pytest.mark.parametrize("name", [*ROOM, *sorted(FOUNDATION)])
def test_a_module_needs_few_packages(name):
    packages = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        packages |= {each.partition(".")[0] for each in names}
    assert packages - sys.stdlib_module_names <= ALLOWED


def test_an_image_is_segmented_without_tensorflow(fixed_file):
    printed = run_without_tensorflow(
        "import importlib, numpy\n"
        f"for name in {ROOM}: importlib.import_module(name)\n"
        "from rnnseg import runtime\n"
        f"result = runtime.Segmenter({str(fixed_file)!r})(numpy.zeros((90, 50, 3), numpy.uint8))\n"
        "assert result.classes.shape == (90, 50)\n"
        "print(*{'PIL', 'click', 'tqdm', 'matplotlib'} & set(sys.modules))"
    )
    assert printed.split() == []


def test_the_process_has_no_tensorflow():
    with pytest.raises(AssertionError, match="keras is imported, which needs TensorFlow"):
        run_without_tensorflow("import rnnseg.models.base")
