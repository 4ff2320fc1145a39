"""Cityscapes: `python -m data_prep.cityscapes --root PATH --out DIR`."""

import click

from rnnseg.cli.base import Command

from .plans.cityscapes import CONFIGS, DOWNLOADS
from .run import PATH, build_options, download_option, run


@click.command(
    cls=Command,
    epilog=f"""\b
    Cityscapes hands out its archives to registered users:
      {DOWNLOADS}
    \b
    Examples:
      python -m data_prep.cityscapes --root downloads --out data/cityscapes
      python -m data_prep.cityscapes --root downloads --config coarse \\
        --out data/cityscapes_coarse
    """,
)
@click.option(
    "--root",
    type=PATH,
    metavar="DIR",
    help="The folder with leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip and, for coarse "
    "and both, gtCoarse.zip and leftImg8bit_trainextra.zip; or with the folders leftImg8bit, "
    "gtFine and gtCoarse that they unpack to. Not given: looked for in --download-dir.",
)
@click.option(
    "--config",
    type=click.Choice(list(CONFIGS)),
    default="fine",
    show_default=True,
    help="fine: Cityscapes' splits with their fine labels. coarse: train has the coarse labels of "
    "train and train_extra, val the fine ones of train and val, whose images are partly the "
    "same. both: train has the fine labels of train and the coarse ones of train_extra.",
)
@download_option
@build_options
def main(root, config, **options) -> None:
    """Turns Cityscapes into records.

    Splits: train, val; and test, with --config fine or both and if it is there, whose labels are
    published as dummies.
    """
    run("CityscapesSegmentation", config=config, root=root, **options)


if __name__ == "__main__":
    main()
