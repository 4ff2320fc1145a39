"""The agreement of exported files with their model, on real images."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnseg.evaluation import metrics
from rnnseg.exporting.examples import LetterboxedExample

# The share of pixels for which a file has to predict the same class as the model.
_EQUAL = {"float32": 0.9999, "float16": 0.995, "dynamic": 0.985, "int8": 0.97}
# The largest loss of mean IoU, and the number of iterations at which it counts.
_MIOU_LOSS, _MIOU_ITERATIONS = 0.01, 6
# The advice for a file that misses a target.
_WAYS_OUT = {
    "float32": "if the logit difference is small, these pixels are practically ties; otherwise do "
    "not use this file",
    "float16": "use the float32 file",
    "dynamic": "use the float16 file, or int8, which is calibrated on images",
    "int8": "calibrate on more images (--limit), or use another file",
}


class Prediction(NamedTuple):
    """The prediction for an image.

    Attributes:
      classes: class map, integers, `(H, W)`.
      canvas: logits, float32, `(h, w, classes)`; None if they are not available.
    """

    classes: np.ndarray
    canvas: np.ndarray | None


Predictions = Mapping[int, Prediction]
"""The predictions for an image by number of iterations."""


@dataclasses.dataclass(frozen=True)
class Agreement:
    """The agreement of a file with the model after a number of iterations.

    Attributes:
      iterations: the number of iterations.
      equal: the share of pixels, 0-1, with the same class.
      logit_difference: the largest difference between two canvases; None if the file has none.
      miou: the mean IoU of the file, 0-1; None without labels.
      model_miou: the mean IoU of the model, 0-1; None without labels.
    """

    iterations: int
    equal: float
    logit_difference: float | None
    miou: float | None
    model_miou: float | None


@dataclasses.dataclass(frozen=True)
class FileParity:
    """The agreement of one file with the model.

    Attributes:
      file: the name of the file; for a SavedModel with its signatures.
      quantization: "float32", "float16", "dynamic" or "int8".
      agreements: one per number of iterations, rising.
      megabytes: the size of the file, 10^6 bytes; None if unknown.
      milliseconds: the time of a prediction on this machine, with as many iterations as in
        training; None if it was not measured, as of a SavedModel.
    """

    file: str
    quantization: str
    agreements: tuple[Agreement, ...]
    megabytes: float | None = None
    milliseconds: float | None = None

    @property
    def target(self) -> float:
        """The share of equal pixels, 0-1, that is expected."""
        return _EQUAL[self.quantization]

    def missed(self) -> list[str]:
        """Returns one line for each missed target."""
        lines = []
        worst = min(self.agreements, key=lambda each: each.equal)
        if worst.equal < self.target:
            lines.append(
                f"{100 * worst.equal:.3f} % equal pixels at n = {worst.iterations}, expected "
                f"{100 * self.target:g} %"
            )
        scored = [each for each in self.agreements if each.iterations == _MIOU_ITERATIONS]
        for each in scored or self.agreements[-1:]:
            if each.miou is None or each.model_miou is None:
                continue
            if each.miou < each.model_miou - _MIOU_LOSS:
                lines.append(
                    f"mIoU {100 * each.miou:.2f} % at n = {each.iterations}, expected "
                    f"{100 * (each.model_miou - _MIOU_LOSS):.2f} %"
                )
        return lines


def compare(
    images: Sequence[LetterboxedExample],
    expected: Sequence[Predictions],
    found: Iterable[Predictions],
    num_classes: int,
) -> tuple[Agreement, ...]:
    """Compares the predictions of a file with those of the model, outside the padding.

    Args:
      images: the segmented images; all with labels or all without.
      expected: the model's predictions.
      found: the file's predictions.
      num_classes: the number of classes.

    Returns:
      One agreement per number of iterations.
    """
    tallies = {number: _Tally(num_classes) for number in expected[0]}
    for image, model, file in zip(images, expected, found, strict=True):
        for number, tally in tallies.items():
            tally.add(image, model[number], file[number])
    return tuple(tally.agreement(number) for number, tally in sorted(tallies.items()))


class _Tally:
    """The counts over the images for one number of iterations."""

    def __init__(self, num_classes: int):
        self._equal = self._pixels = 0
        self._difference: float | None = None
        self._confusion = {
            name: np.zeros((num_classes, num_classes), np.int64) for name in ("model", "file")
        }

    def add(self, image: LetterboxedExample, model: Prediction, file: Prediction) -> None:
        """Counts an image."""
        part = tuple(slice(side) for side in image.content_size)
        maps = {"model": model.classes[part], "file": file.classes[part]}
        self._equal += np.count_nonzero(maps["model"] == maps["file"])
        self._pixels += maps["model"].size
        if file.canvas is not None:
            difference = float(np.abs(model.canvas - file.canvas).max())
            self._difference = max(self._difference or 0.0, difference)
        if image.label is not None:
            for name, confusion in self._confusion.items():
                confusion += metrics.confusion_matrix(image.label[part], maps[name], len(confusion))

    def agreement(self, iterations: int) -> Agreement:
        """Returns the agreement over the images so far."""
        labelled = self._confusion["model"].any()
        miou = {
            name: float(metrics.mean_iou(confusion)) if labelled else None
            for name, confusion in self._confusion.items()
        }
        return Agreement(
            iterations=iterations,
            equal=self._equal / self._pixels,
            logit_difference=self._difference,
            miou=miou["file"],
            model_miou=miou["model"],
        )


@dataclasses.dataclass(frozen=True)
class Parity:
    """The agreement of all files with the model.

    Attributes:
      checked_on: a description of the images.
      images: the number of images.
      files: one agreement per file.
    """

    checked_on: str
    images: int
    files: tuple[FileParity, ...]

    def missed(self) -> list[str]:
        """Returns one line for each missed target, with advice."""
        return [
            f"{each.file}: {line}; {_WAYS_OUT[each.quantization]}"
            for each in self.files
            for line in each.missed()
        ]

    def table(self) -> str:
        """Returns all numbers as a table."""
        width = max(len(each.file) for each in self.files)
        lines = [
            f"{self.checked_on}: {self.images} images; compared with the model in float32",
            "",
            f"{'file':{width}s}  iterations  equal pixels %  target %  logit difference  mIoU %  "
            "model's",
        ]
        for file in self.files:
            for each in file.agreements:
                logits, miou, model = (
                    "-" if value is None else f"{scale * value:.{digits}f}"
                    for value, scale, digits in (
                        (each.logit_difference, 1, 5),
                        (each.miou, 100, 2),
                        (each.model_miou, 100, 2),
                    )
                )
                name = file.file if each is file.agreements[0] else ""
                lines.append(
                    f"{name:{width}s}  {each.iterations:10d}  {100 * each.equal:14.4f}  "
                    f"{100 * file.target:8.2f}  {logits:>16s}  {miou:>6s}  {model:>7s}"
                )
        return "\n".join([*lines, *self._file_lines(width)])

    def _file_lines(self, width: int) -> list[str]:
        """Returns a table of the sizes and times of the files."""
        lines = ["", f"{'file':{width}s}      MB  milliseconds of a prediction on this machine"]
        for file in self.files:
            size, time = (
                "-" if value is None else f"{value:.1f}"
                for value in (file.megabytes, file.milliseconds)
            )
            lines.append(f"{file.file:{width}s}  {size:>6s}  {time:>12s}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Returns the same numbers for JSON."""
        return {
            "checked_on": self.checked_on,
            "images": self.images,
            "files": [dataclasses.asdict(each) | {"target": each.target} for each in self.files],
            "missed": self.missed(),
        }
