"""Scores, costs and times of a segmenter at many numbers of iterations, in one pass."""

import collections
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from rnnseg.budgets import timing
from rnnseg.data.pipeline import evaluation_images
from rnnseg.data.source import Source
from rnnseg.errors import UserError
from rnnseg.evaluation import metrics
from rnnseg.evaluation.cityscapes import Instances, InstanceSums, Scores
from rnnseg.evaluation.multi_scale import multi_scale_costs
from rnnseg.evaluation.unrolling import Unroller

# Of timing, after one to warm up.
_ROUNDS = 5


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What evaluation found; arrays have one row for each of `iterations`.

    Attributes:
      data, split: what was evaluated on.
      class_names: of the data.
      images: number of images.
      iterations: numbers of iterations, rising.
      confusion: `(len(iterations), classes, classes)`; row: true class, column: predicted class.
      image_size: the most common (height, width), for which `multiply_adds` are counted.
      multiply_adds: of one prediction.
      milliseconds: of one prediction, from the image to its class map, with all iterations in one
        call: on the line through the times of a few numbers of them, on one image of that size.
      scales: at which every image was seen.
      flip: whether it was seen mirrored at each of them, too.
      cityscapes: the official scores of Cityscapes, one for each of `iterations`; None for other
        data.
    """

    data: str
    split: str
    class_names: tuple[str, ...]
    images: int
    iterations: tuple[int, ...]
    confusion: np.ndarray
    image_size: tuple[int, int]
    multiply_adds: tuple[int, ...]
    milliseconds: tuple[float, ...]
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    cityscapes: tuple[Scores, ...] | None = None

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
            if self.cityscapes is not None:
                rows[-1]["cityscapes"] = self.cityscapes[index].to_json()
        return {
            "data": self.data,
            "split": self.split,
            "images": self.images,
            "image_size": list(self.image_size),
            "scales": list(self.scales),
            "flip": self.flip,
            "results": rows,
        }


class Evaluator:
    """Evaluates one model again and again, at given numbers of iterations.

    Args:
      model: a segmenter.
      iterations: numbers of iterations, in any order.
      scales: at which every image is segmented, factors of its sides less one; the logits of all
        are averaged.
      flip: whether it is segmented mirrored at each of them, too.

    Attributes:
      unroll: the `Unroller` that segments the images.

    Raises:
      UserError: no numbers of iterations, or one below 1; no scales, or one that is not above 0.
    """

    def __init__(
        self,
        model,
        iterations: Sequence[int],
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
    ):
        self.model = model
        self.iterations = tuple(sorted(set(iterations)))
        if not self.iterations or self.iterations[0] < 1:
            raise UserError(f"iterations {list(iterations)}: expected numbers of at least 1")
        if not model.recurrent and self.iterations != (1,):
            raise UserError(
                f"iterations {list(iterations)}: {model.name} is feed-forward and has one alone"
            )
        self.scales, self.flip = tuple(scales), flip
        self.unroll = Unroller(model, scales, flip)

    def __call__(self, source: Source, split: str, progress: bool = True) -> Evaluation:
        """Runs over one split.

        Args:
          source: the data, with the model's classes.
          split: its split.
          progress: whether a progress bar is shown.

        Returns:
          The evaluation. Memory grows neither with the images nor with the iterations.

        Raises:
          UserError: no such split, an empty one, other classes than the model's, or a label outside
            the classes.
        """
        check_classes(self.model, source)
        images = source.require_split(split)
        tally = _Tally(source, len(self.iterations))
        bar = tqdm(
            evaluation_images(source, split, source.has_instances).as_numpy_iterator(),
            total=images,
            desc=f"evaluate {split}",
            unit="image",
            # None: no bar where the output goes to a file.
            disable=None if progress else True,
        )
        for image, label, name, *instance_ids in bar:
            try:
                if image.shape[:2] != label.shape:
                    raise UserError(f"image of {image.shape[:2]} and label of {label.shape} pixels")
                self.unroll.check_size(*label.shape)
                tally.add(self.unroll(image, self.iterations), label, *instance_ids)
            except UserError as error:
                raise UserError(f"{name.decode()}: {error}") from error
        image_size = tally.sizes.most_common(1)[0][0]
        costs = multi_scale_costs(self.model, *image_size, self.scales, self.flip)
        return Evaluation(
            data=source.name,
            split=split,
            class_names=source.class_names,
            images=images,
            iterations=self.iterations,
            confusion=tally.confusion,
            image_size=image_size,
            multiply_adds=tuple(costs.total(n) for n in self.iterations),
            milliseconds=self._milliseconds(image_of_size(source, split, image_size), images),
            scales=self.scales,
            flip=self.flip,
            cityscapes=tally.official_scores(),
        )

    def class_maps(self, image: np.ndarray) -> Iterator[np.ndarray]:
        """The class maps of one image that are scored, one for each number of iterations.

        Args:
          image: RGB 0-255, `(h, w, 3)`.

        Yields:
          int32 `(h, w)`.
        """
        yield from self.unroll(image, self.iterations)

    def _milliseconds(self, image, images: int) -> tuple[float, ...]:
        """What a prediction takes at every number of iterations.

        In the pass over the images all iterations are looked at one by one, which takes longer
        than to run as many at once.
        """
        last = len(self.iterations) - 1
        numbers = sorted({self.iterations[quarter * last // 4] for quarter in range(5)})
        predictions = [functools.partial(self.unroll.predict, image, number) for number in numbers]
        # No longer than the pass itself, where every image is seen many times.
        repeats = min(_ROUNDS, max(1, images // 10))
        seconds = dict(zip(numbers, timing.take_turns(predictions, repeats), strict=True))
        start, each = timing.line(seconds)
        return tuple(1000 * (start + number * each) for number in self.iterations)


class _Tally:
    """What is counted over the images."""

    def __init__(self, source: Source, length: int):
        """Starts for a number of predictions, `length`, of every image."""
        classes = source.num_classes
        self.confusion = np.zeros((length, classes, classes), np.int64)
        self.sizes = collections.Counter()
        self._instance_sums = [InstanceSums() for _ in range(length * source.has_instances)]

    def add(self, predictions, label, instance_ids=None) -> None:
        """Counts the predictions, class maps, of one image."""
        classes = self.confusion.shape[-1]
        instances = None if instance_ids is None else Instances(instance_ids)
        for index, class_map in enumerate(predictions):
            self.confusion[index] += metrics.confusion_matrix(label, class_map, classes)
            if instances is not None:
                self._instance_sums[index].add(instances, class_map)
        self.sizes[label.shape] += 1

    def official_scores(self) -> tuple[Scores, ...] | None:
        """Cityscapes' own, if the source has its instances."""
        if not self._instance_sums:
            return None
        pairs = zip(self._instance_sums, self.confusion, strict=True)
        return tuple(sums.scores(confusion) for sums, confusion in pairs)


def image_of_size(source: Source, split: str, size: tuple[int, int]) -> np.ndarray:
    """The first image of a split that has this (height, width), RGB 0-255."""
    images = evaluation_images(source, split).as_numpy_iterator()
    return next(image for image, *_ in images if image.shape[:2] == size)


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
