"""`rnnseg benchmark`: measures the latency of a model on this machine."""

from collections.abc import Sequence
from typing import Any

import click

from rnnseg.cli.base import Command
from rnnseg.cli.litert import is_litert, open_model
from rnnseg.cli.models import default_model, optional_model
from rnnseg.cli.parameters import Sizes


@click.command(cls=Command)
@optional_model
@click.option(
    "--size",
    "sizes",
    type=Sizes(),
    required=True,
    help="Size of the images, HEIGHTxWIDTH; several sizes separated by commas.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1, 100_000),
    default=11,
    show_default=True,
    help="Number of times that everything is measured.",
)
@click.option("--save", is_flag=True, help="Save the times beside the model, for time budgets.")
def benchmark(
    model: str | None, sizes: Sequence[tuple[int, int]], repeats: int, save: bool
) -> None:
    r"""Measure the latency of predictions on this machine.

    Memory is counted, not measured: the most that the tensors of a stage, or of a whole prediction,
    take at the same time, without weights and without what TensorFlow needs for itself. Of a LiteRT
    file, it is not known.

    \b
    rnnseg benchmark runs/camvid --size 360x480 --save
    rnnseg benchmark exported/anytime_int8.tflite --size 360x480
    """
    from rnnseg import files
    from rnnseg.budgets import benchmarking, profiles
    from rnnseg.budgets import costs as budgets
    from rnnseg.evaluation import report

    model = model or default_model()
    path = profiles.profile_path(model)
    segmenter: Any = open_model(model)
    if save:
        files.check_writable(path)
    if is_litert(model):
        profile = benchmarking.measure_file(segmenter, sizes, repeats)
        click.echo(report.file_profile_table(profile, segmenter.costs))
    else:
        profile = benchmarking.measure(segmenter, model, sizes, repeats)
        costs = [budgets.stage_costs(segmenter, each.height, each.width) for each in profile.sizes]
        stages = [budgets.stages(segmenter, each.height, each.width) for each in profile.sizes]
        click.echo(report.profile_table(profile, costs, stages))
    if save:
        profile.save()
        click.echo(f"wrote {path}")
