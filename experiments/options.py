"""Command-line options that several experiments share."""

import pathlib
from collections.abc import Callable, Iterable, Sequence

import click

from rnnseg.cli.parameters import IterationNumbers
from rnnseg.errors import UserError

_DATA_HELP = "Folder that rnnseg prepare built."


def _together(*options: Callable) -> Callable[[Callable], Callable]:
    """Returns one decorator for several, in the order of the help."""

    def add(command: Callable) -> Callable:
        for option in reversed(options):
            command = option(command)
        return command

    return add


# One model and the images to run it on: `model, data, split`.
model_and_data = _together(
    click.argument("model", metavar="RUN_OR_MODEL"),
    click.option("--data", required=True, help=_DATA_HELP),
    click.option("--split", default="val", show_default=True, help="Split to run on."),
)
# Several models to evaluate on the same images: `models, data, split`.
models_and_data = _together(
    click.argument("models", metavar="RUN_OR_MODEL...", nargs=-1, required=True),
    click.option("--data", required=True, help=_DATA_HELP),
    click.option("--split", default="val", show_default=True, help="Split to evaluate on."),
)
# Trainings that differ in one respect: `recipe, data, weights, out`.
training = _together(
    click.option("--recipe", required=True, help="camvid, voc, or a Python file."),
    click.option("--data", required=True, help=_DATA_HELP),
    click.option(
        "--weights", help="Encoder weights: a file, or imagenet.  [default: the recipe's]"
    ),
    click.option(
        "--out",
        required=True,
        type=click.Path(path_type=pathlib.Path),
        help="Folder for all runs.",
    ),
)
# The number of an image in the split, and a strip of its class maps: `strip, chosen_number`.
strip = _together(
    click.option(
        "--strip",
        type=click.Path(),
        help="PNG file: the class maps of one image, one per iteration.",
    ),
    click.option(
        "--image",
        "chosen_number",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Number of that image in the split, from 0.",
    ),
)
classes = click.option(
    "--classes", metavar="NAME,NAME,...", help="Classes of objects.  [default: all but background]"
)
# A figure and a table of its numbers: `out`, a PNG file.
figure = click.option(
    "--out",
    type=click.Path(path_type=pathlib.Path),
    required=True,
    help="PNG file; a CSV file of the same name is written beside it.",
)


def iteration_numbers(default: str) -> Callable:
    """Returns the option `--iterations`, several numbers of iterations.

    Args:
      default: such as "1-12" or "1,2,6".
    """
    return click.option(
        "--iterations",
        type=IterationNumbers(),
        default=default,
        show_default=True,
        help="Numbers of iterations, such as 6, 1-12 or 1,2,6.",
    )


def iterations(default: int, help: str = "Number of iterations.") -> Callable:
    """Returns the option `--iterations`, one number of iterations.

    Args:
      default: the number.
      help: the help text.
    """
    return _count("--iterations", default, help)


def repeats(default: int) -> Callable:
    """Returns the option `--repeats`, the number of repetitions.

    Args:
      default: the number.
    """
    return _count("--repeats", default, "Number of repetitions.")


def threads(default: Sequence[int]) -> Callable:
    """Returns the option `--threads`, numbers of threads; it may be repeated.

    Args:
      default: the numbers.
    """
    return click.option(
        "--threads",
        type=click.IntRange(min=1),
        multiple=True,
        default=default,
        show_default=True,
        help="Number of threads; may be repeated.",
    )


def table(default: str | None = None) -> Callable:
    """Returns the option `--out` of a table and its figure.

    Args:
      default: the path without its ending; None: the option is required.
    """
    return click.option(
        "--out",
        type=click.Path(),
        required=default is None,
        default=default,
        show_default=True,
        help="OUT.csv and OUT.png are written.",
    )


def chosen_names(names: str | None, known: Iterable[str], option: str, separator: str) -> list[str]:
    """Returns the known names that an option lists, in their order; all of them for None.

    Args:
      names: the value of the option.
      known: the names that there are.
      option: the name of the option.
      separator: the text between two names.

    Raises:
      UserError: a name that is not known.
    """
    known = list(known)
    chosen = known if names is None else [name.strip() for name in names.split(separator)]
    for name in chosen:
        if name not in known:
            expected = f"{separator} ".join(known)
            raise UserError(f"{option}: {name!r}: expected some of {expected}")
    return [name for name in known if name in chosen]


def _count(name: str, default: int, help: str) -> Callable:
    return click.option(
        name, type=click.IntRange(min=1), default=default, show_default=True, help=help
    )
