"""Commands that run in this process, and what they wrote, for tests."""

import csv

from click.testing import CliRunner
from PIL import Image


def run(command, *arguments) -> str:
    """Returns what a command prints to its standard output."""
    result = CliRunner().invoke(command, [str(each) for each in arguments])
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result.stdout


def fail(command, *arguments) -> str:
    """Returns the single line in which a command reports a mistake of its caller."""
    result = CliRunner().invoke(command, [str(each) for each in arguments])
    assert result.exit_code == 2, f"{result.output}\n{result.exception!r}"
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    return errors[0]


def read_csv(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def read_markdown(text) -> dict[str, list[str]]:
    """Returns the lines of printed tables by their first cell."""
    lines = [line.strip("| \n").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {name: cells for name, *cells in lines}


def image_size(path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size
