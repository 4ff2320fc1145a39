import dataclasses

import click
import pytest
from click.testing import CliRunner

from rnnseg.cli.base import Command
from rnnseg.cli.derived import option_name, options_of
from rnnseg.options import check_options, option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Base:
    layers: tuple[int, ...] = option((4, 2), "Widths.", least=1, form="N,N,...")
    l2: float = option(0.1, "Penalty.", least=0, below=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Declared(Base):
    name: str = option(dataclasses.MISSING, "Name.")
    steps: int | None = option(None, "Steps.", above=0, most=9, name="--number")
    start: str | None = option(None, "Start.", also=("--from",))
    size: tuple[int, int] = option((8, 6), "Size.", form="HEIGHTxWIDTH", separator="x")
    kind: str = option("a", "Kind.", choices=("a", "b"))
    stride: int = option(8, "Stride.", choices=(8, 16))
    turn: bool = option(True, "Turn.", flag=("--turn", "--stay"))

    def __post_init__(self):
        check_options(self)


@click.command(cls=Command, renamed={"--layer": "--layers", "--straight": "--stay"})
@click.argument("words", nargs=-1)
@options_of(Declared)
def command(words, **options):
    """Print what is given."""
    click.echo((words, {name: value for name, value in options.items() if value is not None}))


def run(*arguments, status=0):
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == status, result.output
    return result


def test_an_option_may_have_two_names():
    assert eval(run("--from", "x").output) == ((), {"start": "x"})
    assert run("--start", "x").output == run("--from", "x").output


def test_given_options_have_the_declared_types():
    given = [
        "--name",
        "x",
        "--from",
        "y",
        "--number",
        "3",
        "--size",
        "5x7",
        "--layers",
        "1,2,3",
        "--l2",
        "0",
    ]
    printed = run(*given, "--kind", "b", "--stride", "16", "--stay").output
    options = {
        "name": "x",
        "start": "y",
        "steps": 3,
        "size": (5, 7),
        "kind": "b",
        "stride": 16,
        "turn": False,
        "layers": (1, 2, 3),
        "l2": 0.0,
    }
    assert eval(printed) == ((), options)
    assert dataclasses.asdict(Declared(**options)) == options


def test_one_number_stands_for_both_sides():
    assert eval(run("--size", "9").output) == ((), {"size": (9, 9)})


def test_help_shows_defaults_ranges_and_choices():
    printed = " ".join(run("--help").output.split())
    for text in (
        "--name TEXT Name. --number",
        "--number INTEGER Steps. [more than 0 and at most 9]",
        "--size HEIGHTxWIDTH Size. [default: 8x6]",
        "--kind [a|b] Kind. [default: a]",
        "--stride [8|16] Stride. [default: 8]",
        "--turn / --stay Turn. [default: turn]",
        "--layers N,N,... Widths. [default: 4,2; at least 1]",
        "--l2 FLOAT Penalty. [default: 0.1; at least 0 and less than 1]",
    ):
        assert text in printed


@pytest.mark.parametrize(
    "option, value, message",
    [
        ("--number", "many", "'many': expected a whole number"),
        ("--number", "0", "0: expected more than 0 and at most 9"),
        ("--number", "10", "10: expected more than 0 and at most 9"),
        ("--l2", "1", "1.0: expected at least 0 and less than 1"),
        ("--l2", "nan", "nan: expected a finite number"),
        ("--l2", "a", "'a': expected a number"),
        ("--size", "5x", "'5x': expected HEIGHTxWIDTH"),
        ("--size", "5x6x7", "'5x6x7': expected HEIGHTxWIDTH"),
        ("--layers", "3,0", "(3, 0): expected at least 1"),
        ("--layers", "", "'': expected a value, not an empty text"),
        ("--layers", "3,", "'3,': expected N,N,..."),
        ("--kind", "c", "'c': expected one of a, b"),
        ("--stride", "9", "9: expected one of 8, 16"),
    ],
)
def test_a_wrong_value_is_one_line(option, value, message):
    stderr = run(option, value, status=2).stderr
    assert stderr == f"error: Invalid value for '{option}': {message}\n"


@pytest.mark.parametrize("renamed", [("--layer", "3,2"), ("--layer=3,2",)])
def test_an_old_name_works_and_prints_one_warning(renamed):
    result = run(*renamed)
    assert result.stderr == "warning: --layer is now called --layers\n"
    assert eval(result.stdout) == ((), {"layers": (3, 2)})


def test_an_old_name_of_a_flag():
    assert eval(run("--straight").stdout) == ((), {"turn": False})


def test_old_names_after_two_dashes_are_arguments():
    result = run("--", "--layer")
    assert eval(result.output) == (("--layer",), {}) and result.stderr == ""


def test_some_fields_and_other_help():
    @click.command()
    @options_of(Declared, ["stride", "l2"], stride="Another stride.")
    def some(**options):
        click.echo(options)

    assert [param.name for param in some.params] == ["stride", "l2"]
    printed = " ".join(CliRunner().invoke(some, ["--help"]).output.split())
    assert "Another stride. --l2" in printed


def test_names_of_options():
    names = [option_name(field) for field in dataclasses.fields(Declared)]
    assert names[:4] == ["--layers", "--l2", "--name", "--number"]
    assert names[-1] == "--turn/--stay"
