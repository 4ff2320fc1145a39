r"""The speed-accuracy frontier of trained models on devices: as int8 files, at several scales.

    python -m experiments.device_comparison runs/compared/recurrence_seed1 \
        runs/compared/fcn_8s_seed1 --data data/camvid --scales 0.5,0.75,1 --threads 1 --threads 2 \
        --out runs/devices

Exports every model in int8, once for each scale: for images of the most common size of the split,
scaled. Exports are kept in `--out`, below a name with a digest of the weights and of the path of
the data that int8 is calibrated on, so that a second call only does what is missing. Then all files
are measured in one run: predictions of 1, 2, 3, 6 and 12 iterations (one of a feed-forward model)
take turns on each number of threads, and the mIoU is that of all images of the split. One table has
all points, with medians of milliseconds; a star marks those that no other point beats in both.
`comparison.csv` in `--out` has the same numbers. How far a file agrees with its model stands in
`parity.json` beside it.

Times begin with an image of the file's size and end with its class map; mIoU is measured at the
size of the images. Times do not depend on the weights; how much mIoU int8 costs does.
"""

import collections
import dataclasses
import hashlib
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import click
import numpy as np

from rnnseg import grid
from rnnseg.budgets.budget import OperatingPoint, frontier
from rnnseg.cli.base import Command
from rnnseg.cli.parameters import SCALES
from rnnseg.files import check_writable
from rnnseg.runtime.letterbox import resize_nearest

from . import options
from .device_benchmark import Maps, Ours, measure_miou, measure_times
from .runs import choose_examples, open_split, read_examples, run_names
from .tables import markdown_table, save_csv

_FILE = "anytime_int8.tflite"


@dataclasses.dataclass(frozen=True)
class Point:
    """One prediction of an int8 file.

    Attributes:
      model: the name of the model.
      scale: the scale of the images that the file takes.
      iterations: the number of iterations.
      miou: the mean IoU in percent.
      milliseconds: the medians, by number of threads.
    """

    model: str
    scale: float
    iterations: int
    miou: float
    milliseconds: Mapping[int, float]


@click.command(cls=Command)
@options.models_and_data
@click.option("--scales", type=SCALES, default="1", show_default=True, help="Scales of the images.")
@options.threads((1, 2))
@options.repeats(15)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=pathlib.Path),
    help="Folder for the exported files and the table.",
)
def main(models, data, split, scales, threads, repeats, out):
    """Print mIoU and latency of models as int8 files, at several scales."""
    check_writable(out / "comparison.csv")
    source = open_split(data, split)
    size = common_size(source, split)
    sizes = {each: tuple(grid.scaled_size(side, each) for side in size) for each in scales}
    files = {}
    for name, path in zip(run_names(models), models, strict=True):
        own = exported(path, data, split, sizes.values(), out)
        files |= {(name, scale): own[sizes[scale]] for scale in sizes}
    image = choose_examples(source, split, [0])[0].image
    times = {}
    for number in dict.fromkeys(threads):
        times[number] = measure_times(opened(files, number), image, repeats)
    scores = measure_miou(opened(files, max(threads)), source, split)
    found = points(files, scores, times)
    print(f"\n{table(found)}\n")
    save_csv(out / "comparison.csv", [record(point) for point in found])
    print(f"wrote {out / 'comparison.csv'}")


def exported(
    path: str, data: str, split: str, sizes: Iterable[tuple[int, int]], out: pathlib.Path
) -> dict[tuple[int, int], pathlib.Path]:
    """Exports a model for several sizes of images, as far as that is not done.

    Args:
      path: the folder of a run, or a `.keras` file.
      data: the data to calibrate and compare on.
      split: the split to compare on.
      sizes: the (height, width) of the images, in pixels.
      out: the folder for all exports.

    Returns:
      The int8 files by size.

    Raises:
      UserError: no model, or one of other classes than the data have.
    """
    from rnnseg import export_model
    from rnnseg.models.loading import load_model

    model = load_model(path)
    open_split(data, split, model)
    folder = out / f"{run_names([path])[0]}_{digest(model, data)}"
    files = {each: folder / f"{each[0]}x{each[1]}" / _FILE for each in sizes}
    for (height, width), file in files.items():
        if not file.is_file():
            click.echo(f"{path}: int8 for images of {height}x{width}")
            export_model(
                model, file.parent, (height, width), ["int8"], data, split, on_progress=click.echo
            )
    return files


def digest(model, data: str) -> str:
    """Returns the first digits of a SHA-256 digest of what int8 files are made from.

    Args:
      model: the model; its weights count.
      data: the path of the data.
    """
    found = hashlib.sha256(data.encode())
    for weight in model.get_weights():
        found.update(weight.tobytes())
    return found.hexdigest()[:8]


def common_size(source, split: str) -> tuple[int, int]:
    """Returns the most common (height, width) of the images of a split, in pixels."""
    sizes = collections.Counter(each.image.shape[:2] for each in read_examples(source, split))
    return sizes.most_common(1)[0][0]


class ScaledFile(Ours):
    """An `anytime.tflite` for scaled images, which enlarges them where the scale is above 1.

    Smaller images are the runtime's own work; larger ones it would pad.

    Args:
      path: the file.
      threads: the number of threads of the operators.
      name: the name in tables.
      scale: the scale of the images.
    """

    def __init__(self, path: pathlib.Path, threads: int, name: str, scale: float):
        super().__init__(path, threads, name)
        self._scale = scale

    def fit(self, image: np.ndarray) -> np.ndarray:
        """Returns an image, uint8 RGB, scaled to the file's size."""
        return super().fit(self._enlarged(image))

    def maps(self, image: np.ndarray) -> Maps:
        """Returns the class maps of an image, at its own size."""
        found = super().maps(self._enlarged(image))
        return {number: resize_nearest(each, image.shape[:2]) for number, each in found.items()}

    def _enlarged(self, image):
        if self._scale <= 1:
            return image
        from rnnseg.budgets.scaling import scale_images

        return np.rint(scale_images(image[np.newaxis], self._scale)[0]).astype(np.uint8)


def opened(files: Mapping[tuple[str, float], pathlib.Path], threads: int) -> list[ScaledFile]:
    """Opens all files.

    Args:
      files: the files, by name of the model and scale.
      threads: the number of threads of the operators.
    """
    return [ScaledFile(path, threads, _title(*key), key[1]) for key, path in files.items()]


def _title(name: str, scale: float) -> str:
    return f"{name} at {scale:g}"


def points(
    files: Mapping[tuple[str, float], pathlib.Path],
    scores: Mapping[tuple[str, int], tuple[float, float]],
    times: Mapping[int, Mapping[tuple[str, int], float]],
) -> list[Point]:
    """Returns all points.

    Args:
      files: the files, by name of the model and scale.
      scores: what `measure_miou` returns.
      times: what `measure_times` returns, by number of threads.
    """
    places = {_title(*key): key for key in files}
    return [
        Point(
            *places[key[0]],
            key[1],
            100 * miou,
            {threads: 1000 * seconds[key] for threads, seconds in times.items()},
        )
        for key, (miou, _) in scores.items()
    ]


def best(found: Sequence[Point], threads: int) -> set[int]:
    """Returns the indices of the points that no other beats in mIoU and time.

    Args:
      found: all points.
      threads: the number of threads of the times.
    """
    known = [
        OperatingPoint(
            str(number), each.iterations, each.miou / 100, math.nan, each.milliseconds[threads]
        )
        for number, each in enumerate(found)
    ]
    return {int(each.model) for each in frontier(known, "milliseconds")}


def table(found: Sequence[Point]) -> str:
    """Returns all points as a Markdown table; stars mark those on the frontiers."""
    threads = list(found[0].milliseconds)
    stars = {number: best(found, number) for number in threads}
    rows = [
        [
            each.model,
            f"{each.scale:g}",
            each.iterations,
            f"{each.miou:.2f}",
            *(f"{each.milliseconds[n]:.1f}{' *' if index in stars[n] else ''}" for n in threads),
        ]
        for index, each in enumerate(found)
    ]
    titles = [f"ms, {n} thread{'s' if n > 1 else ''}" for n in threads]
    return markdown_table(["model", "scale", "iterations", "mIoU %", *titles], rows)


def record(point: Point) -> dict[str, object]:
    """Returns the row of a point in the CSV file."""
    values = dataclasses.asdict(point)
    times = values.pop("milliseconds")
    return values | {f"milliseconds_{n}_threads": each for n, each in times.items()}


if __name__ == "__main__":
    main()
