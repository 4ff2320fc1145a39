"""Frames of a clip over their class maps: the seeded recurrence beside a feed-forward rival.

    python -m experiments.video_strips runs/camvid runs/deeplabv3 --clip drive.mp4 --out strips.png

The paper's Figure 1. Every frame goes on from what the last one left
(`rnnseg.VideoSegmenter`) and takes two iterations; the rival segments each by itself. OUT.png has
frames at equal distances with the maps of both, and what a frame costs each; OUT.csv, for every
frame of the clip, its multiply-adds, its milliseconds, and the share of the pixels that keep their
class from the frame before. `experiments.video` measures how good the maps are.

The paper has 15.4 G multiply-adds per frame for the recurrence and 25.7 G for DeepLabv3, of 180x270
pixels, and finds the recurrence's maps steadier.

Found on CamVid's val clip and a dash-camera clip, with the same encoder: 0.55 times the cost of
DeepLabv3 per frame (2.02 against 3.66 G, 10.2 against 18.4 G), 0.65 on a sequence of DAVIS with
context beside the features; and a little steadier, by 0.4 to 0.5 points of pixels that keep their
class.
"""

import dataclasses
import pathlib
import statistics
from collections.abc import Iterable, Mapping, Sequence

import click
import numpy as np

from rnnseg.cli.base import Command
from rnnseg.errors import UserError
from rnnseg.files import check_writable

from . import options
from .drawing import Panel, save_grid
from .runs import run_names
from .tables import save_csv


@dataclasses.dataclass(frozen=True)
class Row:
    """One frame, segmented by one system.

    Attributes:
      system: its name.
      frame: its number, from 0.
      iterations: how many it took.
      gmacs: multiply-adds, in 10^9.
      milliseconds: from the frame to its class map.
      kept: share of the pixels that have the class of the frame before, in percent; None of the
        first.
    """

    system: str
    frame: int
    iterations: int
    gmacs: float
    milliseconds: float
    kept: float | None


@click.command(cls=Command)
@click.argument("model", metavar="RUN_OR_MODEL")
@click.argument("rival", metavar="RIVAL")
@click.option("--clip", required=True, help="A video file, or a folder of frames.")
@options.iterations(2, "Iterations of the recurrence per frame, after the first.")
@click.option("--frames", type=click.IntRange(min=1), default=6, show_default=True,
              help="How many are drawn.")  # fmt: skip
@options.figure
def main(model, rival, clip, iterations, frames, out):
    """Draw what the recurrence and a rival make of a clip, and what it costs them."""
    from rnnseg.budgets.costs import stage_costs
    from rnnseg.models.loading import load_model
    from rnnseg.video.segmenter import VideoSegmenter

    for path in (out, out.with_suffix(".csv")):
        check_writable(path)
    segmenter, other = load_model(model), load_model(rival)
    if not segmenter.recurrent or segmenter.num_classes != other.num_classes:
        raise UserError(
            f"{model} and {rival}: expected a recurrent model, and another one of the same classes"
        )
    recurrence, feed_forward = run_names((model, rival))
    systems = {
        f"{recurrence}, {iterations} seeded": (segmenter, iterations),
        feed_forward: (other, other.iterations),
    }
    images = read_clip(clip)
    maps, rows = {}, []
    for name, (system, number) in systems.items():
        costs = stage_costs(system, *images[0].shape[:2])
        maps[name], measured = segment(name, VideoSegmenter(system, number), costs, images)
        rows += measured
    save_figure(out, images, maps, rows, frames, segmenter)
    save_csv(out.with_suffix(".csv"), rows)
    print(table(rows))
    print(f"\nwrote {out} and {out.with_suffix('.csv')}")


def read_clip(clip: str) -> list[np.ndarray]:
    """All frames of a clip.

    Raises:
      UserError: nothing there that can be read, or frames of several sizes.
    """
    from rnnseg.video import libraries

    with libraries():
        from rnnseg.video.sources import open_frames

    with open_frames(clip) as source:
        images = [frame.image for frame in source.frames]
    if len({image.shape for image in images}) != 1:
        raise UserError(f"{clip}: expected frames of one size, and one at least")
    return images


def segment(
    name: str, video, costs, images: Iterable[np.ndarray]
) -> tuple[list[np.ndarray], list[Row]]:
    """Segments the frames of a clip.

    Args:
      name: of the system.
      video: a `rnnseg.VideoSegmenter`.
      costs: `rnnseg.budgets.StageCosts` of a frame.
      images: the frames.

    Returns:
      Their class maps, and a row for each.
    """
    maps, rows = [], []
    for number, image in enumerate(images):
        result = video(image)
        kept = 100 * float(np.mean(result.classes == maps[-1])) if maps else None
        gmacs = costs.total(result.iterations) / 1e9
        rows.append(Row(name, number, result.iterations, gmacs, result.milliseconds, kept))
        maps.append(result.classes)
    return maps, rows


def save_figure(
    path: pathlib.Path,
    images: Sequence[np.ndarray],
    maps: Mapping[str, Sequence[np.ndarray]],
    rows: Sequence[Row],
    most: int,
    model,
) -> None:
    """Draws frames at equal distances above the maps of all systems.

    Args:
      path: PNG file.
      images: all frames.
      maps: of every system, one per frame.
      rows: of every system, one per frame.
      most: how many frames are drawn.
      model: for its classes' names and colours.
    """
    shown = np.unique(np.linspace(0, len(images) - 1, most).round().astype(int))
    grid = [[Panel(images[number], f"frame {number}") for number in shown]]
    names = ["frames"]
    for system, class_maps in maps.items():
        costs = {row.frame: row.gmacs for row in rows if row.system == system}
        grid.append(
            [Panel(class_maps[number], f"{costs[number]:.2f} G multiply-adds") for number in shown]
        )
        names.append(system)
    save_grid(path, grid, names, model.colors, model.names)


def table(rows: Sequence[Row]) -> str:
    """Returns the cost of a frame for each system as a Markdown table."""
    lines = [
        "| system | G per frame, first | after it | milliseconds, median | pixels kept % |",
        "| --- | --- | --- | --- | --- |",
    ]
    for system in dict.fromkeys(row.system for row in rows):
        first, *others = (row for row in rows if row.system == system)
        # Of a single frame there is no more than that.
        others = others or [first]
        kept = [row.kept for row in others if row.kept is not None]
        lines.append(
            f"| {system} | {first.gmacs:.3f} | {statistics.fmean(row.gmacs for row in others):.3f} "
            f"| {statistics.median(row.milliseconds for row in others):.1f} "
            f"| {f'{statistics.fmean(kept):.2f}' if kept else ''} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
