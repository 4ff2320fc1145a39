"""Figures of an evaluation and of a training: confusion matrix, IoU by class, loss and mIoU."""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from rnnseg import visualize
from rnnseg.visualize import LINE_COLORS

# A cell of the confusion matrix and a bar, in inches.
_CELL, _BAR = 0.4, 0.26
# Bars become thinner beyond some height of the figure, but not so thin that their names overlap.
_HIGH, _LEAST_BAR = 24.0, 0.15
# The rows of a confusion matrix, so that its names and numbers can be read.
_MOST_ROWS = 40
_GREY = "#d9d9d9"


def save_confusion(
    path: str | os.PathLike, confusion: np.ndarray, class_names: Sequence[str]
) -> None:
    """Draws a confusion matrix whose rows are shares of the pixels of the true class.

    A cell has its percentage from 0.5 % on; the row of a class that never occurs is grey. Of more
    than 40 classes, the 39 most frequent ones have a row, and the others one together.

    Args:
      path: the PNG file to write.
      confusion: counts of pixels, `(classes, classes)`; row: true class, column: predicted class.
      class_names: one name per class.
    """
    confusion, class_names = with_fewer_classes(confusion, class_names)
    shares = row_shares(confusion)
    count = len(class_names)
    side = 2.6 + _CELL * max(count, 4)
    figure = visualize.new_figure((side + 0.8, side))
    axes = figure.subplots()
    axes.set_facecolor(_GREY)
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(shown, ax=axes, shrink=0.6, label="% of the true class")
    axes.set_xticks(range(count), class_names, rotation=90, fontsize=8, parse_math=False)
    axes.set_yticks(range(count), class_names, fontsize=8, parse_math=False)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.5:
            axes.text(
                column, row, f"{share:.0f}", ha="center", va="center", fontsize=7.5,
                color="white" if share > 55 else "black",
            )  # fmt: skip
    # Lines between the cells lead the eye to the names.
    axes.set_xticks(np.arange(count - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(count - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    visualize.save_figure(path, figure)


def with_fewer_classes(
    confusion: np.ndarray, class_names: Sequence[str], most: int = _MOST_ROWS
) -> tuple[np.ndarray, list[str]]:
    """Puts the classes with the fewest true pixels together, if there are too many for a figure.

    Args:
      confusion: counts of pixels, `(classes, classes)`; row: true class, column: predicted class.
      class_names: one name per class.
      most: the largest number of rows.

    Returns:
      The matrix of at most so many rows and columns, and their names; the classes keep their order,
      and those that were put together come last.
    """
    if len(class_names) <= most:
        return confusion, list(class_names)
    order = np.argsort(-confusion.sum(1), kind="stable")
    kept, others = np.sort(order[: most - 1]), order[most - 1 :]
    for axis in (0, 1):
        together = confusion.take(others, axis).sum(axis, keepdims=True)
        confusion = np.concatenate([confusion.take(kept, axis), together], axis)
    return confusion, [*(class_names[each] for each in kept), f"{len(others)} other classes"]


def row_shares(confusion: np.ndarray) -> np.ndarray:
    """Returns a confusion matrix in % of the pixels of each true class.

    Args:
      confusion: counts of pixels, `(classes, classes)`; row: true class, column: predicted class.

    Returns:
      float64 `(classes, classes)`, rows summing to 100; NaN in the row of a class that never
      occurs.
    """
    pixels = confusion.sum(1, keepdims=True)
    empty = np.full(confusion.shape, np.nan)
    return np.divide(100.0 * confusion, pixels, out=empty, where=pixels > 0)


def save_class_iou(
    path: str | os.PathLike,
    class_names: Sequence[str],
    iou: np.ndarray,
    iterations: int,
    earlier: tuple[int, np.ndarray] | None = None,
) -> None:
    """Draws the IoU of every class as a bar, the highest on top.

    Args:
      path: the PNG file to write.
      class_names: one name per class.
      iou: the IoU, 0-1, `(classes,)`; NaN for a class that neither occurs nor is predicted.
      iterations: the number of iterations of `iou`.
      earlier: a smaller number of iterations and its IoU, which is marked on the bars; None to mark
        nothing.
    """
    percent = 100 * iou
    # Classes without a score come last.
    order = np.argsort(-np.nan_to_num(percent, nan=-1.0), kind="stable")
    places = np.arange(len(order))
    height = min(1.2 + _BAR * max(len(order), 4), max(_HIGH, _LEAST_BAR * len(order)))
    figure = visualize.new_figure((8, height))
    axes = figure.subplots()
    bars = axes.barh(places, np.nan_to_num(percent[order]), height=0.7, color=LINE_COLORS[0])
    ends = np.nan_to_num(percent)
    if earlier is not None:
        number, before = earlier
        ends = np.fmax(ends, 100 * before)
        label = f"after {number} iteration{'s' * (number > 1)}"
        axes.plot(100 * before[order], places, "|", color=LINE_COLORS[1], markersize=11,
                  markeredgewidth=2.5, label=label)  # fmt: skip
        bars.set_label(f"after {iterations} iterations")
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    for place, each in zip(places, order, strict=True):
        text = "does not occur" if percent[each] != percent[each] else f"{percent[each]:.1f}"
        axes.text(ends[each] + 1, float(place), text, va="center", fontsize=8)
    axes.set_yticks(places, [class_names[each] for each in order], fontsize=8, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, 108)
    axes.set_xlabel("IoU (%)")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    visualize.save_figure(path, figure)


def save_training(path: str | os.PathLike, history: Sequence[Mapping[str, str]]) -> None:
    """Draws the loss of every epoch, and the scores of those that were validated.

    Args:
      path: the PNG file to write.
      history: the rows of a run's history, at least one; their mIoU is in percent.
    """
    figure = visualize.new_figure((11, 4))
    loss, miou = figure.subplots(1, 2)
    marker = "o" if len(history) < 2 else None  # a line needs two points
    loss.plot(*_column(history, "loss"), marker=marker, color=LINE_COLORS[0], label="training")
    validated = _column(history, "val_loss")
    if validated[0]:
        loss.plot(*validated, marker="o", markersize=4, color=LINE_COLORS[1], label="validation")
        loss.legend(frameon=False)
    loss.set_ylabel("loss")
    epochs, last = _column(history, "val_miou")
    first = _column(history, "val_miou_1_iteration")[1]
    if epochs:
        if first != last:
            miou.plot(epochs, first, marker="o", markersize=4, linestyle="--",
                      color=LINE_COLORS[1], label="after 1 iteration")  # fmt: skip
        miou.plot(epochs, last, marker="o", markersize=4, color=LINE_COLORS[0],
                  label="after all iterations" if first != last else "mIoU")  # fmt: skip
        best = int(np.argmax(last))
        miou.plot(epochs[best], last[best], "o", markersize=12, markerfacecolor="none",
                  markeredgecolor=LINE_COLORS[0], label=f"best: {last[best]:.2f} %")  # fmt: skip
        miou.legend(frameon=False)
    miou.set_ylabel("validation mIoU (%)")
    for axes in (loss, miou):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    visualize.save_figure(path, figure)


def _column(history: Sequence[Mapping[str, str]], name: str) -> tuple[list[int], list[float]]:
    """Returns the epochs that have a value, and the values."""
    pairs = [(int(row["epoch"]), float(row[name])) for row in history if row.get(name)]
    return [epoch for epoch, _ in pairs], [value for _, value in pairs]
