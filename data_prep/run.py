"""From options to records: what all commands begin and end with."""

import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import click

from rnnseg.errors import UserError

from .common import absolute, some

# The type of all options that are files or folders.
PATH = click.Path(path_type=pathlib.Path)

_SHOWN = 10  # left-out images that are printed


def build_options(command: Callable) -> Callable:
    """Adds the options that say where and how to build; `run` takes their values."""
    for option in reversed(
        (
            click.option(
                "--out", required=True, type=PATH, metavar="DIR", help="Where the records go."
            ),
            click.option(
                "--processes",
                type=click.IntRange(1),
                default=_usable_cores,
                metavar="N",
                help="How many processes to work on; default: one a core.",
            ),
            click.option(
                "--beam",
                "beam_options",
                metavar="OPTIONS",
                help="Build with Apache Beam instead, with its own options, such as "
                "'--runner=DirectRunner --direct_num_workers=4'.",
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
    """Adds the option that says where published files lie."""
    return click.option(
        "--download-dir",
        type=PATH,
        default=lambda: pathlib.Path.home() / "tensorflow_datasets" / "downloads",
        metavar="DIR",
        help="Where published files that are not given lie, in it or in the folder manual below, "
        "and where they are downloaded to; default: ~/tensorflow_datasets/downloads.",
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
    """Builds a data set and prints what is there then.

    Args:
      builder: name of the class in `data_prep.builders`.
      out: the folder to build below.
      processes: how many to work on.
      beam_options: those of Apache Beam, as on a command line; None: build without it.
      skip_bad: whether to leave out images that cannot be used.
      download_dir: where published files lie or are downloaded to; None: all files are given.
      **arguments: the builder's own.

    Raises:
      UserError: tensorflow-datasets is not installed, or as `data_prep.building.build`.
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
    """The modules of the builders, which need tensorflow-datasets.

    Raises:
      UserError: that is not installed.
    """
    # For TensorFlow, which TFDS loads when it first writes: errors come as exceptions anyway.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from . import builders, building
    except ImportError as error:
        raise UserError(
            f"building records needs tensorflow-datasets: pip install rnnseg[data] ({error})"
        ) from error
    return builders, building


def _report(building, folder: pathlib.Path, seconds: float | None) -> None:
    """Prints what is in `folder` now and what to do with it.

    Args:
      building: the module.
      folder: the version's folder.
      seconds: how long building took; None: it was there already.
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
