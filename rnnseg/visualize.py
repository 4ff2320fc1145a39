"""Drawings of class maps, and of accuracy against cost."""

import dataclasses
import itertools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rnnseg.data.source import IGNORE_LABEL
from rnnseg.files import atomic_path
from rnnseg.png import write_png

if TYPE_CHECKING:  # loaded with the first figure
    from matplotlib.figure import Figure

_IGNORE_COLOR = (224, 224, 224)
# Of overlays in figures: colours are to be told apart on small panels.
_OPACITY = 0.65
# Of a strip, in inches: texts stay legible where a page shows it 700 pixels wide.
_STRIP_COLUMNS, _STRIP_PANEL = 4, 2.0
_LEGEND_COLUMN = 1.6  # inches
# Images are drawn and counted in bands of about so many pixels, so that large ones need little
# memory.
_BAND = 2**19
# As many characters fit below a curve, of which each line and its margins take eight.
_LEGEND_CHARACTERS = 130
DOTS_PER_INCH = 150
"""The resolution of all figures."""
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
      multiply_adds: the multiply-adds per prediction; None where they are not known.
      milliseconds: the milliseconds per prediction.
      trained_iterations: the number of iterations in training, which is marked; None for no mark.
      family: the name of a family, such as a system at several strides. Curves of a family share
        their colour; from the second on, their lines are dashed and their dots hollow. None: the
        curve is a family of its own.
    """

    name: str
    iterations: Sequence[int]
    miou: Sequence[float]
    multiply_adds: Sequence[int | None]
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

    Pixels of a class whose colour is black, as the background's in most tables, stay those of the
    image: blended with black they would only be darker.

    Args:
      image: uint8 RGB, `(h, w, 3)`.
      labels: class indices or `IGNORE_LABEL`, `(h, w)`.
      colors: one (red, green, blue) of 0-255 per class.
      opacity: the opacity of the colours, 0-1.

    Returns:
      uint8 `(h, w, 3)`; ignored pixels are those of the image, too.
    """
    table, blended = opacity * _table(colors), is_blended(colors)
    drawn = np.empty_like(image)
    for rows in _bands(image):
        part, seen = image[rows], labels[rows]
        mixed = np.rint((1 - opacity) * part + table.take(seen, axis=0)).astype(np.uint8)
        drawn[rows] = np.where(blended[seen][..., np.newaxis], mixed, part)
    return drawn


def _bands(image: np.ndarray) -> Iterator[slice]:
    """Yields the rows of an image `(h, w, ...)`, a band of some at a time."""
    rows = max(1, _BAND // max(1, image.shape[1]))
    for top in range(0, len(image), rows):
        yield slice(top, min(top + rows, len(image)))


def is_blended(colors: Sequence[Sequence[int]]) -> np.ndarray:
    """Returns which labels `overlay` blends: those whose colour is not black; bool `(256,)`."""
    blended = np.asarray(_table(colors).any(1))
    blended[IGNORE_LABEL] = False
    return blended


def save_overlay(
    path: str | os.PathLike,
    image: np.ndarray,
    labels: np.ndarray,
    colors: Sequence[Sequence[int]],
    class_names: Sequence[str],
) -> None:
    """Writes an overlay, at the size of the image, with a legend of its classes below.

    The legend lists the classes that occur, the largest first, with their shares of the image.

    Args:
      path: the PNG file to write.
      image: uint8 RGB, `(h, w, 3)`.
      labels: class indices, `(h, w)`.
      colors: one (red, green, blue) of 0-255 per class.
      class_names: one name per class.
    """
    shares = class_shares(labels, len(class_names))
    entries = [
        (f"{class_names[label]} {percent(share)}", _legend_color(label, colors))
        for label, share in shares.items()
    ]
    legend = _draw_legend(entries, image.shape[1])
    height, width = image.shape[:2]
    right = (0, 0), (0, legend.width - width), (0, 0)

    def bands() -> Iterator[np.ndarray]:
        for rows in _bands(image):
            drawn = overlay(image[rows], labels[rows], colors)
            yield np.pad(drawn, right, constant_values=255)
        entries = np.asarray(legend)
        for rows in _bands(entries):
            yield entries[rows]

    write_png(path, (height + legend.height, legend.width), bands())


def class_shares(labels: np.ndarray, num_classes: int) -> dict[int, float]:
    """Returns the share, 0-1, of the labelled pixels of every class that occurs, falling.

    Args:
      labels: class indices or `IGNORE_LABEL`, `(h, w)`.
      num_classes: the number of classes.
    """
    counts = np.zeros(num_classes, int)
    for rows in _bands(labels):
        counts += np.bincount(labels[rows].ravel(), minlength=num_classes)[:num_classes]
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    return {int(label): float(counts[label] / counts.sum()) for label in order}


def percent(share: float) -> str:
    """Formats a share, 0-1, such as "41 %", or "< 1 %" for a small one."""
    return "< 1 %" if 100 * share < 0.5 else f"{100 * share:.0f} %"


def _draw_legend(entries: Sequence[tuple[str, tuple | None]], width: int) -> Image.Image:
    """Draws texts with the colours before them, in rows of at most `width` pixels if they fit."""
    import matplotlib

    size = max(12, width // 50)
    # The font of all figures.
    file = os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    font = ImageFont.truetype(file, size)
    gap, line = size // 2, round(1.7 * size)
    rows: list[list[tuple[int, str, tuple | None]]] = [[]]
    x = gap
    for text, color in entries:
        length = size + gap + math.ceil(font.getlength(text)) + 2 * gap
        if rows[-1] and x + length > width:
            rows.append([])
            x = gap
        rows[-1].append((x, text, color))
        x += length
    ends = [x + size + gap + math.ceil(font.getlength(text)) for row in rows for x, text, _ in row]
    legend = Image.new("RGB", (max([width, *(end + gap for end in ends)]), line * len(rows) + gap),
                       "white")  # fmt: skip
    draw = ImageDraw.Draw(legend)
    for number, row in enumerate(rows):
        middle = gap // 2 + line * number + line // 2
        for x, text, color in row:
            box = (x, middle - size // 2, x + size, middle + size // 2)
            draw.rectangle(box, fill=color, outline=(100, 100, 100))
            draw.text((x + size + gap, middle), text, "black", font, anchor="lm")
    return legend


def _legend_color(label: int, colors: Sequence[Sequence[int]]) -> tuple[int, int, int] | None:
    """Returns the colour of a label in the legend of overlays; None if it is not blended."""
    red, green, blue = colors[label]
    return (red, green, blue) if is_blended(colors)[label] else None


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
    overlaid: bool = False,
) -> None:
    """Draws an image and its class maps, such as those after every iteration, in rows.

    Args:
      path: the PNG file to write.
      image: uint8 RGB, `(h, w, 3)`.
      maps: class maps, each `(h, w)`.
      colors: one (red, green, blue) of 0-255 per class.
      class_names: one name per class.
      titles: one title per map.
      truth: the label, which is drawn last; None to draw none.
      overlaid: True to draw the maps over the image.
    """
    labelled = list(zip(titles, maps, strict=True))
    if truth is not None:
        labelled.append(("ground truth", truth))
    panels = [("image", image)]
    for title, labels in labelled:
        drawn = overlay(image, labels, colors, _OPACITY) if overlaid else colorize(labels, colors)
        panels.append((title, drawn))
    shown = np.unique(np.concatenate([np.unique(labels) for _, labels in labelled]))
    # As few rows as there can be, of the same length.
    columns = math.ceil(len(panels) / math.ceil(len(panels) / _STRIP_COLUMNS))
    _save_panels(path, panels, colors, class_names, shown, columns, _STRIP_PANEL, overlaid)


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
        panels += [(name, image), ("", overlay(image, labels, colors, _OPACITY))]
    shown = np.unique(np.concatenate([np.unique(each) for each in label_maps]))
    _save_panels(path, panels, colors, class_names, shown, columns=6, side=2.4, overlaid=True)


def save_comparison(
    path: str | os.PathLike,
    image: np.ndarray,
    prediction: np.ndarray,
    truth: np.ndarray,
    colors: Sequence[Sequence[int]],
    class_names: Sequence[str],
) -> None:
    """Draws an image, the overlay of its prediction and the overlay of its label in a row.

    Args:
      path: the PNG file to write.
      image: uint8 RGB, `(h, w, 3)`.
      prediction: class indices, `(h, w)`.
      truth: class indices or `IGNORE_LABEL`, `(h, w)`.
      colors: one (red, green, blue) of 0-255 per class.
      class_names: one name per class.
    """
    panels = [
        ("image", image),
        ("prediction", overlay(image, prediction, colors, _OPACITY)),
        ("ground truth", overlay(image, truth, colors, _OPACITY)),
    ]
    shown = np.union1d(prediction, truth)
    _save_panels(path, panels, colors, class_names, shown, columns=3, side=4.0, overlaid=True)


def save_curve(path: str | os.PathLike, curves: Sequence[Curve]) -> None:
    """Draws mIoU against multiply-adds and milliseconds, with one dot per number of iterations.

    Where the multiply-adds are not known, there is no dot; if none are, there is one panel alone.

    Args:
      path: the PNG file to write.
      curves: one curve per model.
    """
    figure = new_figure((11, 4.6))
    known = [count for curve in curves for count in curve.multiply_adds if count is not None]
    unit, factor = ("G", 1e-9) if max(known, default=0) >= 1e9 else ("M", 1e-6)
    drawn: list[tuple[str, list[Sequence[float]]]] = [
        ("time per image (ms)", [curve.milliseconds for curve in curves])
    ]
    if known:
        counts: list[Sequence[float]] = [
            [math.nan if count is None else factor * count for count in curve.multiply_adds]
            for curve in curves
        ]
        drawn.insert(0, (f"multiply-adds per image ({unit})", counts))
    panels = figure.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
    families = [curve.family or curve.name for curve in curves]
    colors = dict(zip(dict.fromkeys(families), itertools.cycle(LINE_COLORS), strict=False))
    for axes, (label, costs) in zip(panels, drawn, strict=True):
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
                if iterations == curve.trained_iterations and not math.isnan(cost[position]):
                    axes.plot(
                        cost[position], miou[position], "o", markersize=12, markerfacecolor="none",
                        markeredgecolor=color, markeredgewidth=1.5,
                        label=None if marked else "iterations in training",
                    )  # fmt: skip
                    marked = True
            for position in _labelled(curve):
                if math.isnan(cost[position]):
                    continue
                axes.annotate(
                    str(curve.iterations[position]), (cost[position], miou[position]),
                    xytext=(0, -15), textcoords="offset points", ha="center", fontsize=9,
                )  # fmt: skip
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
        axes.margins(x=0.05, y=0.12)
    panels[0].set_ylabel("mIoU (%)")
    # The legend lies below the axes, where it cannot cover a point.
    lines, labels = panels[-1].get_legend_handles_labels()
    columns = max(1, min(4, _LEGEND_CHARACTERS // (max(map(len, labels)) + 8)))
    legend = figure.legend(lines, labels, loc="outside lower center", ncols=columns, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    figure.suptitle("Speed and accuracy by number of iterations", fontsize=11)
    save_figure(path, figure)


def _labelled(curve: Curve) -> list[int]:
    """Returns the positions of the dots that are labelled: few enough not to overlap."""
    if len(curve.iterations) == 1:
        return []
    wanted = {1, 2, 3, curve.trained_iterations, curve.iterations[-1]}
    return [index for index, number in enumerate(curve.iterations) if number in wanted]


def _save_panels(
    path: str | os.PathLike,
    panels: Sequence[tuple[str, np.ndarray]],
    colors: Sequence[Sequence[int]],
    class_names: Sequence[str],
    shown: Sequence[int] | np.ndarray,
    columns: int,
    side: float,
    overlaid: bool = False,
) -> None:
    """Draws panels in rows; `side` is the width of one, in inches."""
    rows = math.ceil(len(panels) / columns)
    height, width = np.median([image.shape[:2] for _, image in panels], axis=0)
    legend_columns = max(1, int(side * columns / _LEGEND_COLUMN))
    legend_rows = math.ceil(len(shown) / legend_columns)
    size = (side * columns, (side * height / width + 0.5) * rows + 0.3 * legend_rows)
    figure = new_figure(size)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (title, image) in zip(grid.flat, panels, strict=False):
        axes.imshow(image, interpolation="nearest" if image.shape[0] < 300 else "antialiased")
        # A $ in a file name does not start a formula.
        axes.set_title(title, fontsize=9, parse_math=False)
    add_class_legend(figure, shown, colors, class_names, legend_columns, overlaid)
    save_figure(path, figure)


def add_class_legend(
    figure: "Figure",
    labels: Iterable[int],
    colors: Sequence[Sequence[int]],
    class_names: Sequence[str],
    columns: int,
    overlaid: bool = False,
) -> None:
    """Adds a legend of class colours below a Matplotlib figure.

    Args:
      figure: a figure from `new_figure`.
      labels: the labels to list: class indices or `IGNORE_LABEL`.
      colors: one (red, green, blue) of 0-255 per class.
      class_names: one name per class.
      columns: the number of columns of the legend.
      overlaid: True for overlays: labels that are not blended get no colour.
    """
    from matplotlib.patches import Patch

    table, blended = _table(colors), is_blended(colors)
    entries = [
        Patch(
            facecolor="none" if overlaid and not blended[label] else table[label] / 255,
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


def new_figure(size: tuple[float, float]) -> "Figure":
    """Makes an empty, automatically arranged figure of `size` (width, height) in inches."""
    # Not through pyplot, which would keep every figure and choose a window system.
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def save_figure(path: str | os.PathLike, figure: "Figure") -> None:
    """Writes a Matplotlib figure as PNG."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH)


def _table(colors: Sequence[Sequence[int]]) -> np.ndarray:
    """Returns the colour of every label value, uint8 `(256, 3)`."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colors)] = colors
    table[IGNORE_LABEL] = _IGNORE_COLOR
    return table
