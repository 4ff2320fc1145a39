"""The command `rnnseg prepare coco`, for COCO with the classes of PASCAL VOC."""

import click

from rnnseg.cli.base import Command

from .plans.coco import YEARS
from .run import PATH, build_options, download_option, run


@click.command(
    cls=Command,
    epilog="""\b
    Examples:
      rnnseg prepare coco --root coco --out data/coco
      rnnseg prepare coco --out data/coco
    """,
)
@click.option(
    "--root",
    type=PATH,
    metavar="PATH",
    help="Folder of annotations_trainval2017.zip, train2017.zip and val2017.zip, or of their "
    "contents. Default: found in --download-dir, or downloaded to it (20 GB).",
)
@click.option(
    "--config",
    type=click.Choice(YEARS),
    default=YEARS[0],
    show_default=True,
    help="Year of the split: both years divide the same images differently.",
)
@download_option
@build_options
def main(root, config, **options) -> None:
    """Build COCO with the classes of PASCAL VOC.

    The splits are train and val. Images with at most 1000 labelled pixels are left out. Crowds are
    ignored. Where instances overlap, the smaller one is on top.
    """
    run("CocoSegmentation", config=config, root=root, **options)


if __name__ == "__main__":
    main()
