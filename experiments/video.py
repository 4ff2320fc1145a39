"""Measures what seeding frames saves and costs on videos, in several ways.

    python -m experiments.video runs/camvid --camvid camvid --csv camvid_video.csv
    python -m experiments.video runs/voc --davis davis --clip drive.mp4 --sheet drive.png

The paper claims that two iterations from the canvas of the last frame match six from the initial
canvas. `--camvid` is a folder with CamVid's `val` (one clip, its frames in the order of their
names) and `valannot`. `--davis` is a folder with DAVIS' `JPEGImages` and `Annotations`, of which
those sequences are used whose object is a class of the model. `--clip` is a video without labels.

All ways to seed run side by side, frame by frame, so that any other load of the machine affects all
of them alike. Every row has

- the mIoU, or on DAVIS the IoU of the object, mean over the frames; nothing without labels;
- multiply-adds, milliseconds and frames per second of segmenting, with the cost of the first frame
  distributed over all frames;
- the share of the pixels that keep their class from one frame to the next: at their place, and
  along the optical flow where it is consistent in both directions.

A second table has the change of colours from frame to frame, by which cuts are detected; `--cuts`
prints it alone.
"""

import copy
import dataclasses
import itertools
import pathlib
import statistics
from collections.abc import Iterable, Mapping, Sequence

import click
import numpy as np
from PIL import Image

from rnnseg import VideoSegmenter, load_model, visualize
from rnnseg.budgets.costs import stage_costs
from rnnseg.cli.base import Command
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError
from rnnseg.evaluation import metrics
from rnnseg.files import check_writable
from rnnseg.video import libraries
from rnnseg.video.engines import KerasEngine

from .tables import markdown_table, save_csv

with libraries():
    import cv2

    from rnnseg.video.motion import SmallFrame, color_change
    from rnnseg.video.sources import open_frames

ITERATIONS = (1, 2, 3, 6)

# The options of `VideoSegmenter` for each way to seed; `_WITH_STATE` carries h and c over as well.
SEEDS: Mapping[str, Mapping[str, object]] = {
    "blank": {"decay": 1.0, "motion": False},
    "all of it": {"decay": 0.0, "motion": False},
    "half of it": {"decay": 0.5, "motion": False},
    "a quarter of it": {"decay": 0.75, "motion": False},
    "half of it, h and c": {"decay": 0.5, "motion": False},
    "half of it, moved": {"decay": 0.5, "motion": True},
}
_WITH_STATE = "half of it, h and c"

# The class in PASCAL VOC of the object in a DAVIS sequence, by the name of the sequence.
DAVIS_OBJECTS = {"dog": "dog", "car-shadow": "car"}

_SHEET_FRAMES = 12


@dataclasses.dataclass(frozen=True)
class Row:
    """The measurements of one way to seed on a clip.

    Attributes:
      clip: the name of the clip.
      seed: a name in `SEEDS`.
      iterations: the number of iterations per frame, after the first frame.
      score: the mIoU, or the IoU of the object, in percent; None without labels.
      gmacs: multiply-adds per frame, in 10^9.
      milliseconds: milliseconds per frame.
      rate: frames per second.
      kept: the share of the pixels that keep their class at their place, in percent.
      kept_along_flow: the share of the pixels that keep their class along the optical flow, in
        percent.
    """

    clip: str
    seed: str
    iterations: int
    score: float | None
    gmacs: float
    milliseconds: float
    rate: float
    kept: float
    kept_along_flow: float


@dataclasses.dataclass(frozen=True)
class Clip:
    """A video to measure on.

    Attributes:
      name: the name that is printed.
      frames: the file or folder of the frames, for `open_frames`.
      labels: the folder of masks with the names of the frames; None: there are none.
      object_class: the class of the object that the masks show; None: the masks show all classes.
    """

    name: str
    frames: pathlib.Path
    labels: pathlib.Path | None = None
    object_class: int | None = None


@click.command(cls=Command)
@click.argument("model", metavar="RUN_OR_MODEL")
@click.option(
    "--camvid",
    type=click.Path(path_type=pathlib.Path),
    help="Folder of CamVid, with val/ and valannot/.",
)
@click.option(
    "--davis", type=click.Path(path_type=pathlib.Path), help="Folder of DAVIS, with JPEGImages/."
)
@click.option("--clip", "clips", multiple=True, type=click.Path(path_type=pathlib.Path),
              help="A video without labels; may be repeated.")  # fmt: skip
@click.option("--cuts", is_flag=True, help="Print the change of colours alone.")
@click.option("--csv", "csv_file", type=click.Path(), help="CSV file for all rows.")
@click.option("--sheet", type=click.Path(), help="PNG file: overlays of the first --clip.")
def main(model, camvid, davis, clips, cuts, csv_file, sheet):
    """Print accuracy, cost and steadiness of all ways to seed on videos."""
    for path in filter(None, (csv_file, sheet)):
        check_writable(path)
    if sheet and not clips:
        raise UserError("--sheet shows the first --clip: give one")
    segmenter = load_model(model)
    found = find_clips(segmenter, camvid, davis, clips)
    if not cuts:
        rows = [row for clip in found for row in measure(segmenter, clip)]
        print(f"{table(rows)}\n")
    print(change_table({clip.name: read_small_frames(clip) for clip in found}))
    if csv_file and not cuts:
        save_csv(csv_file, rows)
        print(f"\nwrote {csv_file}")
    if sheet:
        save_sheet(sheet, segmenter, clips[0])
        print(f"wrote {sheet}")


def find_clips(model, camvid, davis, clips) -> list[Clip]:
    """Returns the clips that the options name.

    Raises:
      UserError: the options name no clip.
    """
    found = []
    if camvid:
        found.append(Clip("CamVid val", camvid / "val", camvid / "valannot"))
    if davis:
        names = list(model.class_names or ())
        found += [
            Clip(f"DAVIS {name}", davis / "JPEGImages" / name, davis / "Annotations" / name,
                 names.index(object_class))
            for name, object_class in DAVIS_OBJECTS.items()
            if object_class in names
        ]  # fmt: skip
    found += [Clip(path.stem, path) for path in clips]
    if not found:
        raise UserError("no clip to measure on: give --camvid, --davis or --clip")
    return found


def read_small_frames(clip: Clip) -> list[SmallFrame]:
    """Returns the frames of a clip, reduced to what the detection of cuts compares."""
    with open_frames(clip.frames) as source:
        return [SmallFrame(frame.image) for frame in source.frames]


def measure(model, clip: Clip) -> list[Row]:
    """Segments a clip in all ways, frame by frame.

    Args:
      model: a segmenter.
      clip: the video.

    Returns:
      One row per way to seed and number of iterations.
    """
    engine, stateful = KerasEngine(model), _StatefulEngine(model)
    ways = [
        # Each copy has a state of its own; they share the compiled stages of the model.
        _Way(model, copy.copy(stateful) if seed == _WITH_STATE else engine, seed, iterations)
        for iterations in ITERATIONS
        for seed in SEEDS
    ]
    before = None
    with open_frames(clip.frames) as source:
        for number, frame in enumerate(source.frames):
            if number == 0:
                for way in ways:
                    way.warm_up(frame.image)
            grey = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
            flow = None if before is None else _flow_and_back(grey, before)
            truth = None
            if clip.labels is not None:
                truth = np.asarray(Image.open(clip.labels / f"{frame.name}.png"))
            for way in ways:
                way.segment(frame.image, truth, clip.object_class, flow)
            before = grey
    costs = stage_costs(model, *before.shape)
    return [way.row(clip, costs) for way in ways]


class _Way:
    """One number of iterations with one way to seed, which segments a clip frame by frame."""

    def __init__(self, model, engine, seed, iterations):
        self._seed, self._iterations = seed, iterations
        self._first_iterations = iterations if seed == "blank" else model.iterations
        self._video = VideoSegmenter(engine, iterations, self._first_iterations, **SEEDS[seed])
        self._confusion = np.zeros((model.num_classes,) * 2, np.int64)
        self._ious, self._kept, self._along, self._milliseconds = [], [], [], []
        self._before = None

    def warm_up(self, image):
        """Traces all functions."""
        self._video(image)
        self._video(image)
        self._video.reset()

    def segment(self, image, truth, object_class, flow):
        result = self._video(image)
        classes = result.classes
        self._milliseconds.append(result.milliseconds)
        if truth is not None and object_class is not None:
            mask, found = truth > 0, classes == object_class
            self._ious.append((mask & found).sum() / max(1, (mask | found).sum()))
        elif truth is not None:
            count = len(self._confusion)
            truth = np.where(truth < count, truth, IGNORE_LABEL).astype(np.uint8)
            self._confusion += metrics.confusion_matrix(truth, classes, count)
        if flow is not None:
            columns, rows, valid = flow
            moved = cv2.remap(self._before, columns, rows, cv2.INTER_NEAREST)
            self._kept.append(np.mean(classes == self._before))
            self._along.append(np.mean((classes == moved)[valid]))
        self._before = classes.astype(np.uint8)

    def row(self, clip, costs) -> Row:
        first, *others = self._milliseconds
        count = len(self._milliseconds)
        milliseconds = (first + len(others) * statistics.median(others)) / count
        iterations = (self._first_iterations + len(others) * self._iterations) / count
        score = None
        if clip.labels is not None:
            object_alone = clip.object_class is not None
            score = np.mean(self._ious) if object_alone else metrics.mean_iou(self._confusion)
            score = 100 * float(score)
        return Row(
            clip.name,
            self._seed,
            self._iterations,
            score,
            costs.total(iterations) / 1e9,
            milliseconds,
            1000 / milliseconds,
            100 * float(np.mean(self._kept)),
            100 * float(np.mean(self._along)),
        )


class _StatefulEngine(KerasEngine):
    """An engine that carries h and c over from frame to frame, as long as there is a seed."""

    _state = None

    def run(self, frame, iterations, seed):
        """Segments a frame; see `Engine.run`."""
        given = () if seed is None else (seed[np.newaxis], self._state)
        prepared = self.stages.prepare(self.stages.encode(frame[np.newaxis]))
        canvas, self._state = self.stages.refine(prepared, iterations, *given)
        canvas = canvas[0].numpy()
        return canvas, self.read(canvas, frame)


def _flow_and_back(grey, before):
    """Computes the place of each pixel in the frame before, and checks it by the flow back.

    Returns:
      Columns and rows, float32 `(height, width)`, and a mask that is True where the flow back leads
      to the pixel again, within the tolerance of Sundaram et al., 2010, "Dense Point Trajectories
      by GPU-accelerated Large Displacement Optical Flow".
    """
    find = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    there, back = find.calc(grey, before, None), find.calc(before, grey, None)
    rows, columns = np.indices(grey.shape, np.float32)
    columns, rows = columns + there[..., 0], rows + there[..., 1]
    back = cv2.remap(back, columns, rows, cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_CONSTANT, borderValue=(1e3, 1e3))  # fmt: skip
    squares = np.square(there).sum(-1) + np.square(back).sum(-1)
    return columns, rows, np.square(there + back).sum(-1) < 0.01 * squares + 0.5


def table(rows: Iterable[Row]) -> str:
    """Returns all rows as a Markdown table."""
    titles = ["clip", "seed", "iterations", "mIoU or IoU %", "multiply-adds G", "milliseconds",
              "frames per second", "kept %", "kept along flow %"]  # fmt: skip
    entries = [
        (
            row.clip,
            row.seed,
            row.iterations,
            "" if row.score is None else f"{row.score:.2f}",
            f"{row.gmacs:.3f}",
            f"{row.milliseconds:.1f}",
            f"{row.rate:.1f}",
            f"{row.kept:.2f}",
            f"{row.kept_along_flow:.2f}",
        )
        for row in rows
    ]
    return markdown_table(titles, entries)


def change_table(small_frames: Mapping[str, Sequence[SmallFrame]]) -> str:
    """Returns the change of colours within clips and between any two as a Markdown table."""

    def largest(step):
        return max(
            color_change(first, second)
            for clip in small_frames.values()
            for first, second in zip(clip, clip[step:], strict=False)
        )

    rows = [
        ("of one clip, next to each other", f"at most {largest(1):.3f}"),
        ("of one clip, two in between", f"at most {largest(3):.3f}"),
    ]
    between = [
        color_change(first, second)
        for one, other in itertools.combinations(small_frames.values(), 2)
        for first, second in itertools.product(one[::5], other[::5])
    ]
    if between:
        rows.append(("of two clips, every fifth of each", f"at least {min(between):.3f}"))
    return markdown_table(["frames", "change of colours"], rows)


def save_sheet(path, model, clip: pathlib.Path) -> None:
    """Draws frames of a clip beside their overlays, as `rnnseg video` makes them."""
    video = VideoSegmenter(model)
    with open_frames(clip) as source:
        every = max(1, (source.count or _SHEET_FRAMES) // _SHEET_FRAMES)
        images, maps, names = [], [], []
        for number, frame in enumerate(source.frames):
            classes = video(frame.image).classes
            if number % every == every - 1 and len(images) < _SHEET_FRAMES:
                images.append(frame.image)
                maps.append(classes)
                names.append(f"frame {number}")
    visualize.save_sheet(path, images, maps, names, video.colors, model.names)


if __name__ == "__main__":
    main()
