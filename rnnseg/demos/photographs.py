"""The demo of a pretrained model: three photographs and a clip, at several operating points."""

import dataclasses
import functools
import math
import os
import pathlib
import shlex
import shutil
from collections.abc import Sequence

import numpy as np

from rnnseg import visualize
from rnnseg.budgets import timing
from rnnseg.budgets.budget import OperatingPoint, frontier, round_up
from rnnseg.budgets.planning import Scores
from rnnseg.budgets.scaling import predict_scaled
from rnnseg.data.images import read_image
from rnnseg.demos.folder import demo_folder
from rnnseg.errors import UserError
from rnnseg.evaluation import report
from rnnseg.inference.image_files import SegmentedImage
from rnnseg.inference.predictor import Predictor
from rnnseg.pretrained.names import DEFAULT, open_preset
from rnnseg.video import libraries
from rnnseg.video.segmenter import VideoSegmenter

_MEDIA = pathlib.Path(__file__).parent / "media"
_PHOTOGRAPHS = ("cat.jpg", "astronaut.jpg", "dogs.jpg")
_CLIP = "clip.mp4"
_CREDITS = "CREDITS.md"
# The strip has two rows of three panels, the image being the first.
_POINTS = 5
_REPEATS = 3
# The largest side of the photographs, in pixels: budgets of the demo are for images of this size.
_SIDE = 640


def run(out: str | os.PathLike, preset: str | os.PathLike = DEFAULT) -> None:
    """Segments the photographs and the clip, and prints the next commands.

    Args:
      out: the folder to write to; the files of an earlier demo in it are replaced, and others stay.
      preset: a name of `rnnseg.presets`, the folder of a preset, or `hf://USER/REPO`, with scores.

    Raises:
      UserError: no such preset, a damaged one, or one without scores; `out` holds other files and
        no demo, or another process writes to it.
    """
    open_preset(preset)
    scores = Scores.load(preset, "val")
    known = [point for point in scores.points if not math.isnan(point.gmacs)]
    if not known:
        raise UserError(f"{preset}: the scores of this preset have no multiply-adds")
    points = spread(known, _POINTS)
    with demo_folder(out) as folder:
        _run(folder, os.fspath(preset), scores, points)


def spread(points: Sequence[OperatingPoint], count: int) -> list[OperatingPoint]:
    """Returns some points that no other one beats, by rising cost; the last is the best.

    Args:
      points: the operating points of a model, of known cost. Those with less than half of the best
        mIoU, as the first iteration of some models, are left out: there is little to see in them.
      count: the largest number of points to return, at least 2. Those whose costs are nearest to a
        geometric series are chosen.
    """
    least = max(point.miou for point in points) / 2
    best = [point for point in frontier(points, "gmacs") if point.miou >= least]
    if len(best) <= count:
        return best
    costs = np.log([point.gmacs for point in best])
    chosen = [0]
    for left, target in enumerate(np.linspace(costs[0], costs[-1], count)[1:], 2 - count):
        # Enough points are left for the targets that follow.
        free = range(chosen[-1] + 1, len(best) + left)
        chosen.append(min(free, key=lambda index: abs(costs[index] - target)))
    return [best[index] for index in chosen]


def _run(out: pathlib.Path, preset: str, scores: Scores, points: Sequence[OperatingPoint]) -> None:
    """Segments, times and draws, in a folder that no other process writes to."""
    predictor = Predictor.load(preset)
    shutil.copyfile(_MEDIA / _CREDITS, out / _CREDITS)
    print(
        f"preset      {preset}: {predictor.model.count_params() / 1e6:.2f} M parameters, "
        f"{predictor.model.num_classes} classes\n"
        f"mIoU        on {scores.images} images of {scores.data}, {scores.split}\n"
        f"images      NASA, S. van der Walt, J. E. Mota Filho: see {out / _CREDITS}"
    )
    for name in _PHOTOGRAPHS:
        found, measured = _photograph(predictor, points, _MEDIA / name, out)
        print(f"\n{found}\n{report.points_table(measured)}", flush=True)
    print()
    _clip(predictor, out)
    name = pathlib.PurePath(preset).name
    report.save_scores_curve(out / "curve.png", name, scores, predictor.model.iterations)
    print(
        f"wrote {out / '*_points.png'}   a photograph at every operating point\n"
        f"wrote {out / '*_overlay.png'}  its classes at the best one\n"
        f"wrote {out / 'curve.png'}      mIoU against cost, for all iterations and scales; times "
        f"of {scores.machine}\n\n" + _next(preset, measured[len(measured) // 2])
    )


def _photograph(
    predictor: Predictor, points: Sequence[OperatingPoint], file: pathlib.Path, out: pathlib.Path
) -> tuple[SegmentedImage, list[OperatingPoint]]:
    """Draws a photograph at operating points.

    Returns:
      What was found at the last one, and the points with their costs for this photograph.
    """
    model, image = predictor.model, read_image(file)
    height, width, _ = image.shape
    maps = [np.empty(0)] * len(points)

    def segment(index: int) -> None:
        scale, iterations = points[index].scale, points[index].iterations
        maps[index] = predict_scaled(model, image[np.newaxis], scale, iterations)[0]

    runs = [functools.partial(segment, index) for index in range(len(points))]
    seconds = timing.take_turns(runs, _REPEATS)
    measured = [
        dataclasses.replace(
            point,
            gmacs=predictor.costs(height, width, point.scale).total(point.iterations) / 1e9,
            milliseconds=1000 * time,
        )
        for point, time in zip(points, seconds, strict=True)
    ]
    visualize.save_strip(
        out / f"{file.stem}_points.png",
        image,
        maps,
        model.colors,
        model.names,
        [
            f"n = {point.iterations}, image x {point.scale:g}\n"
            f"{point.gmacs:.2f} G, {point.milliseconds:.0f} ms"
            for point in measured
        ],
        overlaid=True,
    )
    path = out / f"{file.stem}_overlay.png"
    visualize.save_overlay(path, image, maps[-1], model.colors, model.names)
    shares = visualize.class_shares(maps[-1], model.num_classes)
    named = {model.names[label]: share for label, share in shares.items()}
    return SegmentedImage(file, named, measured[-1].milliseconds), measured


def _clip(predictor: Predictor, out: pathlib.Path) -> None:
    """Segments the clip, or says what that needs."""
    try:
        with libraries():
            from rnnseg.video import outputs, segmenting, sources
    except UserError as error:
        print(f"{_CLIP} was left out: {error}")
        return
    path = out / "clip_overlay.mp4"
    video = VideoSegmenter(predictor.model)
    with (
        sources.open_frames(os.fspath(_MEDIA / _CLIP)) as frames,
        outputs.open_output(path, frames) as output,
    ):
        done = segmenting.segment_video(video, frames, output)
    print(
        f"wrote {path}: {done.frames} frames, two iterations each; segmenting took "
        f"{done.milliseconds:.1f} ms per frame"
    )


def _next(preset: str, point: OperatingPoint) -> str:
    """Returns the commands to type next, with a budget that pays for a point."""
    name, gmacs = shlex.quote(preset), round_up(point.gmacs)
    return (
        "next, with your own photographs, videos and masks:\n"
        f"  rnnseg segment {name} photo.jpg --out segmented\n"
        f"  rnnseg segment {name} photo.jpg --max-size {_SIDE} --gmacs {gmacs} --out cheaper\n"
        f"  rnnseg video {name} clip.mp4 segmented.mp4\n"
        f"  rnnseg export {name} --images photos --quantize int8 --out exported\n"
        "  rnnseg prepare folder --images IMAGES --masks MASKS --val-images IMAGES "
        "--val-masks MASKS --classes classes.txt --out data/mine\n"
        f"  rnnseg train --data data/mine --from {name} --out runs/mine"
    )
