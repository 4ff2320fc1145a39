"""The command `rnnseg prepare folder`, for any folders of images and masks."""

import click

from rnnseg.cli.base import Command

from .masks import ENCODINGS
from .run import PATH, build_options, run


@click.command(
    cls=Command,
    epilog="""\b
    Examples:
      rnnseg prepare folder --images photos --masks labels \\
        --classes class_dict.csv --split val=0.2 --out data/mine
      rnnseg prepare folder --images camvid/train --masks camvid/trainannot \\
        --val-images camvid/val --val-masks camvid/valannot \\
        --classes experiments/camvid_classes.txt --ignore 11 --out data/camvid
    """,
)
@click.option(
    "--images",
    required=True,
    type=PATH,
    metavar="DIR",
    help="Folder of the images, also in folders below it. They are the split train, unless --split "
    "divides them.",
)
@click.option(
    "--masks",
    required=True,
    type=PATH,
    metavar="PATH",
    help="Folder of their masks, PNG, at the same paths, or of a JSON file of labelme or "
    "Supervisely for each image. It may be the folder of the images. Or COCO's JSON file.",
)
@click.option("--val-images", type=PATH, metavar="DIR", help="Folder of the images of val.")
@click.option("--val-masks", type=PATH, metavar="PATH", help="The masks of val, as in --masks.")
@click.option(
    "--split",
    multiple=True,
    metavar="NAME=WHAT",
    help="Takes a split out of --images. WHAT is a ratio such as 0.2, or a text file with one "
    "image per line. The remaining images are train, unless train has a list, too. Can be given "
    "several times.",
)
@click.option(
    "--classes",
    required=True,
    type=PATH,
    metavar="FILE",
    help="A text file with one class per line, in the order of the labels: name, name R G B or "
    "R G B name; # starts a comment. Or a table, .csv with a header line or .json, with the column "
    "name and, optionally, index, r, g, b. Or the file of an annotation tool: CVAT's labelmap.txt, "
    "Roboflow's _classes.csv, Supervisely's meta.json, COCO's annotations.",
)
@click.option(
    "--ignore",
    multiple=True,
    metavar="VALUE",
    help="Value that stands for no class in the masks: an index, R,G,B in colour masks, or a name "
    "in JSON files. Can be given several times.",
)
@click.option(
    "--remap",
    multiple=True,
    metavar="VALUE=CLASS",
    help="Makes an index, R,G,B in colour masks, or a name in JSON files stand for the class of "
    "this name, or for no class if this is ignore. Can be given several times.",
)
@click.option(
    "--mask-suffix",
    default="",
    metavar="TEXT",
    help="Suffix that the names of masks have before the ending and images lack, such as _L. "
    "Default: none; beside the images, the usual ones are found.",
)
@click.option(
    "--mask-encoding",
    type=click.Choice(ENCODINGS),
    default="auto",
    show_default=True,
    help="index: masks hold class indices, as grey values or indices of a palette. color: they "
    "hold the colours of the classes, as grey, palette or RGB. auto: colours if RGB, else indices.",
)
@build_options
def main(out, processes, beam_options, skip_bad, **folders) -> None:
    """Build a data set from folders of images and masks.

    Every value or colour in the masks must be one of the classes, unless --ignore or the table
    marks it as ignored.
    """
    run(
        "SegmentationFolder",
        out=out,
        processes=processes,
        beam_options=beam_options,
        skip_bad=skip_bad,
        folders=folders,
    )


if __name__ == "__main__":
    main()
