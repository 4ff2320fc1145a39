"""Drawings of class maps, and of accuracy against cost."""

import dataclasses
import itertools
import math
import os
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from rnnseg.data.source import IGNORE_LABEL
from rnnseg.files import atomic_path

_IGNORE_COLOR = (224, 224, 224)
_MOST_COLUMNS = 8
_DOTS_PER_INCH = 150
LINE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The palette of Okabe and Ito, which can be told apart with any colour vision."""


@dataclasses.dataclass(frozen=True)
class Curve:
    """The speed-accuracy curve of one model.

    All sequences have one entry per number of iterations.

    Attributes:
      name: the name in the legend.
      iterations: the numbers of iterations, rising.
      miou: the mean IoU, 0-1.
      multiply_adds: the multiply-adds per prediction.
      milliseconds: the milliseconds per prediction.
      trained_iterations: the number of iterations in training, which is marked; None for no mark.
      family: the name of a family, such as a system at several strides. Curves of a family share
        their colour; from the second on, their lines are dashed and their dots hollow. None: the
        curve is a family of its own.
    """

    name: str
    iterations: Sequence[int]
    miou: Sequence[float]
    multiply_adds: Sequence[int]
    milliseconds: Sequence[float]
    trained_iterations: int | None
    family: str | None = None


def colorize(labels: np.ndarray, colors: Sequence[Sequence[int]]) -> np.ndarray:
    """Returns a class map in the colours of its classes.

    Args:
      labels: class indices or `IGNORE_LABEL`, `(h, w)`.
      colors: one (red, green, blue) of 0-255 per class.

    Returns:
      uint8 `(h, w, 3)`; ignored pixels are light grey.
    """
    return _table(colors).take(labels, axis=0)  # takes a fifth of the time of indexing


def overlay(
    image: np.ndarray, labels: np.ndarray, colors: Sequence[Sequence[int]], opacity: float = 0.5
) -> np.ndarray:
    """Blends an image with the colours of its class map.

    Args:
      image: uint8 RGB, `(h, w, 3)`.
      labels: class indices or `IGNORE_LABEL`, `(h, w)`.
      colors: one (red, green, blue) of 0-255 per class.
      opacity: the opacity of the colours, 0-1.

    Returns:
      uint8 `(h, w, 3)`; ignored pixels are those of the image.
    """
    mixed = (1 - opacity) * image + opacity * colorize(labels, colors)
    counted = (labels != IGNORE_LABEL)[..., np.newaxis]
    return np.where(counted, np.rint(mixed).astype(np.uint8), image)


def class_map_image(labels: np.ndarray, colors: Sequence[Sequence[int]]) -> Image.Image:
    """Makes a palette image: the value of a pixel is its class, the palette holds the colours.

    Args:
      labels: class indices or `IGNORE_LABEL`, `(h, w)`.
      colors: one (red, green, blue) of 0-255 per class.
    """
    image = Image.fromarray(labels.astype(np.uint8)).convert("L")
    image.putpalette(_table(colors).tobytes())
    return image


def save_class_map(
    path: str | os.PathLike, labels: np.ndarray, colors: Sequence[Sequence[int]]
) -> None:
    """Writes a class map as a palette PNG."""
    with atomic_path(path) as temporary:
        class_map_image(labels, colors).save(temporary)


def save_strip(
    path: str | os.PathLike,
    image: np.ndarray,
    maps: Sequence[np.ndarray],
    colors: Sequence[Sequence[int]],
    class_names: Sequence[str],
    titles: Sequence[str],
    truth: np.ndarray | None = None,
) -> None:
    """Draws an image and its class map after every iteration, in rows.

    Args:
      path: the PNG file to write.
      image: uint8 RGB, `(h, w, 3)`.
      maps: class maps, each `(h, w)`.
      colors: one (red, green, blue) of 0-255 per class.
      class_names: one name per class.
      titles: one title per map.
      truth: the label, which is drawn last; None to draw none.
    """
    panels = [("image", image)]
    panels += [
        (title, colorize(labels, colors)) for title, labels in zip(titles, maps, strict=True)
    ]
    if truth is not None:
        panels.append(("ground truth", colorize(truth, colors)))
    drawn = maps if truth is None else [*maps, truth]
    shown = np.unique(np.concatenate([np.unique(each) for each in drawn]))
    _save_panels(path, panels, colors, class_names, shown, columns=min(len(panels), _MOST_COLUMNS))


def save_sheet(
    path: str | os.PathLike,
    images: Sequence[np.ndarray],
    label_maps: Sequence[np.ndarray],
    names: Sequence[str],
    colors: Sequence[Sequence[int]],
    class_names: Sequence[str],
) -> None:
    """Draws images, each beside its overlay.

    Args:
      path: the PNG file to write.
      images: uint8 RGB images, each `(h, w, 3)`; sizes may differ.
      label_maps: class indices or `IGNORE_LABEL`, each `(h, w)`.
      names: one name per image.
      colors: one (red, green, blue) of 0-255 per class.
      class_names: one name per class.
    """
    panels = []
    for image, labels, name in zip(images, label_maps, names, strict=True):
        panels += [(name, image), ("", overlay(image, labels, colors, opacity=0.65))]
    shown = np.unique(np.concatenate([np.unique(each) for each in label_maps]))
    _save_panels(path, panels, colors, class_names, shown, columns=6)


def save_curve(path: str | os.PathLike, curves: Sequence[Curve]) -> None:
    """Draws mIoU against multiply-adds and milliseconds, with one dot per number of iterations.

    Args:
      path: the PNG file to write.
      curves: one curve per model.
    """
    figure = new_figure((11, 4.6))
    in_giga = max(max(curve.multiply_adds) for curve in curves) >= 1e9
    unit, factor = ("G", 1e-9) if in_giga else ("M", 1e-6)
    panels = figure.subplots(1, 2, sharey=True)
    families = [curve.family or curve.name for curve in curves]
    colors = dict(zip(dict.fromkeys(families), itertools.cycle(LINE_COLORS), strict=False))
    for axes, label, costs in (
        (panels[0], f"multiply-adds per image ({unit})",
         [[factor * value for value in curve.multiply_adds] for curve in curves]),
        (panels[1], "time per image (ms)", [curve.milliseconds for curve in curves]),
    ):  # fmt: skip
        marked = False
        for index, (curve, cost) in enumerate(zip(curves, costs, strict=True)):
            color = colors[families[index]]
            first = families.index(families[index]) == index
            miou = [100 * value for value in curve.miou]
            single = len(miou) == 1
            axes.plot(
                cost, miou, linestyle="none" if single else "-" if first else "--", color=color,
                marker="D" if single else "o", markersize=7 if single else 5,
                markerfacecolor=color if first else "white", label=curve.name,
            )  # fmt: skip
            for position, iterations in enumerate(curve.iterations):
                if iterations == curve.trained_iterations:
                    axes.plot(
                        cost[position], miou[position], "o", markersize=12, markerfacecolor="none",
                        markeredgecolor=color, markeredgewidth=1.5,
                        label=None if marked else "iterations in training",
                    )  # fmt: skip
                    marked = True
            for position in _labelled(curve):
                axes.annotate(
                    str(curve.iterations[position]), (cost[position], miou[position]),
                    xytext=(0, -15), textcoords="offset points", ha="center", fontsize=9,
                )  # fmt: skip
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
        axes.margins(x=0.05, y=0.12)
    panels[0].set_ylabel("mIoU (%)")
    # The legend lies below the axes, where it cannot cover a point.
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside lower center", ncols=4,
                  frameon=False)  # fmt: skip
    figure.suptitle("Speed and accuracy by number of iterations", fontsize=11)
    save_figure(path, figure)


def _labelled(curve: Curve) -> list[int]:
    """Returns the positions of the dots that are labelled: few enough not to overlap."""
    if len(curve.iterations) == 1:
        return []
    wanted = {1, 2, 3, curve.trained_iterations, curve.iterations[-1]}
    return [index for index, number in enumerate(curve.iterations) if number in wanted]


def _save_panels(path, panels, colors, class_names, shown, columns) -> None:
    rows = math.ceil(len(panels) / columns)
    height, width = np.median([image.shape[:2] for _, image in panels], axis=0)
    side = min(2.4, 16 / columns)
    legend_rows = math.ceil(len(shown) / 8)
    size = (side * columns, (side * height / width + 0.5) * rows + 0.3 * legend_rows)
    figure = new_figure(size)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (title, image) in zip(grid.flat, panels, strict=False):
        axes.imshow(image, interpolation="nearest" if image.shape[0] < 300 else "antialiased")
        # A $ in a file name does not start a formula.
        axes.set_title(title, fontsize=8, parse_math=False)
    add_class_legend(figure, shown, colors, class_names)
    save_figure(path, figure)


def add_class_legend(
    figure,
    labels: Iterable[int],
    colors: Sequence[Sequence[int]],
    class_names: Sequence[str],
    columns: int = 8,
) -> None:
    """Adds a legend of class colours below a Matplotlib figure.

    Args:
      figure: a figure from `new_figure`.
      labels: the labels to list: class indices or `IGNORE_LABEL`.
      colors: one (red, green, blue) of 0-255 per class.
      class_names: one name per class.
      columns: the number of columns of the legend.
    """
    from matplotlib.patches import Patch

    entries = [
        Patch(
            facecolor=_table(colors)[label] / 255,
            edgecolor="0.4",
            # A space first, since Matplotlib leaves out labels that begin with an underscore.
            label="ignored" if label == IGNORE_LABEL else f" {class_names[label]}",
        )
        for label in labels
    ]
    legend = figure.legend(
        handles=entries, loc="outside lower center", ncols=columns, fontsize=8, frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def new_figure(size: tuple[float, float]):
    """Makes an empty, automatically arranged figure of `size` (width, height) in inches."""
    # Not through pyplot, which would keep every figure and choose a window system.
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def save_figure(path: str | os.PathLike, figure) -> None:
    """Writes a Matplotlib figure as PNG."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DOTS_PER_INCH)


def _table(colors: Sequence[Sequence[int]]) -> np.ndarray:
    """Returns the colour of every label value, uint8 `(256, 3)`."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colors)] = colors
    table[IGNORE_LABEL] = _IGNORE_COLOR
    return table
