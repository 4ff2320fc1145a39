"""Parts of the figures of several experiments: grids of images, quartile curves, dots and axes."""

import dataclasses
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from rnnseg import visualize

# In inches: the panels of a row fill the width of a page, and their titles stay readable.
_WIDTH, _LEAST_WIDTH, _MOST_WIDTH = 10.0, 1.35, 3.3
_PAPER = "paper:"


@dataclasses.dataclass(frozen=True, eq=False)
class Panel:
    """A panel of a grid.

    Attributes:
      image: RGB, uint8 `(h, w, 3)`, or a class map with class indices or `IGNORE_LABEL`,
        `(h, w)`.
      title: the text above the image.
    """

    image: np.ndarray
    title: str = ""


def save_grid(
    path: str | os.PathLike,
    rows: Sequence[Sequence[Panel | None]],
    names: Sequence[str],
    colors: Sequence[Sequence[int]],
    class_names: Sequence[str],
) -> None:
    """Draws rows of images and class maps, with a legend of the classes that occur.

    Args:
      path: the PNG file.
      rows: rows of the same length; None leaves a place empty.
      names: one name per row, written beside it; may be empty.
      colors: one colour per class, (red, green, blue), 0-255.
      class_names: one name per class.
    """
    ratios = []
    for row in rows:
        sizes = [panel.image.shape[:2] for panel in row if panel is not None]
        ratios.append(max(height / width for height, width in sizes))
    titles = sum(max(_lines(panel) for panel in row if panel is not None) for row in rows)
    maps = [panel.image for row in rows for panel in row if _is_map(panel)]
    shown = np.unique(np.concatenate([np.unique(each) for each in maps]))
    side = min(max(_WIDTH / len(rows[0]), _LEAST_WIDTH), _MOST_WIDTH)
    width = side * len(rows[0]) + 0.2 * any(names)
    columns = max(1, int(width / 1.2))
    legend = 0.2 * -(-len(shown) // columns) + 0.15
    height = side * sum(ratios) + 0.15 * titles + 0.08 * len(rows) + legend
    figure = visualize.new_figure((width, height))
    grid = figure.subplots(len(rows), len(rows[0]), squeeze=False,
                           gridspec_kw={"height_ratios": ratios})  # fmt: skip
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    for axes_row, row, name in zip(grid, rows, names, strict=True):
        for axes, panel in zip(axes_row, row, strict=True):
            axes.set(xticks=[], yticks=[], frame_on=False)
            if panel is not None:
                image = panel.image
                if _is_map(panel):
                    image = visualize.colorize(image, colors)
                axes.imshow(image, interpolation="antialiased")
                # A $ in a file name does not begin a formula.
                axes.set_title(panel.title, fontsize=8, pad=3, parse_math=False)
        axes_row[0].set_ylabel(name, fontsize=8, parse_math=False)
    visualize.add_class_legend(figure, shown, colors, class_names, columns)
    visualize.save_figure(path, figure)


def save_starts(
    path: str | os.PathLike,
    image: np.ndarray,
    truth: np.ndarray,
    initial: Sequence[np.ndarray],
    seeded: Mapping[str, Sequence[np.ndarray]],
    source,
    numbers: Iterable[int],
) -> None:
    """Draws the class maps of an image by iteration, from the initial canvas and from seeds.

    Args:
      path: the PNG file.
      image: RGB, uint8 `(h, w, 3)`.
      truth: the ground truth, `(h, w)`.
      initial: the class maps from the initial canvas, after the first iteration and on, `(h, w)`
        each.
      seeded: the class maps from every seed, that of the seed itself first, by the seed's name.
      source: the data, for the colours and names of the classes.
      numbers: the numbers of iterations to show, as far as there are maps.
    """
    numbers = [number for number in numbers if number <= len(initial)]
    maps = [Panel(initial[number - 1], f"n = {number}") for number in numbers]
    rows = [[Panel(image, "image"), None, *maps, Panel(truth, "ground truth")]]
    for index, each in enumerate(seeded.values()):
        seed = Panel(each[0], "" if index else "seed")
        rows.append([None, seed, *(Panel(each[number]) for number in numbers), None])
    save_grid(path, rows, ["initial", *seeded], source.class_colors, source.class_names)


def _is_map(panel: Panel | None) -> bool:
    return panel is not None and panel.image.ndim == 2


def _lines(panel: Panel) -> int:
    return panel.title.count("\n") + bool(panel.title)


def draw_quartiles(axes, numbers: Sequence[float], values: np.ndarray, label: str, **style) -> None:
    """Draws the median of many curves as a line, and their middle half as a band.

    Args:
      axes: the Matplotlib axes.
      numbers: the x values of the curves, `(points,)`.
      values: the y values, `(curves, points)`; NaN where a curve has none.
      label: the name in the legend.
      **style: options of the line, for Matplotlib; the band has its colour.
    """
    low, median, high = np.nanpercentile(values, (25, 50, 75), axis=0)
    (line,) = axes.plot(numbers, median, label=label, **style)
    axes.fill_between(numbers, low, high, color=line.get_color(), alpha=0.12, linewidth=0)


def save_dots(
    path: str | os.PathLike,
    names: Sequence[str],
    series: Mapping[str, Sequence[float]],
    xlabel: str,
    xscale: str = "linear",
) -> None:
    """Draws the numbers of a table: one line per name, with one dot per series.

    Args:
      path: the PNG file.
      names: the names of the lines, from the top.
      series: by the name of the series, one number per line, NaN where there is none. Series whose
        names begin with "paper:" have hollow markers; the others get lighter from one to the next.
      xlabel: the label of the x axis, with the unit.
      xscale: the scale of the x axis, for Matplotlib.
    """
    import matplotlib

    figure = visualize.new_figure((9, 0.27 * len(names) + 1.6))
    axes = figure.subplots()
    own = [name for name in series if not name.startswith(_PAPER)]
    shades = iter(matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(own))))
    outlines = itertools.cycle("DsP^vX")
    places = np.arange(len(names))[::-1]
    for name, values in series.items():
        if name in own:
            axes.plot(values, places, "o", color=next(shades), markersize=6, label=name)
        else:
            axes.plot(values, places, next(outlines), color="#555555", markerfacecolor="none",
                      markersize=6, label=name)  # fmt: skip
    axes.set_xscale(xscale)
    axes.set_yticks(places, names)
    label_axes(axes, xlabel, "")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    visualize.save_figure(path, figure)


def label_axes(axes, xlabel: str, ylabel: str, title: str = "") -> None:
    """Sets the labels and the title of axes, and draws a grid."""
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.3)
