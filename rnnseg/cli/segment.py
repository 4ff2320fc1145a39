"""`rnnseg segment`: segments image files."""

import time
from collections.abc import Sequence

import click

from rnnseg.bulk import FORMATS
from rnnseg.cli.base import Command
from rnnseg.cli.budgets import budget_of, budget_options
from rnnseg.cli.large_images import large_image_options
from rnnseg.cli.litert import is_litert, open_model, refuse_options
from rnnseg.cli.models import split_model
from rnnseg.cli.parameters import MOST_ITERATIONS, EmptyText
from rnnseg.errors import UserError


@click.command(cls=Command)
@click.argument("arguments", metavar="[MODEL_OR_TFLITE] IMAGE...", nargs=-1, required=True)
@click.option(
    "--iterations",
    type=click.IntRange(1, MOST_ITERATIONS),
    help="Number of iterations.  [default: as in training]",
)
@budget_options
@click.option("--every-iteration", is_flag=True, help="Also write a strip of all iterations.")
@click.option(
    "--stop-when-settled", is_flag=True, help="Skip iterations that would hardly change anything."
)
@large_image_options
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace files of an earlier call, and remove its strips if none are drawn.",
)
@click.option(
    "--beam",
    type=EmptyText(),
    metavar="OPTIONS",
    help="Segment on Apache Beam, with these options, such as '--runner=DataflowRunner "
    "--project=NAME'; writes class maps alone.",
)
@click.option(
    "--format",
    type=click.Choice(FORMATS),
    help=f"With --beam: a PNG for each image, or TFRecord files.  [default: {FORMATS[0]}]",
)
@click.option(
    "--labels",
    type=click.Path(),
    help="With --beam: folder of labels to score with, PNGs of class indices.",
)
@click.option(
    "--out",
    default="segmented",
    show_default=True,
    type=click.Path(file_okay=False),
    help="Folder to write to.",
)
def segment(arguments, iterations, gmacs, milliseconds, every_iteration, stop_when_settled,
            tile, max_size, overwrite, beam, format, labels, out):  # fmt: skip
    r"""Segment images, folders of images, or patterns.

    MODEL is a run, a .keras or .tflite file, or a preset (rnnseg presets). Where none is named, it
    is the default preset, which knows the classes of PASCAL VOC.

    Prints the classes of every image with their shares, and the milliseconds from its pixels to its
    class map.

    A budget of multiply-adds or milliseconds pays for the number of iterations, and the scale of
    the image, that scored best by `rnnseg evaluate`.

    \b
    rnnseg segment photo.jpg
    rnnseg segment runs/camvid street.jpg --iterations 6 --out segmented
    rnnseg segment runs/camvid street.jpg --milliseconds 50 --out segmented
    rnnseg segment runs/camvid street.jpg --iterations 12 --stop-when-settled --out segmented
    rnnseg segment runs/camvid 'photos/*.jpg' --every-iteration --out segmented
    rnnseg segment runs/camvid 'photos/*.jpg' --max-size 2048 --out segmented
    rnnseg segment exported/anytime_int8.tflite street.jpg --out segmented
    rnnseg segment runs/camvid files.txt --beam '--direct_num_workers=4' --out maps
    """
    if every_iteration and stop_when_settled:
        raise UserError(
            "--every-iteration shows all iterations, --stop-when-settled skips some: give one of "
            "them"
        )
    model, images = split_model(arguments)
    if not images:
        raise UserError(f"IMAGE is missing: give images after the model {model}")
    budget = budget_of(iterations=iterations, gmacs=gmacs, milliseconds=milliseconds)

    if is_litert(model):
        refuse_options(
            model,
            "segment with the run that it was exported from",
            stop_when_settled=stop_when_settled,
            tile=tile,
            max_size=max_size,
        )

    if beam is not None:
        refused = dict(every_iteration=every_iteration, overwrite=overwrite)
        for name, value in refused.items():
            if value:
                raise UserError(
                    f"--{name.replace('_', '-')}: --beam writes class maps alone, and goes on "
                    "where an earlier call ended; leave it out"
                )
        _segment_on_beam(
            beam, model, images, out, budget, stop_when_settled, tile, max_size, format, labels
        )
        return
    for name, value in (("format", format), ("labels", labels)):
        if value is not None:
            raise UserError(f"--{name} is for --beam: give both, or leave it out")

    from rnnseg.data.images import find_images
    from rnnseg.inference.image_files import segment_files
    from rnnseg.inference.predictor import Predictor

    files = find_images(images)
    predictor: Predictor
    if is_litert(model):
        from rnnseg.inference.file_predictor import FilePredictor

        predictor = FilePredictor(open_model(model))
    else:
        predictor = Predictor.load(model, tile=tile, max_size=max_size)
    done = segment_files(
        predictor,
        files,
        out,
        budget,
        every_iteration,
        overwrite,
        stop_when_settled,
        on_image=click.echo,
    )
    scales = [each.scale for each in done.settings]
    click.echo(
        f"wrote {len(done.files)} files to {out}, such as {done.files[-1].name}; iterations: "
        + ("at most " if stop_when_settled else "")
        + _range(done.iterations)
        + ("" if set(scales) == {1} else f"; images scaled by {_range(scales)}")
    )


def _segment_on_beam(
    options, model, images, out, budget, stop_when_settled, tile, max_size, form, labels
) -> None:
    """Segments very many images, and prints the scores if there are labels."""
    from rnnseg.bulk import beam

    beam.read_options(options)  # before anything that takes long
    from rnnseg.bulk.job import Job
    from rnnseg.bulk.pipeline import FAULTS, SUMMARY, segment_in_bulk
    from rnnseg.bulk.storage import find_inputs, join

    job = Job(
        model=model,
        out=out,
        images=tuple(find_inputs(images)),
        budget=budget,
        stop_when_settled=stop_when_settled,
        tile=tile,
        max_size=max_size,
        form=form or FORMATS[0],
        labels=labels,
    )
    began = time.monotonic()
    summary, done_before = segment_in_bulk(job, options)
    seconds = time.monotonic() - began
    if done_before:
        click.echo(f"{done_before} of {summary.shards} shards were done before")
    if summary.damaged:
        click.echo(f"{summary.damaged} images or labels cannot be used: {join(out, FAULTS)}")
    if summary.miou is not None and summary.pixel_accuracy is not None:
        click.echo(
            f"{summary.scored} images scored: {100 * summary.miou:.2f} % mIoU, "
            f"{100 * summary.pixel_accuracy:.2f} % of the pixels; classes in {join(out, SUMMARY)}"
        )
    click.echo(f"wrote {summary.images} class maps to {out} in {seconds:.0f} s")


def _range(values: Sequence[float]) -> str:
    return " to ".join(f"{each:g}" for each in sorted({min(values), max(values)}))
