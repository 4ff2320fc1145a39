"""The command `rnnseg prepare voc`, for PASCAL VOC 2012."""

import click

from rnnseg.cli.base import Command
from rnnseg.errors import UserError

from .run import PATH, build_options, download_option, run


@click.command(
    cls=Command,
    epilog="""\b
    Examples:
      rnnseg prepare voc --devkit VOCdevkit --out data/voc
      rnnseg prepare voc --devkit VOCtrainval_11-May-2012.tar \\
        --sbd benchmark.tgz --out data/voc_augmented
      rnnseg prepare voc --config augmented --out data/voc_augmented
    """,
)
@click.option(
    "--devkit",
    type=PATH,
    metavar="PATH",
    help="VOCtrainval_11-May-2012.tar, or its contents: the folder VOC2012, or VOCdevkit above it. "
    "Default: found in --download-dir, or downloaded to it (2 GB).",
)
@click.option(
    "--sbd",
    type=PATH,
    metavar="PATH",
    help="benchmark.tgz of the Semantic Boundaries Dataset, or the folder it unpacks to, for the "
    "split train_aug. Default with --config augmented: as for --devkit (1.4 GB).",
)
@click.option(
    "--config",
    type=click.Choice(["segmentation", "augmented"]),
    help="segmentation: the splits of the kit. augmented: the split train_aug, too, with the masks "
    "of SBD. Default: augmented if --sbd is given, else segmentation.",
)
@download_option
@build_options
def main(devkit, sbd, config, **options) -> None:
    """Build PASCAL VOC 2012.

    The splits are train, val and trainval, and train_aug with --config augmented or if the kit has
    SegmentationClassAug and ImageSets/Segmentation/train_aug.txt.
    """
    if sbd is not None and config == "segmentation":
        raise UserError("--sbd: needs --config augmented")
    config = config or ("segmentation" if sbd is None else "augmented")
    run("VocSegmentation", config=config, devkit=devkit, sbd=sbd, **options)


if __name__ == "__main__":
    main()
