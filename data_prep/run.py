"""The common options of all commands, and the run of a builder with its report."""

import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import click

from rnnseg.cli.parameters import EmptyText
from rnnseg.errors import UserError

from .common import absolute, some

# The type of all options for files and folders.
PATH = click.Path(path_type=pathlib.Path)

_SHOWN = 10  # the number of left-out images that are printed


def build_options(command: Callable) -> Callable:
    """Adds the options of every build, whose values `run` takes."""
    for option in reversed(
        (
            click.option(
                "--out", required=True, type=PATH, metavar="DIR", help="Folder for the records."
            ),
            click.option(
                "--processes",
                type=click.IntRange(1, 4096),
                default=_usable_cores,
                metavar="N",
                help="Number of processes; default: one per core.",
            ),
            click.option(
                "--beam",
                "beam_options",
                type=EmptyText(),
                metavar="OPTIONS",
                help="Build with Apache Beam, with these options, such as "
                "'--runner=DataflowRunner --project=NAME --region=NAME'.",
            ),
            click.option(
                "--skip-bad",
                is_flag=True,
                help="Leave out images that cannot be used, and list them.",
            ),
        )
    ):
        command = option(command)
    return command


def download_option(command: Callable) -> Callable:
    """Adds the option for the folder of published files."""
    return click.option(
        "--download-dir",
        type=PATH,
        default=lambda: pathlib.Path.home() / "tensorflow_datasets" / "downloads",
        metavar="DIR",
        help="Folder in which published files are found, or in its folder manual, if they are not "
        "given, and to which they are downloaded; default: ~/tensorflow_datasets/downloads.",
    )(command)


def run(
    builder: str,
    *,
    out: pathlib.Path,
    processes: int,
    beam_options: str | None,
    skip_bad: bool,
    download_dir: pathlib.Path | None = None,
    **arguments: Any,
) -> None:
    """Builds a data set and prints a report.

    Args:
      builder: the name of the class in `builders`.
      out: the folder to build below.
      processes: the number of processes.
      beam_options: the options of Apache Beam, as on a command line; None to build without it.
      skip_bad: True to leave out images that cannot be used.
      download_dir: the folder of published files and of downloads; None if all files are given.
      **arguments: other arguments of the builder.

    Raises:
      UserError: tensorflow-datasets is not installed, or an error of `building.build`.
    """
    builders, building = _load_builders()
    began = time.monotonic()
    instance = getattr(builders, builder)(
        data_dir=absolute(out),
        processes=processes,
        beam=beam_options is not None,
        skip_bad=skip_bad,
        **arguments,
    )
    folder, written = building.build(instance, out, download_dir, beam_options)
    _report(building, folder, time.monotonic() - began if written else None)


def _load_builders():
    """Imports the modules of the builders, which need tensorflow-datasets.

    Raises:
      UserError: tensorflow-datasets is not installed.
    """
    # Silences TensorFlow, which TFDS loads when it first writes; errors are exceptions anyway.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from . import builders, building
    except ImportError as error:
        raise UserError(
            f"building records needs tensorflow-datasets: pip install rnnseg[data] ({error})"
        ) from error
    return builders, building


def _report(building, folder: pathlib.Path, seconds: float | None) -> None:
    """Prints the contents of a build and the next commands.

    Args:
      building: the module.
      folder: the folder of the version.
      seconds: the time that building took; None if the build existed already.
    """
    info = building.load_build(folder).info
    out = folder.parents[2 if info.config_name else 1]
    if seconds is None:
        click.echo(f"Already built, nothing to do: {folder}")
    else:
        click.echo(f"Built {folder} in {seconds:.0f} s")
    names = info.metadata["class_names"]
    click.echo(f"  {len(names)} classes: {some(names, 8)}")
    full_sizes = info.metadata.get("full_sizes", {})
    for split, found in info.splits.items():
        of = full_sizes.get(split, found.num_examples)
        whole = "" if of == found.num_examples else f", of {of} in the full data set"
        click.echo(f"  {split}: {found.num_examples} images{whole}")
    for split, missing in building.stored_lists(folder, "missing").items():
        click.echo(
            f"{split}: {len(missing)} images are missing, all listed in "
            f"{folder / f'missing-{split}.txt'}: {some(missing)}"
        )
    for split, faults in building.stored_lists(folder, "left_out").items():
        click.echo(
            f"{split}: {len(faults)} images left out, all listed in "
            f"{folder / f'left_out-{split}.txt'}:"
        )
        for fault in faults[:_SHOWN]:
            click.echo(f"  {fault}")
    click.echo(f"Next:\n  rnnseg inspect {out}\n  rnnseg train --data {out} --out runs/{out.name}")


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
