import ast
import importlib.metadata
import pathlib
import subprocess
import sys

import pytest

import rnnseg
from rnnseg.cli import main

PACKAGES = ("rnnseg", "data_prep", "experiments")
CHECKOUT = pathlib.Path(__file__).resolve().parents[1]
MODULES = sorted(
    path.relative_to(CHECKOUT)
    for package in PACKAGES
    for path in CHECKOUT.glob(f"{package}/**/*.py")
)


def run_python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=CHECKOUT, capture_output=True, text=True, timeout=120
    )


def test_version_is_the_installed_one():
    assert rnnseg.__version__ == importlib.metadata.version("rnnseg")


@pytest.mark.parametrize(
    "module",
    ["rnnseg", "rnnseg.cli", "rnnseg.budgets.planning", "data_prep.voc", "data_prep.folder"],
)
def test_import_loads_no_heavy_library(module):
    heavy = {"tensorflow", "keras", "tensorflow_datasets", "matplotlib"}
    result = run_python("-c", f"import sys, {module}; print(*sorted({heavy} & set(sys.modules)))")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


@pytest.mark.parametrize("name", dir(rnnseg))
def test_every_lazy_name_resolves(name):
    getattr(rnnseg, name)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        rnnseg.no_such_name  # noqa: B018


@pytest.mark.parametrize("command", [(), *((name,) for name in sorted(main.commands))])
def test_command_has_help(command):
    result = run_python("-m", "rnnseg.cli", *command, "--help")
    assert result.returncode == 0, result.stderr
    assert "Usage:" in result.stdout


def test_help_loads_no_tensorflow():
    program = (
        "import sys; from rnnseg.cli import main\n"
        "try: main(['--help'])\n"
        "finally: print('tensorflow' in sys.modules, file=sys.stderr)"
    )
    result = run_python("-c", program)
    assert result.returncode == 0, result.stderr
    assert result.stderr.split()[-1] == "False"


@pytest.mark.parametrize("package", PACKAGES)
def test_package_is_found_by_the_build(package):
    folders = {path.parent for path in MODULES if path.parts[0] == package}
    assert folders
    for folder in folders:
        assert (CHECKOUT / folder / "__init__.py").is_file(), f"{folder} would not be in the wheel"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_module_has_a_docstring(module):
    assert ast.get_docstring(ast.parse((CHECKOUT / module).read_text(encoding="utf-8")))
