"""Compares the power spectra of predicted masks with those of the ground truth, class by class.

    python -m experiments.spectra runs/voc --data data/voc --out spectra

The paper's Figure 8. The mask of a class, 1 on its pixels and 0 elsewhere, is windowed, and its
power spectrum is averaged over all directions. Each spectrum is divided by its sum, so that the
share of detail is compared and not the size of objects. Spectra are averaged over the images that
show the class. Ignored pixels of the truth get the class of the nearest labelled pixel, so that
both masks have a single outline and no gap.

Detail is the power above 1 / (2 * canvas stride) cycles per pixel, the highest frequency of the
canvas. Prints, and draws in OUT.png, the share of detail in the power for every class, in the truth
and after several numbers of iterations. Prints also the distance, in decibels, of the spectra of
the predictions from the truth of the same class, and from the mean of the truth over all classes.
OUT.csv has the spectra.

The paper found that predictions have the mean spectrum of all classes, even for classes with finer
detail (bicycles, chairs).

Results on a subset of VOC: chairs, bicycles and plants, the most detailed classes, lose detail and
come near the mean; sofas and television sets gain detail; 7 of 16 classes have a spectrum nearer to
the mean of all classes than to their own. Animals and persons, of which there are many images, keep
their own. On CamVid every class keeps its own, and none is nearer to the mean: predictions have
less detail, though for cars, pavement and buildings more with every iteration
(`docs/experiments/paper.md`).
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import click
import numpy as np

from rnnseg import visualize
from rnnseg.cli.base import Command
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError
from rnnseg.video import libraries

from . import options
from .drawing import label_axes
from .runs import open_split, read_examples
from .tables import ResultFiles, iteration_titles, markdown_table

TRUTH = "truth"
EDGES = np.geomspace(1 / 256, 0.5, 25)
"""The edges of the rings over which power is averaged, in cycles per pixel."""
_CLASS_COLORS = visualize.LINE_COLORS[1::-1]
# Of a class, in the truth and in the predictions: an object that is smaller than a canvas pixel has
# no shape.
_LEAST_PIXELS = 256


@dataclasses.dataclass(frozen=True)
class Row:
    """One ring of the mean spectrum of a class.

    Attributes:
      class_name: the name of the class.
      images: the number of images in the mean.
      mask: `TRUTH`, or the number of iterations.
      frequency: the geometric mean of the ring's edges, in cycles per pixel.
      power: the mean power over the ring, as a share of the sum over all frequencies; NaN if the
        images are too small to have a frequency in the ring.
    """

    class_name: str
    images: int
    mask: str
    frequency: float
    power: float


@click.command(cls=Command)
@options.model_and_data
@options.iteration_numbers("1,2,3,6,12")
@options.table()
def main(model, data, split, iterations, out):
    """Compare the spectra of predicted masks with those of the truth."""
    from rnnseg.evaluation.unrolling import Unroller
    from rnnseg.models.loading import load_model

    files = ResultFiles.named(out)
    segmenter = load_model(model)
    source = open_split(data, split, segmenter)
    if not segmenter.recurrent:
        iterations = (1,)
    unroll = Unroller(segmenter)
    sums = Sums(source.num_classes, 1 / (2 * segmenter.canvas_stride))
    for example in read_examples(source, split):
        maps = {TRUTH: nearest_labels(example.label)}
        maps |= dict(zip(map(str, iterations), unroll(example.image, iterations), strict=True))
        sums.add(maps)
    found = sums.classes(source.class_names)
    if not found:
        raise UserError(f"{data}: no class of {split} is both shown and predicted")
    numbers = [str(n) for n in iterations]
    print(f"{table(found, numbers)}\n")
    files.save(
        spectrum_rows(found),
        lambda path: save_plot(path, found, numbers, segmenter.canvas_stride),
    )


def nearest_labels(label: np.ndarray) -> np.ndarray:
    """Returns a label whose ignored pixels have the class of the nearest labelled pixel.

    Args:
      label: class indices or `IGNORE_LABEL`, uint8 `(h, w)`.
    """
    with libraries():
        import cv2

    ignored = label == IGNORE_LABEL
    if not ignored.any() or ignored.all():
        return label
    _, places = cv2.distanceTransformWithLabels(
        ignored.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE,
        labelType=cv2.DIST_LABEL_PIXEL,
    )  # fmt: skip
    # OpenCV numbers the labelled pixels, and returns for each pixel the number of the nearest.
    class_of = np.empty(places.max() + 1, label.dtype)
    class_of[places[~ignored]] = label[~ignored]
    return class_of[places]


def power_spectrum(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distribution of a mask's power over the frequencies.

    The mean of the mask is subtracted and a Hann window is applied. Otherwise, an object that
    touches the edge of the image would have the spectrum of the edge.

    Args:
      mask: bool `(h, w)`, neither empty nor full.

    Returns:
      Frequencies in cycles per pixel, over all directions, and the power of each, with sum 1,
      `(h, w)` each.
    """
    height, width = mask.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    values = (mask - np.average(mask, weights=window)) * window
    power = np.abs(np.fft.fft2(values)) ** 2
    frequencies = np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.fftfreq(width))
    return frequencies, power / power.sum()


def ring_means(frequencies: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Returns the mean power in every ring between `EDGES`; NaN if it contains no frequency."""
    rings = np.digitize(frequencies.ravel(), EDGES)
    number = np.bincount(rings, minlength=len(EDGES) + 1)[1 : len(EDGES)]
    total = np.bincount(rings, power.ravel(), minlength=len(EDGES) + 1)[1 : len(EDGES)]
    return np.divide(total, number, out=np.full(len(EDGES) - 1, np.nan), where=number > 0)


@dataclasses.dataclass(frozen=True, eq=False)
class ClassSpectra:
    """The mean spectra of one class.

    Attributes:
      name: the name of the class.
      images: the number of images in the mean.
      spectra: the power in every ring, by mask.
      detail: the share of the power above the highest frequency of the canvas, 0-1, by mask.
    """

    name: str
    images: int
    spectra: Mapping[str, np.ndarray]
    detail: Mapping[str, float]


class Sums:
    """The sums of spectra by class and mask, to which images are added one by one.

    Args:
      num_classes: the number of classes.
      cutoff: the frequency above which power is detail, in cycles per pixel.
    """

    def __init__(self, num_classes: int, cutoff: float):
        self._cutoff = cutoff
        self._found = [[] for _ in range(num_classes)]

    def add(self, maps: Mapping[str, np.ndarray]) -> None:
        """Adds the classes of an image that have enough pixels in truth and all predictions.

        Args:
          maps: class maps, `(h, w)`, by mask.
        """
        for index, found in enumerate(self._found):
            masks = {name: each == index for name, each in maps.items()}
            sizes = [mask.sum() for mask in masks.values()]
            if _LEAST_PIXELS <= min(sizes) and max(sizes) < next(iter(masks.values())).size:
                found.append({name: self._measure(mask) for name, mask in masks.items()})

    def _measure(self, mask):
        frequencies, power = power_spectrum(mask)
        return ring_means(frequencies, power), power[frequencies > self._cutoff].sum()

    def classes(self, names: Sequence[str]) -> list[ClassSpectra]:
        """Returns the means of all classes that were added.

        Args:
          names: one name per class.
        """
        result = []
        for name, found in zip(names, self._found, strict=True):
            if not found:
                continue
            spectra, detail = {}, {}
            for mask in found[0]:
                rings = np.stack([each[mask][0] for each in found])
                there = ~np.isnan(rings)
                total = np.where(there, rings, 0).sum(axis=0)
                with np.errstate(invalid="ignore"):
                    spectra[mask] = total / there.sum(axis=0)
                detail[mask] = float(np.mean([each[mask][1] for each in found]))
            result.append(ClassSpectra(name, len(found), spectra, detail))
        return result


def distance(spectrum: np.ndarray, other: np.ndarray) -> float:
    """Returns the root of the mean squared difference of two spectra, in decibels."""
    return float(np.sqrt(np.nanmean((10 * np.log10(spectrum / other)) ** 2)))


def mean_spectrum(found: Sequence[ClassSpectra], mask: str) -> np.ndarray:
    """Returns the mean spectrum of a mask over the classes."""
    return np.mean([each.spectra[mask] for each in found], axis=0)


def table(found: Sequence[ClassSpectra], numbers: Sequence[str]) -> str:
    """Returns the detail and the distances of all classes as two Markdown tables."""
    return (
        "detail, % of the power, and its ratio to the truth's\n\n"
        f"{_detail_table(found, numbers)}\n\n"
        "distance of the prediction's spectrum, dB, mean over the classes\n\n"
        f"{_distance_table(found, numbers)}"
    )


def _detail_table(found, numbers) -> str:
    mean = {mask: np.mean([each.detail[mask] for each in found]) for mask in (TRUTH, *numbers)}
    details = [
        (each.name, each.images, each.detail)
        for each in sorted(found, key=lambda each: -each.detail[TRUTH])
    ]
    rows = [
        [
            name,
            images,
            *(f"{100 * detail[mask]:.2f}" for mask in (TRUTH, *numbers)),
            *(f"{detail[number] / detail[TRUTH]:.2f}" for number in numbers),
        ]
        for name, images, detail in (*details, ("mean", "", mean))
    ]
    titles = iteration_titles(numbers)
    ratios = [f"ratio, {title}" for title in titles]
    return markdown_table(["class", "images", "truth", *titles, *ratios], rows)


def _distance_table(found, numbers) -> str:
    of_all = mean_spectrum(found, TRUTH)
    own = [[distance(each.spectra[n], each.spectra[TRUTH]) for each in found] for n in numbers]
    mean = [[distance(each.spectra[n], of_all) for each in found] for n in numbers]
    closer = np.sum(np.array(mean) < np.array(own), axis=1)
    rows = [
        ["of the same class", *(f"{np.mean(each):.2f}" for each in own)],
        ["mean of all classes", *(f"{np.mean(each):.2f}" for each in mean)],
        [
            "classes closer to the mean than to their own",
            *(f"{each} of {len(found)}" for each in closer),
        ],
    ]
    return markdown_table(["from the truth's", *iteration_titles(numbers)], rows)


def spectrum_rows(found: Sequence[ClassSpectra]) -> list[Row]:
    """Returns all spectra, one row per ring."""
    middles = np.sqrt(EDGES[:-1] * EDGES[1:])
    return [
        Row(each.name, each.images, mask, float(frequency), float(power))
        for each in found
        for mask, spectrum in each.spectra.items()
        for frequency, power in zip(middles, spectrum, strict=True)
    ]


def save_plot(path, found: Sequence[ClassSpectra], numbers: Sequence[str], stride: int) -> None:
    """Draws spectra, the ratio of prediction to truth, and the detail of every class."""
    figure = visualize.new_figure((11, 6.4))
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 1.1))
    spectra, ratios = (figure.add_subplot(grid[row, 0]) for row in (0, 1))
    classes = figure.add_subplot(grid[:, 1])
    found = sorted(found, key=lambda each: each.detail[TRUTH])
    middles = np.sqrt(EDGES[:-1] * EDGES[1:])
    drawn = {f"{each.name}": each.spectra for each in (found[-1], found[0])}
    drawn["mean of all classes"] = {mask: mean_spectrum(found, mask) for mask in (TRUTH, *numbers)}
    for (name, by_mask), color in zip(drawn.items(), (*_CLASS_COLORS, "#000000"), strict=False):
        spectra.loglog(middles, by_mask[TRUTH], color=color, label=f"{name}, truth")
        spectra.loglog(middles, by_mask[numbers[-1]], "--", color=color,
                       label=f"{name}, n = {numbers[-1]}")  # fmt: skip
    label_axes(spectra, "", "power (share of the total)", "Least and most detailed class")
    spectra.legend(frameon=False, fontsize=7)
    colors = dict(zip(numbers, itertools.cycle(visualize.LINE_COLORS), strict=False))
    for number, color in colors.items():
        ratio = [np.log(each.spectra[number] / each.spectra[TRUTH]) for each in found]
        ratio = np.exp(np.mean(ratio, axis=0))
        ratios.semilogx(middles, ratio, color=color, marker="o", markersize=3,
                        label=f"n = {number}")  # fmt: skip
    ratios.axhline(1, color="#000000", linewidth=1)
    ratios.set_ylim(bottom=0)
    label_axes(ratios, "spatial frequency (cycles per pixel)", "power, prediction / truth",
               "Geometric mean over the classes")  # fmt: skip
    ratios.legend(frameon=False, fontsize=8, ncols=2, loc="best")
    for axes in (spectra, ratios):
        axes.axvline(1 / (2 * stride), color="0.5", linestyle=":")
    ratios.annotate("finest of\nthe canvas", (1 / (2 * stride), 0.04), xytext=(4, 0),
                    textcoords="offset points", fontsize=8, color="0.35")  # fmt: skip
    places = np.arange(len(found))
    shown = dict.fromkeys((numbers[0], numbers[-1]))
    for number, marker in zip(shown, "os", strict=False):
        classes.plot([100 * each.detail[number] for each in found], places, marker,
                     color=colors[number], markersize=6, label=f"n = {number}")  # fmt: skip
    truth = [100 * each.detail[TRUTH] for each in found]
    classes.plot(truth, places, "D", color="#000000", markersize=6, markerfacecolor="none",
                 label="truth")  # fmt: skip
    classes.axvline(np.mean(truth), color="#000000", linestyle="--", linewidth=1,
                    label="mean of the truth")  # fmt: skip
    classes.set_yticks(places, [each.name for each in found])
    classes.set_xlim(left=0)
    label_axes(classes, "detail (% of the power, above the finest of the canvas)", "",
               "Detail by class")  # fmt: skip
    classes.legend(frameon=False, loc="lower right")
    visualize.save_figure(path, figure)


if __name__ == "__main__":
    main()
