"""`rnnseg benchmark`: measures the latency of a model on this machine."""

import click

from rnnseg.cli.base import Command
from rnnseg.cli.parameters import Sizes


@click.command(cls=Command)
@click.argument("model", metavar="RUN_OR_MODEL")
@click.option(
    "--size",
    "sizes",
    type=Sizes(),
    required=True,
    help="Size of the images, HEIGHTxWIDTH; several sizes separated by commas.",
)
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=11,
    show_default=True,
    help="Number of times that everything is measured.",
)
@click.option("--save", is_flag=True, help="Save the times beside the model, for time budgets.")
def benchmark(model, sizes, repeats, save):
    r"""Measure the latency of predictions on this machine.

    Memory is counted, not measured: the most that the tensors of a stage, or of a whole prediction,
    take at the same time, without weights and without what TensorFlow needs for itself.

    \b
    rnnseg benchmark runs/camvid --size 360x480 --save
    """
    from rnnseg import files
    from rnnseg.budgets import benchmarking, profiles
    from rnnseg.budgets import costs as budgets
    from rnnseg.evaluation import report
    from rnnseg.models.loading import load_model

    path = profiles.profile_path(model)
    segmenter = load_model(model)
    if save:
        files.check_writable(path)
    profile = benchmarking.measure(segmenter, model, sizes, repeats)
    costs = [budgets.stage_costs(segmenter, each.height, each.width) for each in profile.sizes]
    stages = [budgets.stages(segmenter, each.height, each.width) for each in profile.sizes]
    click.echo(report.profile_table(profile, costs, stages))
    if save:
        profile.save()
        click.echo(f"wrote {path}")
