"""The command `rnnseg prepare cityscapes`."""

import click

from rnnseg.cli.base import Command

from .plans.cityscapes import CONFIGS, DOWNLOADS
from .run import PATH, build_options, download_option, run


@click.command(
    cls=Command,
    epilog=f"""\b
    Cityscapes provides its archives to registered users:
      {DOWNLOADS}
    \b
    Examples:
      rnnseg prepare cityscapes --root downloads --out data/cityscapes
      rnnseg prepare cityscapes --root downloads --config coarse \\
        --out data/cityscapes_coarse
    """,
)
@click.option(
    "--root",
    type=PATH,
    metavar="DIR",
    help="Folder of leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip and, for coarse and "
    "both, gtCoarse.zip and leftImg8bit_trainextra.zip; or of the folders leftImg8bit, gtFine and "
    "gtCoarse that they unpack to. Default: found in --download-dir.",
)
@click.option(
    "--config",
    type=click.Choice(list(CONFIGS)),
    default="fine",
    show_default=True,
    help="fine: the splits of Cityscapes with fine labels. coarse: train has the coarse labels of "
    "train and train_extra, val the fine labels of train and val; the images of train are in both. "
    "both: train has the fine labels of train and the coarse labels of train_extra.",
)
@download_option
@build_options
def main(root, config, **options) -> None:
    """Build Cityscapes.

    The splits are train and val, and test with --config fine or both if its files exist. The
    published labels of test are dummies.
    """
    run("CityscapesSegmentation", config=config, root=root, **options)


if __name__ == "__main__":
    main()
