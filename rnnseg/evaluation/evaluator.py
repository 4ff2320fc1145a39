"""Evaluates a model at many numbers of iterations, in one pass over the data."""

import collections
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from rnnseg._renamed import RenamedAttribute
from rnnseg.budgets import timing
from rnnseg.data.reading import read_images
from rnnseg.data.sharing import WHOLE, Share
from rnnseg.data.source import Source
from rnnseg.errors import UserError
from rnnseg.evaluation import metrics
from rnnseg.evaluation.cityscapes import CityscapesScores, Instances, InstanceSums
from rnnseg.evaluation.file_unrolling import FileUnroller
from rnnseg.evaluation.unrolling import Unroller
from rnnseg.models.base import SegmentationModel
from rnnseg.runtime.file_model import FileModel
from rnnseg.stages import Stages

# The rounds of timing, after one round to warm up.
_ROUNDS = 5


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The scores and costs of a model; arrays have one row per number of iterations.

    Attributes:
      data: the name of the data.
      split: the split of the data.
      class_names: one name per class.
      images: the number of images.
      iterations: the numbers of iterations, rising.
      confusion: the confusion matrices, `(len(iterations), classes, classes)`; row: true class,
        column: predicted class.
      image_size: the most common (height, width), in pixels; costs and times are for this size.
      multiply_adds: the multiply-adds of one prediction; None where they are not known, as of some
        LiteRT files.
      milliseconds: the time of one prediction, from the image to its class map, with all iterations
        in one call. A few numbers of iterations are timed; the others lie on the lines through
        them, one for each stage of the encoder.
      scales: the scale of every image; or the scales whose logits were averaged.
      flip: True if mirrored images were averaged, too.
      cityscapes: the official scores of Cityscapes; None for other data.
      image_miou: the mean IoU of every image over the classes that occur in its label, 0-1, float32
        `(len(iterations), images)`; NaN for an image without labelled pixels. None if unknown.
    """

    data: str
    split: str
    class_names: tuple[str, ...]
    images: int
    iterations: tuple[int, ...]
    confusion: np.ndarray
    image_size: tuple[int, int]
    multiply_adds: tuple[int | None, ...]
    milliseconds: tuple[float, ...]
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    cityscapes: tuple[CityscapesScores, ...] | None = None
    image_miou: np.ndarray | None = None

    pictures = RenamedAttribute("images")
    picture_size = RenamedAttribute("image_size")

    @property
    def scale(self) -> float | None:
        """The scale of every image; None if the logits of several views were averaged."""
        return self.scales[0] if len(self.scales) == 1 and not self.flip else None

    @property
    def miou(self) -> np.ndarray:
        """The mean IoU, 0-1, `(len(iterations),)`."""
        return metrics.mean_iou(self.confusion)

    @property
    def class_iou(self) -> np.ndarray:
        """The IoU of every class, 0-1, `(len(iterations), classes)`; NaN if it never occurs."""
        return metrics.class_iou(self.confusion)

    @property
    def pixel_accuracy(self) -> np.ndarray:
        """The share of pixels with the right class, 0-1, `(len(iterations),)`."""
        return metrics.pixel_accuracy(self.confusion)

    def to_json(self, with_confusion: bool = False) -> dict[str, Any]:
        """Returns the scores and costs as plain values, without those of single images.

        Args:
          with_confusion: True to include the confusion matrices, which grow with the square of the
            number of classes.

        Returns:
          Dictionaries, lists and numbers; the IoU of a class that never occurs is None.
        """
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
            if self.scale is not None:
                rows[-1]["scale"] = self.scale
            if self.cityscapes is not None:
                rows[-1]["cityscapes"] = self.cityscapes[index].to_json()
            if with_confusion:
                rows[-1]["confusion"] = self.confusion[index].tolist()
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
    """Evaluates a model at several numbers of iterations; may be called repeatedly, as in training.

    Args:
      model: the model, or a LiteRT file.
      iterations: the numbers of iterations, in any order.
      scales: the scales that every image is segmented at; their logits are averaged.
      flip: True to also segment every scale mirrored.

    Attributes:
      model: the model.
      iterations: the numbers of iterations, rising.
      scales: as given.
      flip: as given.
      unroll: the `Unroller` that segments the images; of a file, the `FileUnroller`.

    Raises:
      UserError: no numbers of iterations, or a number below 1; no scales, or a scale that is not a
        finite number above 0; or, of a file, any other scale than 1.
    """

    trace = RenamedAttribute("unroll")

    def __init__(
        self,
        model: SegmentationModel | FileModel,
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
                f"iterations {list(iterations)}: {model.name} is feed-forward and has one iteration"
            )
        self.scales, self.flip = tuple(scales), flip
        self.unroll: FileUnroller | Unroller
        if isinstance(model, FileModel):
            self.unroll = FileUnroller(model, scales, flip)
        else:
            self.unroll = Unroller(model, scales, flip)

    def __call__(
        self, source: Source, split: str, progress: bool = True, share: Share = WHOLE
    ) -> Evaluation:
        """Evaluates the model on one split.

        One image is held at a time, and one number of every image for each number of iterations.

        Args:
          source: the data, with the classes of the model.
          split: the split of the data.
          progress: True to show a progress bar.
          share: the worker's share of the images. Each gets the scores of all images, and its own
            times.

        Raises:
          UserError: the split is missing or empty, the classes are not those of the model, or a
            label is outside the classes.
        """
        check_classes(self.model, source)
        images = source.require_split(split)
        tally = _Tally(source, len(self.iterations))
        bar = tqdm(
            read_images(source, split, source.has_instances, share),
            total=len(range(share.index, images, share.count)),
            desc=f"evaluate {split}",
            unit="image",
            # None: no bar if the output goes to a file.
            disable=None if progress else True,
        )
        for image, label, name, *instance_ids in bar:
            try:
                if image.shape[:2] != label.shape:
                    sizes = ["x".join(map(str, each.shape[:2])) for each in (image, label)]
                    raise UserError(
                        f"an image of {sizes[0]} pixels and a label of {sizes[1]}, expected the "
                        "same size"
                    )
                self.unroll.check_size(*label.shape)
                tally.add(self.unroll(image, self.iterations), label, *instance_ids)
            except UserError as error:
                where = f"{source.name}, split {split!r}: {name.decode()}"
                raise UserError(f"{where}: {error}") from error
        tally.combine(share, images)
        image_size = tally.sizes.most_common(1)[0][0]
        costs = self.unroll.costs(*image_size)
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
            image_miou=tally.image_miou,
        )

    def class_maps(self, image: np.ndarray) -> Iterator[np.ndarray]:
        """Yields the class map of one image after each number of iterations.

        Args:
          image: RGB 0-255, `(h, w, 3)`.

        Yields:
          Class maps, int32 `(h, w)`.
        """
        yield from self.unroll(image, self.iterations)

    def _milliseconds(self, image: np.ndarray, images: int) -> tuple[float, ...]:
        """Times predictions of one image at each number of iterations.

        The pass over the images cannot be timed instead: it reads the canvas after each number of
        iterations, which takes longer than to run the iterations in one call.

        Args:
          image: RGB 0-255, `(h, w, 3)`.
          images: the number of images in the split.
        """
        last = len(self.iterations) - 1
        numbers = {self.iterations[quarter * last // 4] for quarter in range(5)}
        # At least one number for each stage of the encoder.
        stages = {self.model.stages_for(number): number for number in reversed(self.iterations)}
        timed = sorted(numbers.union(stages.values()))
        predictions = [functools.partial(self.unroll.predict, image, number) for number in timed]
        # Fewer rounds for a small split, so that timing takes no longer than the pass itself.
        repeats = min(_ROUNDS, max(1, images // 10))
        seconds = dict(zip(timed, timing.take_turns(predictions, repeats), strict=True))
        latency = timing.fit(seconds, self.model.first_iterations)
        return tuple(1000 * latency(number) for number in self.iterations)


class _Tally:
    """The counts over all images.

    Args:
      source: the data.
      predictions: the number of predictions per image.
    """

    def __init__(self, source: Source, predictions: int):
        classes = source.num_classes
        self.confusion = np.zeros((predictions, classes, classes), np.int64)
        self._sizes: list[tuple[int, int]] = []
        self._image_miou: list[np.ndarray] = []
        self._instance_sums = [InstanceSums() for _ in range(predictions * source.has_instances)]

    def add(self, predictions, label, instance_ids=None) -> None:
        """Counts the predictions, all class maps of one image."""
        classes = self.confusion.shape[-1]
        instances = None if instance_ids is None else Instances(instance_ids)
        miou = np.full(len(self.confusion), np.nan, np.float32)
        for index, class_map in enumerate(predictions):
            own = metrics.confusion_matrix(label, class_map, classes)
            self.confusion[index] += own
            if own.any():
                miou[index] = metrics.mean_iou_occurring(own)
            if instances is not None:
                self._instance_sums[index].add(instances, class_map)
        self._image_miou.append(miou)
        self._sizes.append(label.shape)

    def combine(self, share: Share, images: int) -> None:
        """Makes the counts those of all images.

        Args:
          share: the worker's share of the images, which it has added.
          images: the number of all images.
        """
        own = slice(share.index, None, share.count)
        sizes = np.zeros((images, 2))
        sizes[own] = np.reshape(self._sizes, (-1, 2))
        sizes = share.total(sizes).astype(int)
        self.sizes = collections.Counter(
            (int(height), int(width)) for height, width in sizes.tolist()
        )
        miou = np.zeros((len(self.confusion), images))
        miou[:, own] = np.reshape(self._image_miou, (-1, len(miou))).T
        self.image_miou = share.total(miou).astype(np.float32)
        self.confusion = share.total(self.confusion).astype(np.int64)
        for sums in self._instance_sums:
            sums.combine(share)

    def official_scores(self) -> tuple[CityscapesScores, ...] | None:
        """Returns the scores of Cityscapes; None if the source has no instances."""
        if not self._instance_sums:
            return None
        pairs = zip(self._instance_sums, self.confusion, strict=True)
        return tuple(sums.scores(confusion) for sums, confusion in pairs)


def image_of_size(source: Source, split: str, size: tuple[int, int]) -> np.ndarray:
    """Returns the first image of a split that has this (height, width), RGB 0-255."""
    images = read_images(source, split)
    return next(image for image, *_ in images if image.shape[:2] == size)


def check_classes(model: Stages | FileModel, source: Source) -> None:
    """Raises a UserError unless the model and the data have the same classes.

    Args:
      model: the model.
      source: the data.

    Raises:
      UserError: the number of classes differs, or their names.
    """
    if model.num_classes != source.num_classes:
        raise UserError(
            f"the model has {model.num_classes} classes but {source.name} has "
            f"{source.num_classes}: use the data that the model was trained for"
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
