"""`rnnseg cost`: counts the multiply-adds, parameters and memory of a model."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import click

from rnnseg.cli.base import Command
from rnnseg.cli.derived import options_of, refuse_options_of_others
from rnnseg.cli.parameters import SCALES, SIZE, IterationNumbers
from rnnseg.errors import UserError
from rnnseg.models.options import MODEL_OPTIONS
from rnnseg.options import declaration
from rnnseg.training.config import TrainingConfig

# The options that change what a prediction costs. The numbers of iterations are another option.
_COUNTED = {
    field.name
    for options in MODEL_OPTIONS.values()
    for field in dataclasses.fields(options)
    if not declaration(field).training_only and field.name != "iterations"
}


@click.command(cls=Command)
@options_of(TrainingConfig, ["model"], model="Model to count.  [default: recurrent]")
@options_of(TrainingConfig, _COUNTED)
@click.option(
    "--size",
    type=SIZE,
    default="513x513",
    show_default=True,
    help="Size of the image, HEIGHTxWIDTH, or one number for both.",
)
@click.option(
    "--classes",
    type=click.IntRange(1, 65_536),
    default=21,
    show_default=True,
    help="Number of classes.",
)
@click.option(
    "--iterations",
    type=IterationNumbers(),
    help="Numbers of iterations, such as 6, 1-12 or 1,2,6.  [default: 1-6]",
)
@click.option(
    "--scales", type=SCALES, help="Sum over predictions at several scales, such as 0.5,1,1.5."
)
@click.option("--flip", is_flag=True, help="Sum over predictions of mirrored images, too.")
@click.option(
    "--as-published",
    is_flag=True,
    help="Count as the paper does: every iteration computes the loop-invariant part again.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(),
    is_flag=False,
    flag_value="-",
    help="Write all numbers to this file; without a file name, print them.",
)
def cost(
    model: str,
    size: tuple[int, int],
    classes: int,
    iterations: Sequence[int] | None,
    scales: Sequence[float] | None,
    flip: bool,
    as_published: bool,
    json_file: str | None,
    **options: Any,
) -> None:
    r"""Count multiply-adds, parameters and memory of a prediction, by stage.

    Memory is the most that the tensors of a stage take at the same time, for one image in the
    precision of training, without weights.

    \b
    rnnseg cost --encoder mobilenet_v2 --size 360x480 --classes 11 --iterations 1-12
    rnnseg cost --encoder resnet101 --canvas-stride 16 --hidden-channels 512,256 --as-published
    """
    kind = model or "recurrent"
    given = {name: value for name, value in options.items() if value is not None}
    refuse_options_of_others(kind, [*given, *(["iterations"] if iterations else [])])

    from rnnseg import files
    from rnnseg.budgets import costs as budgets
    from rnnseg.evaluation import report
    from rnnseg.evaluation.multi_scale import multi_scale_costs
    from rnnseg.models import registry

    if json_file not in (None, "-"):
        files.check_writable(json_file)
    iterations = iterations or (range(1, 7) if registry.MODELS[kind].recurrent else (1,))
    built = registry.MODELS[kind](classes, encoder_weights=None, **given)
    if as_published:
        _check_published(built)
    several = scales is not None or flip
    height, width = size
    costs = multi_scale_costs(built, height, width, scales or (1.0,), flip)
    costs = costs.as_published() if as_published else costs
    # Merged stages and several images have no parameters and memory of their own.
    stages = None if several or as_published else budgets.stages(built, *size)
    content = report.cost_json(costs, stages, iterations)
    if json_file == "-":
        click.echo(json.dumps(content, indent=2))
        return
    click.echo(report.cost_table(costs, stages, iterations))
    if json_file:
        report.save_json(json_file, content)
        click.echo(f"wrote {json_file}")


def _check_published(model) -> None:
    """Raises a UserError for a recurrent model whose gates see more than the paper's do."""
    if not model.recurrent:
        return
    if model.stack is None:
        raise UserError(
            f"--as-published: {model.name} has no loop-invariant part that the paper counts in "
            "every iteration; leave it out"
        )
    own = model.options
    if own.skip_layers or own.early_iterations or own.canvas_stride != own.output_stride:
        raise UserError(
            "--as-published: the paper's iterations see features of one depth, on a canvas of the "
            f"output stride; add --canvas-stride {own.output_stride} --skip-layers none "
            "--early-iterations none"
        )
