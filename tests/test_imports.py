"""The import graph of rnnseg: no cycles, and arrows between rooms that go one way."""

import graphlib

import pytest

from tests.support.imports import find_modules, imported_modules

# Every room, and every module that lies in none, with those that it may import: those before it.
# What stands in one line does not import one another.
ORDER = (
    # What every room may use.
    ("_lazy", "_moved", "_renamed", "errors"),
    ("locks",),
    ("temporaries",),
    ("_checkout", "checks", "files", "grid", "options", "schemas"),
    ("png", "score_files", "stages"),
    ("pretrained",),
    # The runtime for devices, which has to do without TensorFlow.
    ("runtime",),
    ("palette",),
    ("data",),
    ("models", "visualize"),
    ("budgets",),
    ("evaluation", "inference"),
    ("bulk", "dashboard"),
    ("training",),
    ("registration",),
    ("exporting", "video"),
    ("demos",),
    ("cli",),
)
# Imports that run up, with the reason.
EXCEPTIONS = {
    # Draws overlays of what it found; no other module of its room imports it.
    ("rnnseg.data.inspection", "rnnseg.visualize"),
}
RANKS = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}

MODULES = find_modules("rnnseg")
IMPORTS = {name: imported_modules(path, MODULES) for name, path in MODULES.items()}

# The package's own file gives the public names of all rooms, when they are first used.
PACKAGE = "rnnseg"


def room(module):
    return module.split(".")[1]


def test_every_room_has_its_place():
    assert {room(module) for module in MODULES if module != PACKAGE} == set(RANKS)


def test_no_module_imports_itself_in_a_circle():
    graphlib.TopologicalSorter(IMPORTS).prepare()


@pytest.mark.parametrize("name", [name for rooms in ORDER for name in rooms])
def test_rooms_import_those_before_them(name):
    for module, imported in IMPORTS.items():
        if module == PACKAGE or room(module) != name:
            continue
        for other in imported - {PACKAGE}:
            if (module, other) not in EXCEPTIONS:
                goes_down = room(other) == name or RANKS[room(other)] < RANKS[name]
                assert goes_down, f"{module} imports {other}"


def test_exceptions_are_still_there():
    for module, other in EXCEPTIONS:
        assert other in IMPORTS[module] and RANKS[room(other)] > RANKS[room(module)]


def test_the_package_itself_imports_no_room():
    assert {room(module) for module in IMPORTS[PACKAGE]} == {"_checkout", "_lazy", "_moved"}


def test_only_commands_use_the_public_names():
    """Below them `import rnnseg` would hide which room is meant."""
    users = {module for module, imported in IMPORTS.items() if PACKAGE in imported}
    assert {room(module) for module in users} <= {"cli"}


def test_the_runtime_imports_nothing_that_imports_tensorflow():
    """By the text; tests/runtime looks at what a process loads."""
    reached, waiting = set(), [each for each in MODULES if each.startswith("rnnseg.runtime")]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += IMPORTS[module]
    assert reached > {"rnnseg.runtime.segmenter", "rnnseg.checks"}
    for module in reached:
        text = MODULES[module].read_text(encoding="utf-8")
        assert "import tensorflow" not in text and "import keras" not in text, module
