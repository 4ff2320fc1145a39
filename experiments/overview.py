r"""The image at the top of the README: a photograph over the iterations, above curves.

    pip install scikit-image
    python -m experiments.overview runs/compared_voc/recurrence_seed1 \
        --curve CamVid runs/compared_camvid/comparison.csv recurrence \
        --curve "VOC, a subset" runs/compared_voc/comparison.csv recurrence \
        --out docs/iterations.png

The photograph is `skimage.data.cat()`: Chelsea, by Stefan van der Walt (CC0). The class with most
pixels after the last iteration is shown: in every panel, a line marks its border, pixels of the
class keep their colours, and all others are grey. The higher the probability of the best class (the
softmax of the logits), the more of the photograph is visible. The curves come from tables of
`experiments.comparison`, at output stride 16: the points of one recurrent system that none of its
own beats, over all numbers of iterations and scales of the images, and every feed-forward system at
the same scales, with the mIoU of the classes that occur in the split.
"""

import csv
import pathlib
from collections.abc import Mapping, Sequence

import click
import numpy as np
from matplotlib.ticker import LogLocator, NullLocator
from PIL import Image

from rnnseg import visualize
from rnnseg.cli.base import Command
from rnnseg.errors import UserError
from rnnseg.files import atomic_path, check_writable

from . import options
from .runs import load_recurrent_model

_STRIDE = "16"
_LEAST_VISIBLE = 0.15  # the visible share of the photograph at certainty 0
_LINE, _DOT = visualize.LINE_COLORS[:2]


@click.command(cls=Command)
@click.argument("model", metavar="RUN_OR_MODEL")
@options.iteration_numbers("1,2,3,4,6,12")
@click.option("--curve", "curves", nargs=3, multiple=True, metavar="TITLE FILE SYSTEM",
              help="A title, a table of experiments.comparison, and the system whose iterations "
              "are drawn; may be repeated.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=pathlib.Path), required=True, help="PNG file.")
def main(model, iterations, curves, out):
    """Draw a photograph over the iterations, and speed-accuracy curves."""
    from rnnseg.budgets.costs import stage_costs

    check_writable(out, ".png")
    points = {title: read_points(file, system) for title, file, system in curves}
    segmenter = load_recurrent_model(model)
    image = photograph()
    logits = segmenter_logits(segmenter, image, iterations)
    costs = stage_costs(segmenter, *image.shape[:2])
    titles = [f"n = {n}: {costs.total(n) / 1e9:.2f} G" for n in iterations]
    save_figure(out, image, logits, titles, points)
    print(f"wrote {out}")


def photograph() -> np.ndarray:
    """Returns the cat, RGB, uint8 `(300, 451, 3)`.

    Raises:
      UserError: scikit-image is not installed.
    """
    try:
        from skimage import data
    except ImportError as error:
        raise UserError(
            "the photograph comes with scikit-image, which is not installed: "
            "pip install scikit-image"
        ) from error
    return data.cat()


def segmenter_logits(model, image: np.ndarray, iterations: Sequence[int]) -> np.ndarray:
    """Returns the logits at every image pixel, `(several, h, w, classes)`.

    Args:
      model: a `RecurrentSegmenter`.
      image: RGB, uint8 `(h, w, 3)`.
      iterations: the numbers of iterations.
    """
    canvases = model.compiled_stages.unroll(image[np.newaxis], max(iterations))[:, 0]
    chosen = [canvases[number - 1] for number in iterations]
    return np.stack([model.logits(each[np.newaxis], image.shape[:2])[0] for each in chosen])


def read_points(file: str, system: str) -> Mapping[str, list[tuple[float, float]]]:
    """Reads the points of a recurrent system and of all feed-forward ones.

    Args:
      file: a table of `experiments.comparison`.
      system: the recurrent system.

    Returns:
      By the name of the system, its points by rising cost: multiply-adds in G and mIoU in percent.
      `system` is the first, without the points that others of its own beat; all others have one
      point per scale.

    Raises:
      UserError: the file is no such table, or has no such system.
    """
    found, recurrent = {}, {system}
    try:
        with open(file, newline="") as table:
            for row in csv.DictReader(table):
                if row["output_stride"] == _STRIDE:
                    values = (row["gmacs"], row["miou_occurring"])
                    found.setdefault(row["system"], []).append(tuple(map(float, values)))
                if row["iterations"] != "1":
                    recurrent.add(row["system"])
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{file}: expected a table of experiments.comparison ({error})") from error
    if system not in found:
        raise UserError(f"{file} has no system {system!r}; it has {', '.join(found) or 'none'}")
    best = []
    for cost, miou in sorted(found[system], key=lambda point: (point[0], -point[1])):
        if not best or miou > best[-1][1]:
            best.append((cost, miou))
    return {system: best} | {
        name: sorted(points) for name, points in found.items() if name not in recurrent
    }


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the probabilities of the classes, along the last axis."""
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def cut_out(image: np.ndarray, inside: np.ndarray, certainty: np.ndarray) -> np.ndarray:
    """Returns a photograph with one part in colour and the rest in grey, faded by certainty.

    Args:
      image: RGB, uint8 `(h, w, 3)`.
      inside: the part in colour, bool `(h, w)`.
      certainty: 0-1, `(h, w)`; 0 is nearly white.

    Returns:
      RGB, uint8 `(h, w, 3)`.
    """
    grey = 255 - 0.5 * (255 - image.mean(-1, keepdims=True))
    visible = _LEAST_VISIBLE + (1 - _LEAST_VISIBLE) * certainty[..., np.newaxis]
    part = np.where(inside[..., np.newaxis], image, grey)
    return np.rint(255 - visible * (255 - part)).astype(np.uint8)


def save_figure(
    path: pathlib.Path,
    image: np.ndarray,
    logits: np.ndarray,
    titles: Sequence[str],
    points: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
) -> None:
    """Draws the panels in a row, and the curves below.

    Args:
      path: the PNG file.
      image: RGB, uint8 `(h, w, 3)`.
      logits: the logits of every panel, `(panels, h, w, classes)`.
      titles: the titles of the panels.
      points: the points from `read_points`, by the title of the curve.
    """
    columns = 1 + len(titles)
    width = 10.67
    strip = width / columns * image.shape[0] / image.shape[1] + 0.35
    figure = visualize.new_figure((width, strip + 2.9 * bool(points)))
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.03, wspace=0, hspace=0.02)
    above, *below = np.atleast_1d(
        figure.subfigures(1 + bool(points), 1, height_ratios=[strip, 2.9][: 1 + bool(points)])
    )
    first, *panels = above.subplots(1, columns)
    first.imshow(image)
    first.set_title("photograph", fontsize=9)
    classes = logits.argmax(-1)
    most = np.bincount(classes[-1].ravel()).argmax()
    certainty = softmax(logits).max(-1)
    for axes, class_map, sure, title in zip(panels, classes, certainty, titles, strict=True):
        inside = class_map == most
        axes.imshow(cut_out(image, inside, sure))
        axes.contour(inside, [0.5], colors=_DOT, linewidths=1.5)
        axes.set_title(title, fontsize=9)
    for axes in (first, *panels):
        axes.set_axis_off()
    if points:
        for axes, (title, systems) in zip(
            np.atleast_1d(below[0].subplots(1, len(points))), points.items(), strict=True
        ):
            draw_curve(axes, title, systems)
    visualize.save_figure(path, figure)
    # A palette reduces the file to a third. Median cut, Pillow's default method, would lose the
    # green of the eyes.
    with Image.open(path) as saved:
        small = saved.convert("RGB").quantize(method=Image.Quantize.MAXCOVERAGE, kmeans=2)
    with atomic_path(path) as temporary:
        small.save(temporary, format="PNG", optimize=True)


def draw_curve(axes, title: str, systems: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Draws a recurrent system as a thick line, others as thin ones with their names at the end.

    Args:
      axes: the Matplotlib axes.
      title: the title of the curve.
      systems: the points from `read_points`.
    """
    (system, curve), *others = systems.items()
    label = f"{system}: one model, any number of iterations"
    axes.plot(*zip(*curve, strict=True), "o-", color=_LINE, markersize=4, label=label, zorder=3)
    for index, (name, points) in enumerate(others):
        label = None if index else "feed-forward: one model each"
        costs, miou = zip(*points, strict=True)
        axes.plot(costs, miou, "D:", color=_DOT, markersize=3.5, linewidth=0.8, label=label)
        axes.annotate(name, (costs[-1], miou[-1]), xytext=(4, -3), textcoords="offset points",
                      fontsize=7)  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.12, y=0.12)
    axes.set_xlabel("multiply-adds per image (G)")
    axes.set_ylabel("mIoU of the classes that occur (%)", fontsize=9)
    axes.set_title(title, fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="best")
    axes.grid(alpha=0.3)


if __name__ == "__main__":
    main()
