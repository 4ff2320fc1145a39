"""`rnnseg export`: writes a model for servers and devices."""

import os

import click
from click.core import ParameterSource

from rnnseg.cli.base import Command
from rnnseg.cli.models import default_model, optional_model
from rnnseg.cli.parameters import SizeOrAny
from rnnseg.errors import UserError
from rnnseg.pretrained.names import is_preset

# What a page needs of a command that exports nothing.
_OF_PAGES = ("model", "web", "overwrite")


@click.command(cls=Command, renamed={"--pictures": "--images"})
@optional_model
@click.option("--out", type=click.Path(file_okay=False), help="Folder to write to.")
@click.option(
    "--web",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Write a page for browsers with the model, too; without --out, with an exported file or a "
    "preset.",
)
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
@click.option("--overwrite", is_flag=True, help="Replace an earlier export, and page.")
@click.pass_context
def export(
    context, model, out, web, size, quantize, with_onnx, data, split, images, limit, overwrite
):
    r"""Write a SavedModel and LiteRT files for devices, and compare them with the model.

    \b
    rnnseg export runs/camvid --out exported/camvid --quantize float16,int8
    rnnseg export runs/voc/best.keras --size 513x513 --images photos --out exported/voc
    rnnseg export mobilenet_v2_voc --size 513x513 --images photos --out exported/pretrained
    rnnseg export exported/camvid/anytime_int8.tflite --web page
    """
    from rnnseg.exporting import web_page

    if out is None and web is None:
        raise UserError("--out is missing: expected a folder to write to, or one by --web")
    model = model or default_model()
    if out is None:
        _refuse_others(context)
        if not model.endswith(".tflite") and not is_preset(model):
            raise UserError(f"{model} is no LiteRT file: give --out, too, to export it first")
    if web is not None:
        web_page.check_page(web, overwrite)
    if out is None:
        click.echo(f"wrote {web} with {web_page.write_page(model, web, overwrite)}")
        return
    if web is not None and size == "any":
        raise UserError("--size any: expected a size, such as 360x480, since --web needs one")

    from rnnseg import export_model
    from rnnseg.models.loading import load_model

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
    if web is not None:
        name = "anytime_int8.tflite" if "int8" in kinds else "anytime.tflite"
        web_page.write_page(os.path.join(out, name), web, overwrite)
        click.echo(f"wrote {web} with {name}")


def _refuse_others(context: click.Context) -> None:
    """Raises a UserError for options of an export where there is none."""
    for option in context.command.params:
        given = context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
        if given and option.name not in _OF_PAGES:
            raise UserError(f"{option.opts[0]} without --out: give the folder of the export, too")
