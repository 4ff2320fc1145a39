"""The Dockerfile, by its text: a build needs images that are not here."""

import configparser
import importlib.metadata
import pathlib
import re
import shlex

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = pathlib.Path(__file__).resolve().parents[1]
TEXT = (ROOT / "Dockerfile").read_text()
# Every instruction with its words.
INSTRUCTIONS = [
    (line.split()[0], line.split()[1:])
    for line in re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE)).splitlines()
    if line
]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")


def arguments():
    return dict(words[0].split("=", 1) for name, words in INSTRUCTIONS if name == "ARG")


def copied():
    """The files and folders of the checkout that go into the image."""
    found = [words[:-1] for name, words in INSTRUCTIONS if name == "COPY"]
    return {path for paths in found if not paths[0].startswith("--from") for path in paths}


def lines(text):
    return [line.strip() for line in text.splitlines() if line.strip() and line[:1] != "#"]


def test_all_that_a_wheel_needs_is_copied_and_sent_to_the_builder():
    folders = {folder.split(".")[0] for folder in lines(SETUP["options"]["packages"])}
    folders |= {line.split(" = ")[1] for line in lines(SETUP["options"]["package_dir"])}
    files = {"setup.cfg", "setup.py", "pyproject.toml", "constraints.txt"}
    files |= {SETUP["metadata"]["license_files"]}
    files |= {SETUP["metadata"]["long_description"].removeprefix("file: ")}
    assert copied() == folders | files
    for path in copied():
        assert (ROOT / path).exists(), path
    ignored = lines((ROOT / ".dockerignore").read_text())
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == copied()


def test_base_images_have_a_python_that_the_package_takes():
    version = re.fullmatch(r"python:(3\.\d+)-slim", arguments()["BASE_IMAGE"])[1]
    assert version in SpecifierSet(SETUP["options"]["python_requires"])


def test_its_commands_are_those_of_the_guide_and_name_what_there_is():
    def builds(text):
        return re.findall(r"docker build .*", re.sub(r"\\\n[# ]*", "", text))

    commands = builds(TEXT)
    assert len(commands) == 2
    assert commands == builds((ROOT / "docs" / "quick_start.md").read_text())
    named = dict(
        word.split("=", 1) for command in commands for word in shlex.split(command) if "=" in word
    )
    assert named.keys() <= arguments().keys()
    for extras in (arguments()["EXTRAS"], named["EXTRAS"]):
        assert set(extras.split(",")) <= set(SETUP["options.extras_require"])


def test_the_environment_is_on_the_path_and_has_the_command():
    (entry,) = [words for name, words in INSTRUCTIONS if name == "ENTRYPOINT"]
    assert entry == ['["rnnseg"]']
    assert "rnnseg = rnnseg.cli:main" in SETUP["options.entry_points"]["console_scripts"]
    assert "PATH=/opt/rnnseg/bin:$PATH" in TEXT and "venv /opt/rnnseg" in TEXT
    # Neither the command nor what it writes is root's.
    names = [name for name, _ in INSTRUCTIONS]
    assert ("USER", ["rnnseg"]) in INSTRUCTIONS
    assert names.index("USER") < names.index("ENTRYPOINT")


def test_gpus_get_the_tensorflow_of_the_package_and_the_cuda_that_it_takes():
    needed = [Requirement(line) for line in lines(SETUP["options"]["install_requires"])]
    (tensorflow,) = [each for each in needed if each.name == "tensorflow"]
    (gpu,) = [Requirement(line) for line in lines(SETUP["options.extras_require"]["gpu"])]
    assert gpu.name == "tensorflow" and gpu.specifier == tensorflow.specifier
    assert gpu.extras == {"and-cuda"}

    pinned = dict(
        line.split(";")[0].split("#")[0].strip().split("==")
        for line in lines((ROOT / "constraints.txt").read_text())
    )
    of_extra = [
        each
        for each in map(Requirement, importlib.metadata.requires("tensorflow"))
        if each.marker and each.marker.evaluate({"extra": "and-cuda"})
        and not each.marker.evaluate({"extra": ""})
    ]  # fmt: skip
    assert len(of_extra) > 10
    for each in of_extra:
        assert pinned[each.name] in each.specifier, each
