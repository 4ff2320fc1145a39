"""From a plan to records: what all commands end with."""

import os
import pathlib

import click

from data_prep.common import Plan, some
from data_prep.masks import MaskReader
from rnnseg.errors import UserError


def run(builder: str, plan: Plan, masks: MaskReader, out: pathlib.Path) -> None:
    """Builds what a plan says and prints what is there then.

    Args:
      builder: name of the class in `data_prep.builders`.
      plan: what to build.
      masks: reads the masks of all pairs.
      out: the folder to build below.

    Raises:
      UserError: tensorflow-datasets is not installed, or as `data_prep.builders.build`.
    """
    builders = _load_builders()
    folder, written = builders.build(getattr(builders, builder), plan, masks, out)
    _report(plan, folder, written)


def _load_builders():
    """The module of the builders, which needs tensorflow-datasets.

    Raises:
      UserError: that is not installed.
    """
    # For TensorFlow, which TFDS loads when it first writes: errors come as exceptions anyway.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from data_prep import builders
    except ImportError as error:
        raise UserError(
            f"building records needs tensorflow-datasets: pip install rnnseg[data] ({error})"
        ) from error
    return builders


def _report(plan: Plan, folder: pathlib.Path, written: bool) -> None:
    """Prints what is in `folder` now and what to do with it.

    Args:
      plan: what was built.
      folder: the version's folder, in `--out`/name.
      written: whether it was built now, or was there already.
    """
    out = folder.parents[1]
    click.echo(f"{'Built' if written else 'Already built, nothing to do:'} {folder}")
    click.echo(f"  {len(plan.class_names)} classes: {some(plan.class_names, 8)}")
    for split, pairs in plan.splits.items():
        click.echo(f"  {split}: {len(pairs)} pictures")
    click.echo(f"Next:\n  rnnseg inspect {out}\n  rnnseg train --data {out} --out runs/{out.name}")
