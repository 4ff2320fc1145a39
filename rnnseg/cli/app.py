"""The `rnnseg` command.

Every subcommand has a module of its own, which imports TensorFlow where it is used, so that help is
quick.
"""

import logging
import os

import click

from rnnseg.cli.base import Group
from rnnseg.cli.benchmark import benchmark
from rnnseg.cli.cost import cost
from rnnseg.cli.demo import demo
from rnnseg.cli.evaluate import evaluate
from rnnseg.cli.export import export
from rnnseg.cli.inspect import inspect
from rnnseg.cli.plan import plan
from rnnseg.cli.prepare import prepare
from rnnseg.cli.presets import presets
from rnnseg.cli.segment import segment
from rnnseg.cli.train import train
from rnnseg.cli.video import video


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rnnseg")
def main() -> None:
    """Semantic segmentation for any computational budget.

    Train once, then run as many iterations as the moment allows: each one adds to a canvas of class
    logits, and the prediction can be read after any of them.
    """
    # TensorFlow's notes on its own build; what goes wrong comes as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Pillow's notes on a damaged image, which are no more than its exception says.
    logging.getLogger("PIL").setLevel(logging.CRITICAL)


for _command in (
    prepare,
    inspect,
    train,
    evaluate,
    segment,
    presets,
    cost,
    benchmark,
    plan,
    export,
    video,
    demo,
):
    main.add_command(_command)
