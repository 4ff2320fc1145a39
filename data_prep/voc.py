"""PASCAL VOC 2012: `python -m data_prep.voc --devkit PATH --out DIR`."""

import click

from rnnseg.cli.base import Command
from rnnseg.errors import UserError

from .run import PATH, build_options, download_option, run


@click.command(
    cls=Command,
    epilog="""\b
    Examples:
      python -m data_prep.voc --devkit VOCdevkit --out data/voc
      python -m data_prep.voc --devkit VOCtrainval_11-May-2012.tar \\
        --sbd benchmark.tgz --out data/voc_augmented
      python -m data_prep.voc --config augmented --out data/voc_augmented
    """,
)
@click.option(
    "--devkit",
    type=PATH,
    metavar="PATH",
    help="VOCtrainval_11-May-2012.tar, or what it unpacks to: the VOC2012 folder or VOCdevkit "
    "above it. Not given: looked for in --download-dir, or downloaded to it (2 GB).",
)
@click.option(
    "--sbd",
    type=PATH,
    metavar="PATH",
    help="benchmark.tgz of the Semantic Boundaries Dataset, or what it unpacks to, for the split "
    "train_aug. Not given, with --config augmented: as --devkit (1.4 GB).",
)
@click.option(
    "--config",
    type=click.Choice(["segmentation", "augmented"]),
    help="segmentation: the kit's own splits. augmented: train_aug too, with the masks of SBD. "
    "Default: augmented if --sbd is given.",
)
@download_option
@build_options
def main(devkit, sbd, config, **options) -> None:
    """Turns PASCAL VOC 2012 into records.

    Splits: train, val, trainval; and train_aug, with --config augmented, or if the kit comes with
    SegmentationClassAug and ImageSets/Segmentation/train_aug.txt.
    """
    if sbd is not None and config == "segmentation":
        raise UserError("--sbd: of use only with --config augmented")
    config = config or ("segmentation" if sbd is None else "augmented")
    run("VocSegmentation", config=config, devkit=devkit, sbd=sbd, **options)


if __name__ == "__main__":
    main()
