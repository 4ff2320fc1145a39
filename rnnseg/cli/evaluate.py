"""`rnnseg evaluate`: scores a model at many numbers of iterations."""

import os
import pathlib
import shlex
from typing import Any

import click

from rnnseg.cli.base import Command
from rnnseg.cli.derived import options_of
from rnnseg.cli.litert import is_litert, open_model, refuse_options
from rnnseg.cli.models import default_model, optional_model
from rnnseg.cli.parameters import SCALES, IterationNumbers
from rnnseg.errors import UserError
from rnnseg.models.options import ModelOptions
from rnnseg.training.config import DATA_HELP


@click.command(cls=Command)
@optional_model
@click.option("--data", required=True, help=DATA_HELP)
@click.option("--split", default="val", show_default=True, help="Split to evaluate on.")
@click.option(
    "--iterations",
    type=IterationNumbers(),
    help="Numbers of iterations, such as 6, 1-12 or 1,2,6.  [default: 1-12; 1 if feed-forward]",
)
@options_of(
    ModelOptions,
    ["output_stride"],
    output_stride="Evaluate at another output stride than the trained one.",
)
@click.option(
    "--image-scales",
    type=SCALES,
    default="1",
    show_default=True,
    help="Score every number of iterations at each of these scales of the images, such as "
    "0.5,0.75,1; budgets choose among them.",
)
@click.option(
    "--scales",
    type=SCALES,
    default="1",
    show_default=True,
    help="Average the logits over several scales, such as 0.5,1,1.5.",
)
@click.option("--flip", is_flag=True, help="Average over mirrored images, too.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(),
    help="File for all scores.  [default: scores_SPLIT.json beside the model]",
)
@click.option(
    "--curve",
    type=click.Path(),
    help="Image of the speed-accuracy curve.  [default: curve_SPLIT.png beside the model]",
)
@click.option(
    "--report",
    "page",
    type=click.Path(),
    help="Page with curves, confusion matrix, and the best and worst images; its images go to a "
    "folder of the same name.  [default: report_SPLIT.html beside the model]",
)
@click.option(
    "--tensorboard",
    metavar="LOGDIR",
    type=click.Path(file_okay=False),
    help="Also write event files to this folder, in LOGDIR/RUN/SPLIT.",
)
def evaluate(model, data, split, iterations, output_stride, image_scales, scales, flip, json_file,
             curve, page, tensorboard):  # fmt: skip
    r"""Score a model at many numbers of iterations, in one pass over the images for each scale.

    \b
    rnnseg evaluate runs/camvid --data data/camvid --split val --iterations 1-12
    rnnseg evaluate runs/camvid --data data/camvid --image-scales 0.5,0.75,1
    rnnseg evaluate runs/camvid --data data/camvid --tensorboard evaluations
    rnnseg evaluate exported/anytime_int8.tflite --data data/camvid
    rnnseg evaluate mobilenet_v2_voc --data data/voc
    rnnseg evaluate runs/camvid --data data/camvid --scales 0.5,0.75,1,1.25,1.5,1.75 --flip
    """
    model = model or default_model()
    image_scales = sorted(set(image_scales))
    averaged = scales != (1,) or flip
    if averaged and image_scales != [1]:
        raise UserError(
            "--image-scales scores each scale by itself, --scales and --flip average over views: "
            "evaluate them one after the other"
        )

    if is_litert(model):
        refuse_options(
            model,
            "evaluate the run that it was exported from",
            output_stride=output_stride,
            image_scales=image_scales != [1],
            scales=scales != (1,),
            flip=flip,
            tensorboard=tensorboard,
        )

    from rnnseg import files
    from rnnseg.data import open_source
    from rnnseg.evaluation import report, report_page
    from rnnseg.evaluation.evaluator import Evaluator
    from rnnseg.training.runs import Run

    source = open_source(data)
    source.require_split(split)
    segmenter: Any = open_model(model)
    if output_stride:
        segmenter = segmenter.at_output_stride(output_stride)
    iterations = iterations or (range(1, 13) if segmenter.recurrent else (1,))
    # Another stride or several views do not replace the model's own scores. Its operating points
    # differ in the number of iterations and the scale of the images.
    name = f"{split}_stride{output_stride}" if output_stride else split
    name += "" if scales == (1,) else f"_scales{'-'.join(f'{scale:g}' for scale in scales)}"
    name += "_flip" if flip else ""
    curve = curve or files.beside(model, f"curve_{name}.png")
    json_file = json_file or files.beside(model, f"scores_{name}.json")
    page = pathlib.Path(page or files.beside(model, f"report_{name}.html"))
    files.check_writable(curve, ".png")
    files.check_writable(page, ".html")
    files.check_writable(json_file, ".json")
    history = Run(model).read_history()  # before the work, as it may be damaged
    runs = [(scales, name)]
    if not averaged:
        runs = [
            ((scale,), name if scale == 1 else f"{name}_image_scale{scale:g}")
            for scale in image_scales
        ]
    evaluators = {run: Evaluator(segmenter, iterations, own, flip) for own, run in runs}
    if tensorboard:
        from rnnseg import dashboard

        folders = {run: dashboard.run_folder(tensorboard, model, run) for run in evaluators}
        for folder in folders.values():
            files.check_writable(os.path.join(folder, "events"))
        results = [
            dashboard.Recorder(evaluator, source, split, folders[run])()
            for run, evaluator in evaluators.items()
        ]
    else:
        results = [evaluator(source, split) for evaluator in evaluators.values()]
    click.echo(report.table(*results))
    report.save_scores(json_file, *results)
    click.echo(f"wrote {json_file}")
    own_name = pathlib.Path(model).resolve().name
    report.save_curve(curve, own_name, results, segmenter.iterations)
    click.echo(f"wrote {curve}")
    figures = report_page.save_page(
        page, own_name, results, list(evaluators.values()), source, history
    )
    click.echo(f"wrote {page}, and its images to {figures}")
    if tensorboard:
        written = " and ".join(map(str, folders.values()))
        click.echo(f"wrote {written} for: tensorboard --logdir {shlex.quote(tensorboard)}")
