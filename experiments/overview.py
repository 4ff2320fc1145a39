r"""The image at the top of the README: a photograph at several operating points, above curves.

    python -m experiments.overview mobilenet_v2_voc rnnseg/demos/media/dogs.jpg \
        --point 0.25 1 --point 0.5 1 --point 1 10 \
        --curve CamVid docs/experiments/camvid_comparison.csv recurrence --out docs/iterations.png

The class with most pixels at the last point, other than the background, is shown: in every panel, a
line marks its border, and the higher the probability of the best class (the softmax of the logits),
the more of the photograph is visible. The curves come from tables of `experiments.comparison`, at
output stride 16: the points of one recurrent system that none of its own beats, over all numbers of
iterations and scales of the images, and every feed-forward system at the same scales, with the mIoU
of the classes that occur in the split.
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
from rnnseg.data.images import read_image
from rnnseg.errors import UserError
from rnnseg.files import atomic_path, check_writable

from .runs import load_recurrent_model

_STRIDE = "16"
_POINT = (click.FloatRange(0.01, 10), click.IntRange(1))
_LEAST_VISIBLE = 0.15  # the visible share of the photograph at certainty 0
_CURVE_HEIGHT = 2.9  # inches
_LINE, _DOT = visualize.LINE_COLORS[:2]


@click.command(cls=Command)
@click.argument("model", metavar="RUN_OR_MODEL")
@click.argument("image_file", metavar="IMAGE")
@click.option("--point", "points", nargs=2, type=_POINT, multiple=True, required=True,
              metavar="SCALE ITERATIONS",
              help="The scale of the image and the number of iterations of a panel; may be "
              "repeated.")  # fmt: skip
@click.option("--curve", "curves", nargs=3, multiple=True, metavar="TITLE FILE SYSTEM",
              help="A title, a table of experiments.comparison, and the system whose iterations "
              "are drawn; may be repeated.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=pathlib.Path), required=True, help="PNG file.")
def main(model, image_file, points, curves, out):
    """Draw a photograph at several operating points, and speed-accuracy curves."""
    from rnnseg.budgets.scaling import scaled_costs

    check_writable(out, ".png")
    curves = {title: read_points(file, system) for title, file, system in curves}
    image = read_image(image_file)
    segmenter = load_recurrent_model(model)
    shown = probabilities(segmenter, image, points)
    titles = [
        f"scale {scale:g}, n = {iterations}:"
        f" {scaled_costs(segmenter, *image.shape[:2], scale).total(iterations) / 1e9:.2f} G"
        for scale, iterations in points
    ]
    best = shown_class(shown[-1], segmenter.class_names)
    save_figure(out, image, shown, best, titles, curves)
    print(f"wrote {out}")


def probabilities(model, image: np.ndarray, points: Sequence[tuple[float, int]]) -> np.ndarray:
    """Returns the probabilities of the classes at every image pixel, `(points, h, w, classes)`.

    Args:
      model: a `RecurrentSegmenter`.
      image: RGB, uint8 `(h, w, 3)`.
      points: the scale of the image and the number of iterations of every point.
    """
    from rnnseg.budgets.scaling import scale_images
    from rnnseg.models.geometry import resize_aligned

    found = []
    for scale, iterations in points:
        scaled = scale_images(image[np.newaxis], scale)
        canvas = model.compiled_stages.canvas_of(scaled, iterations)
        logits = model.logits(canvas, tuple(scaled.shape[1:3]))
        found.append(softmax(resize_aligned(logits, image.shape[:2])[0].numpy()))
    return np.stack(found)


def shown_class(probabilities: np.ndarray, names: Sequence[str] | None) -> int:
    """Returns the class with most pixels, other than the background.

    Args:
      probabilities: `(h, w, classes)`.
      names: one name per class; None if they are not known.
    """
    pixels = np.bincount(probabilities.argmax(-1).ravel(), minlength=probabilities.shape[-1])
    pixels[[name.lower() == "background" for name in names or ()]] = -1
    return int(pixels.argmax())


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


def faded(image: np.ndarray, certainty: np.ndarray) -> np.ndarray:
    """Returns a photograph that is faded by certainty.

    Args:
      image: RGB, uint8 `(h, w, 3)`.
      certainty: 0-1, `(h, w)`; 0 is nearly white.

    Returns:
      RGB, uint8 `(h, w, 3)`.
    """
    visible = _LEAST_VISIBLE + (1 - _LEAST_VISIBLE) * certainty[..., np.newaxis]
    return np.rint(255 - visible * (255.0 - image)).astype(np.uint8)


def save_figure(
    path: pathlib.Path,
    image: np.ndarray,
    probabilities: np.ndarray,
    shown: int,
    titles: Sequence[str],
    curves: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
) -> None:
    """Draws the panels in a row, and the curves below.

    Args:
      path: the PNG file.
      image: RGB, uint8 `(h, w, 3)`.
      probabilities: those of the classes in every panel, `(panels, h, w, classes)`.
      shown: the class whose border is drawn.
      titles: the titles of the panels.
      curves: the points from `read_points`, by the title of the curve.
    """
    columns = 1 + len(titles)
    width = 10.67
    strip = width / columns * image.shape[0] / image.shape[1] + 0.35
    figure = visualize.new_figure((width, strip + _CURVE_HEIGHT * bool(curves)))
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.03, wspace=0, hspace=0.02)
    heights = [strip, _CURVE_HEIGHT][: 1 + bool(curves)]
    above, *below = np.atleast_1d(figure.subfigures(len(heights), 1, height_ratios=heights))
    first, *panels = above.subplots(1, columns)
    first.imshow(image)
    first.set_title("photograph", fontsize=9)
    for axes, each, title in zip(panels, probabilities, titles, strict=True):
        axes.imshow(faded(image, each.max(-1)))
        axes.contour(each.argmax(-1) == shown, [0.5], colors=_DOT, linewidths=1.5)
        axes.set_title(title, fontsize=9)
    for axes in (first, *panels):
        axes.set_axis_off()
    if curves:
        for axes, (title, systems) in zip(
            np.atleast_1d(below[0].subplots(1, len(curves))), curves.items(), strict=True
        ):
            draw_curve(axes, title, systems)
    visualize.save_figure(path, figure)
    # A palette reduces the file to a third. Median cut, Pillow's default method, would lose small
    # parts of a colour of their own.
    with Image.open(path) as saved:
        small = saved.convert("RGB").quantize(method=Image.Quantize.MAXCOVERAGE, kmeans=2)
    with atomic_path(path) as temporary:
        small.save(temporary, format="PNG", optimize=True)


def draw_curve(axes, title: str, systems: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Draws a recurrent system as a thick line, others as thin ones with their names at the end.

    Names of systems that end above the thick line are above their last point, others below it.

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
        # Names stand on the far side of the curve, where they do not cross it. Its lines are
        # straight over the logarithm of the cost.
        own_costs, own_miou = zip(*curve, strict=True)
        above = miou[-1] >= np.interp(np.log(costs[-1]), np.log(own_costs), own_miou)
        axes.annotate(name, (costs[-1], miou[-1]), xytext=(0, 5 if above else -5),
                      textcoords="offset points", fontsize=7, ha="center",
                      va="bottom" if above else "top")  # fmt: skip
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
