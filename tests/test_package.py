import ast
import configparser
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
    [
        "rnnseg",
        "rnnseg.cli",
        "rnnseg.budgets.planning",
        "rnnseg.models.options",
        "rnnseg.training.config",
        "data_prep.voc",
        "rnnseg.data_prep.folder",
    ],
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


@pytest.mark.parametrize("command", [(), ("train",), ("cost",), ("prepare", "folder")])
def test_help_loads_no_tensorflow(command):
    program = (
        "import sys; from rnnseg.cli import main\n"
        f"try: main({[*command, '--help']})\n"
        "finally: print('tensorflow' in sys.modules, file=sys.stderr)"
    )
    result = run_python("-c", program)
    assert result.returncode == 0, result.stderr
    assert result.stderr.split()[-1] == "False"


def test_every_package_goes_into_the_wheel_below_rnnseg():
    options = configparser.ConfigParser()
    options.read(CHECKOUT / "setup.cfg")
    folders = dict(
        line.split(" = ") for line in options["options"]["package_dir"].strip().splitlines()
    )
    packages = options["options"]["packages"].split()
    assert {package.partition(".")[0] for package in packages} == {"rnnseg"}
    found = set()
    for package in packages:
        name = next((each for each in folders if f"{package}.".startswith(f"{each}.")), "")
        rest = package.removeprefix(name).replace(".", "/")
        found.add(pathlib.Path(folders[name] + rest if name else rest))
    page = pathlib.Path("web")  # files of the page for browsers, and no modules
    assert found == {page, *(path.parent for path in MODULES)}
    for folder in found - {page}:
        assert (CHECKOUT / folder / "__init__.py").is_file()


@pytest.mark.parametrize("first", ["data_prep", "rnnseg.data_prep"])
def test_packages_beside_rnnseg_have_two_names_and_one_module(first):
    second = {"data_prep": "rnnseg.data_prep", "rnnseg.data_prep": "data_prep"}[first]
    program = (
        f"import {first}.plans.voc, {second}.plans.voc, rnnseg.experiments.tables\n"
        "import experiments.tables\n"
        "assert rnnseg.data_prep.plans.voc is data_prep.plans.voc\n"
        "assert rnnseg.experiments.tables is experiments.tables"
    )
    result = run_python("-c", f"import rnnseg, data_prep\n{program}")
    assert result.returncode == 0, result.stderr


def test_what_is_not_beside_rnnseg_is_not_found():
    result = run_python("-c", "import rnnseg.data_prep.nothing")
    assert "No module named 'rnnseg.data_prep.nothing'" in result.stderr


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_module_has_a_docstring(module):
    assert ast.get_docstring(ast.parse((CHECKOUT / module).read_text(encoding="utf-8")))
