"""Anyone's own images and masks: `python -m data_prep.folder --images DIR --masks DIR …`."""

import click

from rnnseg.cli.base import Command

from .masks import ENCODINGS
from .run import PATH, build_options, run


@click.command(
    cls=Command,
    epilog="""\b
    Examples:
      python -m data_prep.folder --images photos --masks labels \\
        --classes class_dict.csv --split val=0.2 --out data/mine
      python -m data_prep.folder --images camvid/train --masks camvid/trainannot \\
        --val-images camvid/val --val-masks camvid/valannot \\
        --classes experiments/camvid_classes.txt --ignore 11 --out data/camvid
    """,
)
@click.option(
    "--images",
    required=True,
    type=PATH,
    metavar="DIR",
    help="Images, JPEG or PNG; folders below it count. The split train, unless --split says "
    "otherwise.",
)
@click.option(
    "--masks",
    required=True,
    type=PATH,
    metavar="DIR",
    help="Their masks, PNG, at the same paths.",
)
@click.option("--val-images", type=PATH, metavar="DIR", help="Images of the split val.")
@click.option("--val-masks", type=PATH, metavar="DIR", help="Masks of the split val.")
@click.option(
    "--split",
    multiple=True,
    metavar="NAME=WHAT",
    help="Takes a split out of --images: WHAT is a ratio such as 0.2, or a text file that lists "
    "images, one a line. What is left is train, unless train has a list too. Can be given "
    "several times.",
)
@click.option(
    "--classes",
    required=True,
    type=PATH,
    metavar="FILE",
    help="A text file with one class a line, in the order of the labels: name, name R G B or "
    "R G B name; # starts a comment. Or a table, .csv with a header line or .json, with name and, "
    "if need be, index, r, g, b.",
)
@click.option(
    "--ignore",
    multiple=True,
    metavar="VALUE",
    help="What stands for no class in the masks: an index, or R,G,B in colour masks. Can be given "
    "several times.",
)
@click.option(
    "--remap",
    multiple=True,
    metavar="VALUE=CLASS",
    help="Makes an index, or R,G,B in colour masks, stand for the class of that name, or for no "
    "class: ignore. Can be given several times.",
)
@click.option(
    "--mask-suffix",
    default="",
    metavar="TEXT",
    help="What the masks' names have more than the images', before the ending, such as _L.",
)
@click.option(
    "--mask-encoding",
    type=click.Choice(ENCODINGS),
    default="auto",
    show_default=True,
    help="index: masks hold class indices (grey, or a palette's indices). color: they hold the "
    "classes' colours, as grey or RGB. auto: colours if RGB, else indices.",
)
@build_options
def main(out, processes, beam_options, skip_bad, **folders) -> None:
    """Turns images and masks from folders into records.

    Nothing is ignored unless --ignore or the table says so: any other value or colour in the masks
    has to be one of the classes.
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
