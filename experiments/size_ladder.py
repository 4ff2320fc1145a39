"""A ladder of image sizes: the canvas of a smaller image is the start for a larger one.

    python -m experiments.size_ladder runs/camvid --data data/camvid --scales 0.5,1 --keep 1

Some iterations run on an image at the smaller scale. Their canvas, brought to the grid of the
larger image's canvas and multiplied by `--keep`, is where the iterations on the larger one start.
Prints mIoU and multiply-adds of these points beside those of plain predictions at both scales, and
how far each lies above the best plain prediction that costs no more.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence

import click
import numpy as np

from rnnseg.cli.base import Command
from rnnseg.cli.parameters import Numbers

from . import options
from .runs import load_recurrent_model, open_split, read_examples
from .tables import markdown_table


@dataclasses.dataclass(frozen=True)
class Point:
    """The score and cost of one way to spend iterations.

    Attributes:
      small: the number of iterations on the smaller image; 0 for none.
      large: the number of iterations on the larger image; 0 for none.
      miou: the mean IoU, 0-1.
      gmacs: 10^9 multiply-adds per image.
    """

    small: int
    large: int
    miou: float
    gmacs: float

    @property
    def plain(self) -> bool:
        """True if all iterations run on one scale."""
        return not (self.small and self.large)


@click.command(cls=Command)
@options.model_and_data
@options.iteration_numbers("1,2,3,6")
@click.option(
    "--scales",
    type=Numbers("SMALL,LARGE", float, ",", length=2),
    default="0.5,1",
    show_default=True,
    help="Scales of the smaller and the larger image.",
)
@click.option(
    "--keep", default=1.0, show_default=True, help="Factor of the smaller image's canvas."
)
@click.option("--images", type=click.IntRange(min=1), help="Number of images.  [default: all]")
def main(model, data, split, iterations, scales, keep, images):
    """Print mIoU and multiply-adds of iterations on a smaller image, then on a larger one."""
    segmenter = load_recurrent_model(model)
    source = open_split(data, split, segmenter)
    points = measure(segmenter, source, split, iterations, scales, keep, images)
    rows = [
        (
            point.small or "",
            point.large or "",
            f"{100 * point.miou:.2f}",
            f"{point.gmacs:.3f}",
            "" if gain is None else f"{100 * gain:+.2f}",
        )
        for point, gain in zip(points, gains(points), strict=True)
    ]
    titles = [
        *(f"n at {scale:g}" for scale in scales),
        "mIoU %",
        "multiply-adds G",
        "over plain, points",
    ]
    print(markdown_table(titles, rows))


def measure(
    model,
    source,
    split: str,
    iterations: Sequence[int],
    scales: tuple[float, float],
    keep: float,
    images: int | None = None,
) -> list[Point]:
    """Measures plain predictions at both scales, and every ladder from one to the other.

    Args:
      model: a `RecurrentSegmenter`.
      source: the data.
      split: the split.
      iterations: the numbers of iterations, rising, at both scales.
      scales: the scales of the smaller and the larger image.
      keep: the factor of the smaller image's canvas.
      images: the number of images, from the first; None: all of them.

    Returns:
      The points, by rising cost; costs are for the size of the first image.
    """
    from rnnseg.budgets.scaling import read_scaled
    from rnnseg.evaluation.metrics import confusion_matrix, mean_iou

    totals, size = {}, None
    for example in itertools.islice(read_examples(source, split), images):
        size = size or example.label.shape
        for way, canvas, own in _canvases(model, example.image, iterations, scales, keep):
            class_map = read_scaled(canvas, example.label.shape, own, model.canvas_stride)
            counted = confusion_matrix(example.label, class_map, model.num_classes)
            totals[way] = totals.get(way, 0) + counted
    points = [
        Point(*way, float(mean_iou(total)), cost(model, *size, scales, *way) / 1e9)
        for way, total in totals.items()
    ]
    return sorted(points, key=lambda point: point.gmacs)


def _canvases(
    model, image, iterations, scales, keep
) -> Iterator[tuple[tuple[int, int], np.ndarray, float]]:
    """Yields the iterations at both scales, the canvas after them, and the scale that it is of."""
    from rnnseg.budgets.scaling import scale_images, scaled_size
    from rnnseg.stages import Prediction

    def run(scale, start=None):
        prediction = Prediction(stages, scale_images(image[np.newaxis], scale), start)
        for number in iterations:
            yield number, prediction.run_to(number)[0].numpy()

    stages, (small, large) = model.compiled_stages, scales
    sizes = [scaled_size(*image.shape[:2], scale) for scale in scales]
    for number, canvas in run(large):
        yield (0, number), canvas, large
    for before, below in run(small):
        yield (before, 0), below, small
        start = np.float32(keep) * raise_canvas(below, *sizes, model)
        for number, canvas in run(large, start[np.newaxis]):
            yield (before, number), canvas, large


def raise_canvas(
    canvas: np.ndarray, small: tuple[int, int], large: tuple[int, int], model
) -> np.ndarray:
    """Interpolates the canvas of a smaller image at the canvas pixels of a larger one.

    Args:
      canvas: logits, float32 `(h, w, classes)`.
      small: the `(height, width)` of the smaller image, in pixels.
      large: the `(height, width)` of the larger image, in pixels; their corners are the same.
      model: the model.

    Returns:
      Logits, float32 `(h', w', classes)`. Canvas pixels beyond the canvas have the value of its
      edge.
    """
    matrices = []
    for below, above, own, wanted in zip(
        small, large, canvas.shape, model.canvas_size(*large), strict=False
    ):
        place = np.arange(wanted) * (below - 1) / (above - 1)
        place = np.minimum(place, own - 1)[:, np.newaxis]
        matrices.append(np.maximum(0, 1 - np.abs(place - np.arange(own))))
    return np.einsum("ip,jq,pqc->ijc", *matrices, canvas, optimize=True).astype(np.float32)


def cost(
    model, height: int, width: int, scales: tuple[float, float], small: int, large: int
) -> int:
    """Returns the multiply-adds of a prediction.

    Args:
      model: a `RecurrentSegmenter`.
      height: of the image, in pixels.
      width: of the image, in pixels.
      scales: the scales of the smaller and the larger image.
      small: the number of iterations on the smaller image; 0 for none.
      large: the number of iterations on the larger image; 0 for none.
    """
    from rnnseg.budgets.costs import BILINEAR_COST
    from rnnseg.budgets.scaling import scaled_costs, scaled_size

    total = 0
    for scale, iterations in zip(scales, (small, large), strict=True):
        if iterations:
            costs = scaled_costs(model, height, width, scale)
            total += costs.total(iterations)
    if small and large:
        # The class map is read once, and the first canvas becomes the start of the second.
        pixels = math.prod(model.canvas_size(*scaled_size(height, width, scales[1])))
        total += BILINEAR_COST * pixels * model.num_classes - costs.read
    return total


def gains(points: Sequence[Point]) -> list[float | None]:
    """Returns how far each ladder is above the best plain prediction of at most its cost.

    Args:
      points: the points.

    Returns:
      A difference of mean IoUs for each point; None for a plain one.
    """
    plain = [point for point in points if point.plain]
    return [
        None
        if point.plain
        else point.miou - max(each.miou for each in plain if each.gmacs <= point.gmacs)
        for point in points
    ]


if __name__ == "__main__":
    main()
