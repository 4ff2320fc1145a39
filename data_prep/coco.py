"""COCO as classes of PASCAL VOC: `python -m data_prep.coco --root PATH --out DIR`."""

import click

from rnnseg.cli.base import Command

from .plans.coco import YEARS
from .run import PATH, build_options, download_option, run


@click.command(
    cls=Command,
    epilog="""\b
    Examples:
      python -m data_prep.coco --root coco --out data/coco
      python -m data_prep.coco --out data/coco
    """,
)
@click.option(
    "--root",
    type=PATH,
    metavar="PATH",
    help="The folder of annotations_trainval2017.zip, train2017.zip and val2017.zip, or of what "
    "they unpack to. Not given: looked for in --download-dir, or downloaded to it (20 GB).",
)
@click.option(
    "--config",
    type=click.Choice(YEARS),
    default=YEARS[0],
    show_default=True,
    help="The year, by which the same images are split in another way.",
)
@download_option
@build_options
def main(root, config, **options) -> None:
    """Turns COCO's instances into records with the classes of PASCAL VOC.

    Splits: train, val. Images with 1000 labelled pixels or fewer are left out. Crowds are
    ignored. Where instances overlap, the smaller one is on top.
    """
    run("CocoSegmentation", config=config, root=root, **options)


if __name__ == "__main__":
    main()
