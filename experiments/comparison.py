r"""The paper's Figure 5: the recurrence beside feed-forward systems, at every cost.

    python -m experiments.comparison --recipe camvid --data data/camvid --out runs/compared \
        --scales 0.5,0.75,1 --seeds 1,2,3

Trains every system of `SYSTEMS`, or those of `--systems`, with every seed, with the same recipe,
encoder weights and epochs. Then evaluates all of them at every output stride and at every scale of
the images, those with iterations after 1 to 12 of them, and prints one table: means and standard
deviations over the seeds. It is also written to `comparison.csv` and drawn in `comparison.png` in
`--out`. Below it stand the multiply-adds of the paper's Table 3, beside those counted here
(`experiments.cost_table`).

Each run has a folder in `--out`, named by its system and its seed. A finished training is not
repeated, and an interrupted one is resumed. Evaluations and times are kept, too, so that a second
call only does what is missing, such as a further seed.

Milliseconds are measured at the end, with the models of the first seed, on one image of the most
common size; all predictions take turns. Those of one system at one stride and scale are values of
the lines fitted to its medians, one for each stage of the encoder.

Models are trained at one stride. At the other stride they have the same weights, and their kernels
are dilated so that they cover the same image pixels. In the paper's figure, DeepLabv3 has its
points at stride 8 in this way. At a scale the image is scaled, and the class map is read at the
size of the image.

The paper's figure (without numbers) shows its recurrence on a par with feed-forward systems at the
same cost, with a curve that rises from the first iteration to the last.

`docs/experiments/comparison.md` has results.
"""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import click

from rnnseg import schemas
from rnnseg.budgets import timing
from rnnseg.cli.base import Command
from rnnseg.cli.parameters import SCALES, Numbers
from rnnseg.errors import UserError
from rnnseg.files import atomic_path
from rnnseg.models.options import paper_form
from rnnseg.training import config as configuration

from . import cost_table, options
from .comparison_report import Row, marked, rows_of, save_plot, table
from .kept_runs import KeptRun
from .runs import recipe_options
from .tables import ResultFiles

AS_PUBLISHED = "recurrence as published"
# The options that each system adds to those of the recipe.
SYSTEMS: Mapping[str, Mapping[str, object]] = {
    "recurrence": {},
    # The canvas, and what the gates see, are those of the paper, too: `system_config`.
    AS_PUBLISHED: {
        "hidden_channels": (128, 64),
        "context_channels": 0,
        "iterations": 6,
        "iteration_weights": (0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    },
    "DeepLabv3 256": {"model": "deeplabv3", "head_channels": 256},
    "DeepLabv3 96": {"model": "deeplabv3", "head_channels": 96},
    "DeepLabv3+ 256": {"model": "deeplabv3_plus", "head_channels": 256},
    "DeepLabv3+ 96": {"model": "deeplabv3_plus", "head_channels": 96},
    "LR-ASPP 128": {"model": "lr_aspp", "head_channels": 128},
    "PSPNet 512": {"model": "pspnet", "head_channels": 512},
    "FCN-8s": {"model": "fcn"},
    "CRF-RNN": {"model": "crf_rnn"},
    "DeepLab": {"model": "deeplab"},
    "SDN 48": {"model": "sdn", "head_channels": 48},
}
ITERATIONS = tuple(range(1, 13))

_REPEATS = 15


@click.command(cls=Command)
@options.training
@click.option(
    "--systems",
    "names",
    metavar="NAME,NAME,...",
    help=f"Systems to compare.  [default: all of {', '.join(SYSTEMS)}]",
)
@click.option(
    "--scales",
    type=SCALES,
    default="1",
    show_default=True,
    help="Scales of the images, such as 0.5,0.75,1; every system is evaluated at each of them.",
)
@click.option(
    "--output-strides",
    "strides",
    type=Numbers("N,N,...", int, ",", least=8),
    default="16,8",
    show_default=True,
    help="Output strides; every system is evaluated at each of them.",
)
@click.option(
    "--seeds",
    type=Numbers("N,N,...", int, ",", least=0),
    default="1",
    show_default=True,
    help="Seeds; every system is trained with each of them.",
)
def main(recipe, data, weights, names, scales, strides, seeds, out):
    """Train and evaluate the recurrence and other systems."""
    systems = options.chosen_names(names, SYSTEMS, "--systems", ",")
    files = ResultFiles(out / "comparison.csv", out / "comparison.png")
    values = recipe_options(recipe, data, weights)
    runs = {
        system: [
            KeptRun(
                system_config(system, values | {"seed": seed}),
                out / f"{folder_name(system)}_seed{seed}",
                ITERATIONS,
            )
            for seed in dict.fromkeys(seeds)
        ]
        for system in systems
    }
    places = tuple(itertools.product(dict.fromkeys(strides), dict.fromkeys(scales)))
    rows, size = compare(runs, places)
    rows = marked(timed(rows, {system: own[0] for system, own in runs.items()}, size, out))
    print(f"\n{table(rows)}\n")
    files.save(rows, lambda path: save_plot(path, rows))
    print(f"\nTable 3 and others, ResNet-101 at 513x513\n\n{cost_table.table(cost_table.count())}")


def system_config(system: str, values: Mapping[str, object]) -> configuration.TrainingConfig:
    """Returns the configuration of a system's training.

    Args:
      system: a name of `SYSTEMS`.
      values: the options of the recipe, with data and seed.
    """
    changes = dict(SYSTEMS[system])
    if system == AS_PUBLISHED:
        default = configuration.TrainingConfig.output_stride
        changes |= paper_form(values.get("output_stride", default))
    own = configuration.settings_for(values, changes.get("model"))
    return configuration.TrainingConfig(**(own | changes))


def folder_name(system: str) -> str:
    """Returns the beginning of the names of the folders of a system's runs."""
    return system.lower().replace("+", "_plus").replace("-", "_").replace(" ", "_")


def compare(
    runs: Mapping[str, Sequence[KeptRun]], places: Sequence[tuple[int, float]]
) -> tuple[list[Row], tuple[int, int]]:
    """Trains and evaluates all systems, as far as that is not done.

    Args:
      runs: the runs of every system, one per seed.
      places: output strides and scales of the images.

    Returns:
      All points, without their times, and the most common (height, width) of the images.
    """
    rows, size = [], None
    for system, own in runs.items():
        scores = {place: [] for place in places}
        for run in own:
            for place in places:
                found, size = run.scores(*place)
                scores[place].append(found)
            run.release()  # several seeds of all systems would take a lot of memory
        for place in places:
            rows += rows_of(system, *place, scores[place])
    return rows, size


@dataclasses.dataclass(frozen=True)
class _Times:
    """The schema of `times.json`: what the times were made from, and one for each point."""

    made_from: Mapping[str, Any]
    milliseconds: tuple[schemas.Milliseconds, ...]


def timed(
    rows: Sequence[Row], runs: Mapping[str, KeptRun], size: tuple[int, int], out: pathlib.Path
) -> list[Row]:
    """Returns the points with the times of their predictions, which are kept in `times.json`.

    Predictions take turns, so that any other load of the machine affects all of them alike. So all
    are measured anew if one is missing.

    Args:
      rows: the points.
      runs: a run of every system.
      size: the (height, width) of the image.
      out: the folder of the comparison.
    """
    from rnnseg.budgets.profiles import Machine

    path = out / "times.json"
    points = [[row.system, row.output_stride, row.scale, row.iterations] for row in rows]
    made_from = {
        "machine": str(Machine.this()),
        "image_size": list(size),
        "models": {system: run.digest for system, run in runs.items()},
        "points": points,
    }
    kept = _read_times(path)
    if kept is None or kept.made_from != made_from or len(kept.milliseconds) != len(rows):
        kept = _Times(made_from, tuple(_milliseconds(rows, runs, size)))
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(vars(kept)) + "\n")
    return [
        dataclasses.replace(row, milliseconds=each)
        for row, each in zip(rows, kept.milliseconds, strict=True)
    ]


def _milliseconds(
    rows: Sequence[Row], runs: Mapping[str, KeptRun], size: tuple[int, int]
) -> list[float]:
    """Measures the predictions of all points."""
    groups = dict.fromkeys((row.system, row.output_stride, row.scale) for row in rows)
    predictions = {group: runs[group[0]].predictions(*group[1:], size) for group in groups}
    calls = [call for own in predictions.values() for call in own.values()]
    seconds = iter(timing.take_turns(calls, _REPEATS))
    lines = {}
    for (system, stride, scale), own in predictions.items():
        times = {number: 1000 * next(seconds) for number in own}
        first_iterations = runs[system].model(stride).first_iterations
        lines[system, stride, scale] = timing.fit(times, first_iterations)
    return [lines[row.system, row.output_stride, row.scale](row.iterations) for row in rows]


def _read_times(path: pathlib.Path) -> _Times | None:
    """Returns the content of a file; None if there is none, or a damaged one."""
    try:
        return schemas.read_json(path, _Times, "measure again") if path.is_file() else None
    except UserError:
        return None


if __name__ == "__main__":
    main()
