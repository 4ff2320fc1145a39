"""Measures seeding of video frames: the paper claims that two seeded iterations match six.

    python -m experiments.video runs/camvid --camvid camvid --csv camvid_video.csv
    python -m experiments.video runs/voc --davis davis --clip drive.mp4 --sheet drive.png

`--camvid` is a folder with CamVid's `val` (one clip, its frames in the order of their names) and
`valannot`. `--davis` is a folder with DAVIS' `JPEGImages` and `Annotations`; the sequences whose
object is a class of the model are used. `--clip` may be repeated. All ways to seed take turns frame
by frame, so that other load on the machine meets all of them alike. Every row has

- mIoU, or on DAVIS the object's IoU, the mean over the frames; empty without labels;
- multiply-adds, milliseconds and frames per second of segmenting, with the cost of the first frame
  spread over all frames;
- the share of pixels that keep their class from one frame to the next: at the same position, and
  along the optical flow, where flow and backward flow agree.

A second table has the change of colours from frame to frame, by which cuts are found; `--cuts`
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

from .tables import save_csv

with libraries():
    import cv2

    from rnnseg.video.motion import SmallFrame, color_change
    from rnnseg.video.sources import open_frames

ITERATIONS = (1, 2, 3, 6)

# What each adds to `VideoSegmenter`; "state" carries h and c on, too.
SEEDS: Mapping[str, Mapping[str, object]] = {
    "blank": {"decay": 1.0, "motion": False},
    "all of it": {"decay": 0.0, "motion": False},
    "half of it": {"decay": 0.5, "motion": False},
    "a quarter of it": {"decay": 0.75, "motion": False},
    "half of it, h and c": {"decay": 0.5, "motion": False},
    "half of it, moved": {"decay": 0.5, "motion": True},
}
_WITH_STATE = "half of it, h and c"

# The object of a DAVIS sequence, by the name of its class in PASCAL VOC.
DAVIS_OBJECTS = {"dog": "dog", "car-shadow": "car"}

_SHEET_FRAMES = 12


@dataclasses.dataclass(frozen=True)
class Row:
    """The results of one way to seed on a clip.

    Attributes:
      clip: its name.
      seed: of `SEEDS`.
      iterations: a frame, after the first.
      score: mIoU or the object's IoU, in percent; None without labels.
      gmacs: multiply-adds per frame, in 10^9.
      milliseconds: a frame.
      rate: frames per second.
      kept: share of pixels that keep their class at their place, in percent.
      kept_along_flow: that keep it along the optical flow.
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
      name: of it.
      frames: where they are, for `open_frames`.
      labels: the folder of masks with the frames' names; None: there are none.
      object_class: the class whose mask that is; None: the masks hold all classes.
    """

    name: str
    frames: pathlib.Path
    labels: pathlib.Path | None = None
    object_class: int | None = None


@click.command(cls=Command)
@click.argument("model", metavar="RUN_OR_MODEL")
@click.option("--camvid", type=click.Path(path_type=pathlib.Path), help="Folder with val/.")
@click.option("--davis", type=click.Path(path_type=pathlib.Path), help="Folder with JPEGImages/.")
@click.option("--clip", "clips", multiple=True, type=click.Path(path_type=pathlib.Path),
              help="A video without labels; may be repeated.")  # fmt: skip
@click.option("--cuts", is_flag=True, help="Measure the change of colours alone.")
@click.option("--csv", "csv_file", type=click.Path(), help="File for all rows.")
@click.option("--sheet", type=click.Path(), help="Image of the first --clip's overlays.")
def main(model, camvid, davis, clips, cuts, csv_file, sheet):
    """Measure what seeding saves and costs on videos."""
    for path in filter(None, (csv_file, sheet)):
        check_writable(path)
    if sheet and not clips:
        raise UserError("--sheet: give a --clip to show")
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
    """The clips that the options name.

    Raises:
      UserError: none.
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
    """The frames of a clip as far as cuts are seen by them."""
    with open_frames(clip.frames) as source:
        return [SmallFrame(frame.image) for frame in source.frames]


def measure(model, clip: Clip) -> list[Row]:
    """Segments a clip in all ways at once.

    Args:
      model: a segmenter.
      clip: the video.

    Returns:
      A row a way.
    """
    engine, stateful = KerasEngine(model), _StatefulEngine(model)
    ways = [
        # Every one has a state of its own, and all have their traces in common.
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
    """One number of iterations and one seed, on its way through a clip."""

    def __init__(self, model, engine, seed, iterations):
        self._seed, self._iterations = seed, iterations
        self._first_iterations = iterations if seed == "blank" else model.iterations
        self._video = VideoSegmenter(engine, iterations, self._first_iterations, **SEEDS[seed])
        self._confusion = np.zeros((model.num_classes,) * 2, np.int64)
        self._ious, self._kept, self._along, self._milliseconds = [], [], [], []
        self._before = None

    def warm_up(self, image):
        """Traces what there is to trace."""
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
    """Carries h and c on from frame to frame, as long as there is a seed."""

    _state = None

    def run(self, frame, iterations, seed):
        """Segments a frame; see `Engine.run`."""
        given = () if seed is None else (seed[np.newaxis], self._state)
        prepared = self.stages.prepare(self.stages.encode(frame[np.newaxis]))
        canvas, self._state = self.stages.refine(prepared, iterations, *given)
        canvas = canvas[0].numpy()
        return canvas, self.read(canvas, frame)


def _flow_and_back(grey, before):
    """Returns the position of each pixel in the last frame, and True if the flow back confirms it.

    It does, to within what Sundaram et al., 2010, "Dense Point Trajectories by GPU-accelerated
    Large Displacement Optical Flow", allow for.

    Returns:
      Columns and rows, float32 `(height, width)`, and a mask.
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
    """All rows, as a table of Markdown."""
    lines = [
        "| clip | seed | iterations | mIoU or IoU % | multiply-adds G | milliseconds "
        "| frames per second | kept % | kept along flow % |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        score = "" if row.score is None else f"{row.score:.2f}"
        lines.append(
            f"| {row.clip} | {row.seed} | {row.iterations} | {score} | {row.gmacs:.3f} | "
            f"{row.milliseconds:.1f} | {row.rate:.1f} | {row.kept:.2f} | "
            f"{row.kept_along_flow:.2f} |"
        )
    return "\n".join(lines)


def change_table(small_frames: Mapping[str, Sequence[SmallFrame]]) -> str:
    """The change of colours within clips and between any two of them, as a table of Markdown."""
    lines = ["| frames | change of colours |", "| --- | --- |"]

    def largest(step):
        return max(
            color_change(first, second)
            for clip in small_frames.values()
            for first, second in zip(clip, clip[step:], strict=False)
        )

    lines.append(f"| of one clip, next to each other | at most {largest(1):.3f} |")
    lines.append(f"| of one clip, two in between | at most {largest(3):.3f} |")
    between = [
        color_change(first, second)
        for one, other in itertools.combinations(small_frames.values(), 2)
        for first, second in itertools.product(one[::5], other[::5])
    ]
    if between:
        lines.append(f"| of two clips, every fifth of each | at least {min(between):.3f} |")
    return "\n".join(lines)


def save_sheet(path, model, clip: pathlib.Path) -> None:
    """Draws frames of a clip beside their overlays, as `rnnseg video` would make them."""
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
