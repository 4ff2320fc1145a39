"""`rnnseg export`: writes a model for servers and devices."""

import click

from rnnseg.cli.base import Command
from rnnseg.cli.models import default_model, optional_model
from rnnseg.cli.parameters import SizeOrAny


@click.command(cls=Command, renamed={"--pictures": "--images"})
@optional_model
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Folder to write to.")
@click.option(
    "--size",
    type=SizeOrAny(),
    help="Size of the LiteRT files' images.  [default: the run's crop, else 513x513]",
)
@click.option(
    "--quantize", default="", metavar="KIND,...", help="float16, dynamic or int8, beside float32."
)
@click.option(
    "--onnx", "with_onnx", is_flag=True, help="Write segment.onnx, too (needs the extra onnx)."
)
@click.option("--data", help="Labelled data to calibrate and compare on.  [default: the run's]")
@click.option("--split", default="val", show_default=True, help="Split to compare on.")
@click.option(
    "--images",
    multiple=True,
    metavar="FILE_OR_FOLDER",
    help="Images without labels, in place of --data; can be given several times.",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    default=32,
    show_default=True,
    help="The most images to calibrate on, and the most to compare on.",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier export.")
def export(model, out, size, quantize, with_onnx, data, split, images, limit, overwrite):
    r"""Write a SavedModel and LiteRT files for devices, and compare them with the model.

    \b
    rnnseg export runs/camvid --out exported/camvid --quantize float16,int8
    rnnseg export runs/voc/best.keras --size 513x513 --images photos --out exported/voc
    rnnseg export mobilenet_v2_voc --size 513x513 --images photos --out exported/pretrained
    """
    from rnnseg import export_model
    from rnnseg.models.loading import load_model

    model = model or default_model()
    kinds = [kind.strip() for kind in quantize.split(",") if kind.strip()]
    result = export_model(
        load_model(model),
        out,
        size,
        kinds,
        data,
        split,
        images,
        limit,
        overwrite,
        with_onnx,
        on_progress=click.echo,
    )
    click.echo()
    click.echo(result.table())
    for line in result.missed():
        click.echo(f"warning: {line}", err=True)
    click.echo(f"wrote {out}")
