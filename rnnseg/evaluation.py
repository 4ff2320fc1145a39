"""Scores, costs and times of a segmenter at many numbers of iterations, in one pass."""

import collections
import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from rnnseg import budgets, metrics
from rnnseg.data.pipeline import evaluation_pictures
from rnnseg.data.source import Source
from rnnseg.errors import UserError


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What evaluation found; arrays have one row for each of `iterations`.

    Attributes:
      data, split: what was evaluated on.
      class_names: of the data.
      pictures: number of pictures.
      iterations: numbers of iterations, rising.
      confusion: `(len(iterations), classes, classes)`; row: true class, column: predicted class.
      picture_size: the most common (height, width), for which `multiply_adds` are counted.
      multiply_adds: of one prediction.
      milliseconds: median over the pictures of the whole prediction's time, one picture at a time.
    """

    data: str
    split: str
    class_names: tuple[str, ...]
    pictures: int
    iterations: tuple[int, ...]
    confusion: np.ndarray
    picture_size: tuple[int, int]
    multiply_adds: tuple[int, ...]
    milliseconds: tuple[float, ...]

    @property
    def miou(self) -> np.ndarray:
        """Mean IoU, 0-1."""
        return metrics.mean_iou(self.confusion)

    @property
    def class_iou(self) -> np.ndarray:
        """IoU of every class, 0-1, `(len(iterations), classes)`; NaN where it never occurs."""
        return metrics.class_iou(self.confusion)

    @property
    def pixel_accuracy(self) -> np.ndarray:
        """Share of right pixels, 0-1."""
        return metrics.pixel_accuracy(self.confusion)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain numbers; a class that never occurs has IoU null."""
        rows = []
        for index, iterations in enumerate(self.iterations):
            iou = {
                name: None if np.isnan(value) else float(value)
                for name, value in zip(self.class_names, self.class_iou[index], strict=True)
            }
            rows.append(
                {
                    "iterations": iterations,
                    "miou": float(self.miou[index]),
                    "pixel_accuracy": float(self.pixel_accuracy[index]),
                    "multiply_adds": self.multiply_adds[index],
                    "milliseconds": self.milliseconds[index],
                    "class_iou": iou,
                }
            )
        return {
            "data": self.data,
            "split": self.split,
            "pictures": self.pictures,
            "picture_size": list(self.picture_size),
            "results": rows,
        }


class Evaluator:
    """Evaluates one model again and again, at given numbers of iterations.

    Args:
      model: a segmenter.
      iterations: numbers of iterations, in any order.

    Raises:
      UserError: no numbers, or one below 1.
    """

    def __init__(self, model, iterations: Sequence[int]):
        self.model = model
        self.iterations = tuple(sorted(set(iterations)))
        if not self.iterations or self.iterations[0] < 1:
            raise UserError(f"iterations {list(iterations)}: expected numbers of at least 1")
        if not model.recurrent and self.iterations != (1,):
            raise UserError(
                f"iterations {list(iterations)}: {model.name} is feed-forward and has one alone"
            )
        # Sizes are left open, so that one trace serves every picture.
        image = tf.TensorSpec((None, None, 3), tf.uint8)
        self._prepare = tf.function(
            lambda image: model.prepare(model.encode(image[tf.newaxis])),
            input_signature=[image],
            autograph=False,
        )
        self._refine = tf.function(model.refine, reduce_retracing=True, autograph=False)
        self._read = tf.function(
            lambda canvas, size: model.read(canvas, size)[0], reduce_retracing=True, autograph=False
        )

    def __call__(self, source: Source, split: str, progress: bool = True) -> Evaluation:
        """Runs over one split.

        Args:
          source: the data, with the model's classes.
          split: its split.
          progress: whether a progress bar is shown.

        Returns:
          The evaluation. Memory does not grow with the number of pictures.

        Raises:
          UserError: no such split, an empty one, other classes than the model's, or a label outside
            the classes.
        """
        check_classes(self.model, source)
        pictures = source.require_split(split)
        classes = source.num_classes
        confusion = np.zeros((len(self.iterations), classes, classes), np.int64)
        seconds, sizes = [], collections.Counter()
        bar = tqdm(
            evaluation_pictures(source, split).as_numpy_iterator(),
            total=pictures,
            desc=f"evaluate {split}",
            unit="picture",
            # None: no bar where the output goes to a file.
            disable=None if progress else True,
        )
        for image, label, name in bar:
            if image.shape[:2] != label.shape:
                raise UserError(
                    f"{name.decode()}: picture of {image.shape[:2]} and label of {label.shape} "
                    "pixels"
                )
            if min(label.shape) < self.model.output_stride:
                raise UserError(
                    f"{name.decode()}: picture of {label.shape[1]}x{label.shape[0]} pixels; "
                    f"expected at least {self.model.output_stride} (one output stride) a side"
                )
            if not seconds:
                self._segment(image)  # traces, so that no picture's time holds the compiling
            maps, times = self._segment(image)
            for row, prediction in zip(confusion, maps, strict=True):
                try:
                    row += metrics.confusion_matrix(label, prediction, classes)
                except UserError as error:
                    raise UserError(f"{name.decode()}: {error}") from error
            seconds.append(times)
            sizes[label.shape] += 1
        picture_size = sizes.most_common(1)[0][0]
        costs = budgets.stage_costs(self.model, *picture_size)
        return Evaluation(
            data=source.name,
            split=split,
            class_names=source.class_names,
            pictures=pictures,
            iterations=self.iterations,
            confusion=confusion,
            picture_size=picture_size,
            multiply_adds=tuple(costs.total(n) for n in self.iterations),
            milliseconds=tuple(1000 * float(each) for each in np.median(seconds, axis=0)),
        )

    def _segment(self, image) -> tuple[list[np.ndarray], list[float]]:
        """The class map after each number of iterations, and the time that it alone would take."""
        size = tf.constant(image.shape[:2])
        begin = time.perf_counter()
        prepared = self._prepare(image)
        tf.test.experimental.sync_devices()  # a GPU may still be at work
        spent = time.perf_counter() - begin
        maps, times, done = [], [], 0
        canvas = state = None
        for iterations in self.iterations:
            begin = time.perf_counter()
            canvas, state = self._refine(prepared, tf.constant(iterations - done), canvas, state)
            tf.test.experimental.sync_devices()
            spent += time.perf_counter() - begin
            begin = time.perf_counter()
            maps.append(self._read(canvas, size).numpy())
            times.append(spent + time.perf_counter() - begin)
            done = iterations
        return maps, times


def check_classes(model, source: Source) -> None:
    """Makes sure that model and data mean the same by their labels.

    Raises:
      UserError: another number of classes, or other names.
    """
    if model.num_classes != source.num_classes:
        raise UserError(
            f"the model has {model.num_classes} classes but {source.name} has "
            f"{source.num_classes}: "
            "use the data that the model was trained for"
        )
    if model.class_names is not None and model.class_names != source.class_names:
        wrong = next(
            index
            for index, pair in enumerate(zip(model.class_names, source.class_names, strict=True))
            if pair[0] != pair[1]
        )
        raise UserError(
            f"class {wrong} is {model.class_names[wrong]!r} in the model but "
            f"{source.class_names[wrong]!r} in {source.name}: use the data that the model was "
            "trained for"
        )
