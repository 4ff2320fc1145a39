"""The rules that hold for every command: what is refused, and errors in one line."""

import errno
import pathlib

import click
import pytest
from click.testing import CliRunner

from rnnseg.cli import main
from rnnseg.cli.base import Command
from rnnseg.cli.parameters import SCALES, SIZE, IterationNumbers, takes_numbers
from rnnseg.errors import UserError

RAISED = {
    "user": UserError("it is wrong\n  in two lines"),
    "name": UserError("a\nb.png: missing"),
    "long": UserError("9" * 5000),
    "half": UserError("a\udcff.png: missing"),
    "full": OSError(errno.ENOSPC, "No space left on device", "out\n.png"),
    "loop": RuntimeError("Symlink loop from 'a'"),
}


@click.command(cls=Command)
@click.argument("source")
@click.option("--count", type=click.IntRange(1, 9))
@click.option("--share", type=click.FloatRange(0, 1))
@click.option("--file", type=click.Path(path_type=pathlib.Path))
@click.option("--text", multiple=True)
@click.option("--size", type=SIZE)
@click.option("--scales", type=SCALES)
@click.option("--iterations", type=IterationNumbers())
def command(source, **_):
    """Raise what is asked for."""
    if source in RAISED:
        raise RAISED[source]
    click.echo(f"took {source}")


def error_of(command, *arguments) -> str:
    """Returns the one line that a command prints for a mistake, without its line break."""
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2, f"{result.output}\n{result.exception!r}"
    assert result.stdout == "" and result.stderr.endswith("\n")
    line = result.stderr[:-1]
    assert line.startswith("error: ") and line.isprintable() and len(line) <= 300
    return line


@pytest.mark.parametrize("name", RAISED)
def test_every_error_is_one_line(name):
    error_of(command, name)


def test_other_errors_are_no_mistakes_of_the_user(monkeypatch):
    monkeypatch.setitem(RAISED, "bug", RuntimeError("a bug"))
    assert CliRunner().invoke(command, ["bug"]).exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["", "--count", "3"],
        ["a", "--file", ""],
        ["a", "--file", "   "],
        ["a", "--text", "b", "--text", ""],
        ["a", "--count="],
    ],
)
def test_empty_values_are_refused(arguments):
    assert error_of(command, *arguments).endswith("expected a value, not an empty text")


@pytest.mark.parametrize("arguments", [["a\0b"], ["a", "--file", "\0"], ["a", "--text", "b\0"]])
def test_nul_characters_are_refused(arguments):
    assert "a NUL character" in error_of(command, *arguments)


@pytest.mark.parametrize(
    "option, values",
    [
        ("--count", ["10", "-1", "９", "٣", "1_0", "nan", "9" * 5000]),
        ("--share", ["2", "nan", "inf", "-inf", "1e999", "０.5", "0_1", "9" * 5000]),
        ("--size", ["0", "1x2x3", "３x4", "1e3", "9" * 5000, f"5x{'9' * 5000}", "5x1_0"]),
        ("--scales", ["1e308", "1,nan", "inf", "0", "-1", "1,,2", "１", "9" * 5000]),
        ("--iterations", ["0", "3-2", "1-", "１", "1_0", "9" * 5000, f"1-{'9' * 5000}", "1001"]),
        ("--none", ["9" * 5000]),
    ],
)
def test_numbers_that_are_none_are_refused(option, values):
    for value in values:
        assert option in error_of(command, "a", option, value)


def test_what_is_right_is_taken():
    arguments = "ä --count 3 --share 1e-3 --file größe.png --size 4x5 --scales 0.5,1".split()
    result = CliRunner().invoke(command, [*arguments, "--iterations", "1-3,6"])
    assert (result.exit_code, result.stdout) == (0, "took ä\n")


def commands():
    """Yields every command of rnnseg with its path, such as ["prepare", "voc"]."""
    for name, each in sorted(main.commands.items()):
        if isinstance(each, click.Group):
            context = click.Context(each)
            for own in each.list_commands(context):
                yield [name, own], each.get_command(context, own)
        else:
            yield [name], each


COMMANDS = [pytest.param(*each, id=" ".join(each[0])) for each in commands()]


@pytest.mark.parametrize("path, each", COMMANDS)
def test_every_option_of_every_command_follows_the_rules(path, each):
    options = [each for each in each.params if isinstance(each, click.Option) and not each.is_flag]
    assert options or each.params  # some have arguments alone
    for option in options:
        name = max(option.opts, key=len)
        wrong = ["a\0b"] if getattr(option.type, "may_be_empty", False) else ["", "a\0b"]
        if takes_numbers(option.type):
            wrong += ["３", "1_0", "nan", "1e308", "9" * 5000]
        elif isinstance(option.type, click.Choice):
            wrong += ["9" * 5000, "a\nb"]
        for value in wrong:
            assert name in error_of(main, *path, f"{name}={value}")
